// A1111's menu at a right click on Generate (or Interrupt): generate forever, until it is cancelled here or a job fails.

import { make } from "./dom.js";

const on = new Set(); // tabs

export function listenToForever(tab) {
  for (const name of ["generate", "interrupt"]) {
    const button = document.getElementById(`${tab}_${name}`);
    button?.addEventListener("contextmenu", (event) => (event.preventDefault(), menu(tab, event)));
    button?.setAttribute("aria-haspopup", "menu");
  }
  document.addEventListener("refused", ({ detail }) => detail === tab && stop(tab));
  new MutationObserver(() => next(tab)).observe(document.body, { attributeFilter: [`data-${tab}`] });
}

function next(tab) {
  const { dataset } = document.body;
  if (!on.has(tab) || dataset[tab] !== "idle") return;
  if (dataset[`${tab}Job`] === "failed") stop(tab);
  else document.getElementById(`${tab}_generate`).click();
}

function start(tab) {
  on.add(tab);
  document.getElementById(`${tab}_actions`)?.classList.add("forever");
  if (document.body.dataset[tab] !== "running") document.getElementById(`${tab}_generate`).click();
}

function stop(tab) {
  on.delete(tab);
  document.getElementById(`${tab}_actions`)?.classList.remove("forever");
}

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
