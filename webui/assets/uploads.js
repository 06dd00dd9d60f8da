// Pictures on their way to the server, under a name of this page, so that they can go with it.

import { newId } from "./memory.js";

const page = newId();
const url = (path) => new URL(`atelier/uploads${path}`, document.baseURI);
let sent = false;

// The server's answer, whatever it is; raises an error where there is none.
export function upload(blob) {
  sent = true;
  return fetch(url(`?page=${page}`), { method: "POST", body: blob });
}

window.addEventListener("pagehide", ({ persisted }) => {
  if (sent && !persisted) navigator.sendBeacon(url("/leave"), new Blob([JSON.stringify({ page })], { type: "application/json" }));
});
