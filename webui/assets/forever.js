// A1111's menu at a right click on Generate (or Interrupt): generate forever, until it is cancelled here or a job fails. The page
// presses Generate, so that each job has what stands in the form; while it is hidden or closed the server goes on with the last one.

import { make } from "./dom.js";
import * as keep from "./memory.js";
import { ask } from "./models_dom.js";

const LEFT = "atelier.forever"; // of a tab: the job that was left to the server
const on = new Set(); // tabs
const left = new Set(); // those of them that the server goes on with

export function listenToForever(tab) {
  for (const name of ["generate", "interrupt"]) {
    const button = document.getElementById(`${tab}_${name}`);
    button?.addEventListener("contextmenu", (event) => (event.preventDefault(), menu(tab, event)));
    button?.setAttribute("aria-haspopup", "menu");
  }
  document.addEventListener("refused", ({ detail }) => detail === tab && stop(tab));
  document.addEventListener("visibilitychange", () => (document.hidden ? leave(tab) : comeBack(tab)));
  addEventListener("pagehide", () => leave(tab));
  addEventListener("pageshow", ({ persisted }) => persisted && comeBack(tab));
  new MutationObserver(() => next(tab)).observe(document.body, { attributeFilter: [`data-${tab}`] });
}

function next(tab) {
  const { dataset } = document.body;
  if (!on.has(tab) || left.has(tab) || dataset[tab] !== "idle") return;
  if (dataset[`${tab}Job`] === "failed") stop(tab);
  else document.getElementById(`${tab}_generate`).click();
}

// To the server: the answer is not waited for, as the page may be gone by then.
function leave(tab) {
  const job = keep.job(tab);
  if (!on.has(tab) || left.has(tab) || !job || job.includes(",")) return;
  left.add(tab);
  keep.write(`${LEFT}.${tab}`, job);
  navigator.sendBeacon(address(job), new Blob(['{"on": true}'], { type: "application/json" }));
}

// The job that came last on the server is this page's again; null where the server was not asked to go on, or somebody stopped it.
export async function takenBack(tab) {
  const job = keep.read(`${LEFT}.${tab}`);
  if (!job) return null;
  const { job: last, was } = await ask(`jobs/${job}/forever`, { on: false }).catch(() => ({}));
  if (!last) return null; // not reached: it is asked again
  left.delete(tab);
  keep.write(`${LEFT}.${tab}`, "");
  mark(tab, was);
  return last;
}

async function comeBack(tab) {
  if (left.has(tab)) document.dispatchEvent(new CustomEvent("returned", { detail: { tab, job: await takenBack(tab) } }));
}

const address = (job) => new URL(`atelier/jobs/${job}/forever`, document.baseURI);

function mark(tab, wish) {
  if (wish) on.add(tab);
  else on.delete(tab);
  document.getElementById(`${tab}_actions`)?.classList.toggle("forever", wish);
}

function start(tab) {
  mark(tab, true);
  if (document.body.dataset[tab] !== "running") document.getElementById(`${tab}_generate`).click();
}

const stop = (tab) => mark(tab, false);

function menu(tab, { clientX, clientY }) {
  document.querySelector(".forever-menu")?.remove();
  const item = (text, act) => make("button", { type: "button", role: "menuitem", textContent: text, onclick: () => (close(), act(tab)) });
  const found = make(
    "div",
    { className: "forever-menu", role: "menu", style: `left: min(${clientX}px, 100vw - 220px); top: ${clientY}px` },
    item("Generate forever", start),
    item("Cancel generate forever", stop),
  );
  const away = ({ type, key, target }) => (type === "keydown" ? key === "Escape" : !found.contains(target)) && close();
  const close = () => {
    found.remove();
    for (const event of ["keydown", "pointerdown"]) document.removeEventListener(event, away, true);
  };
  for (const event of ["keydown", "pointerdown"]) document.addEventListener(event, away, true);
  document.body.append(found);
  found.firstElementChild.focus();
}
