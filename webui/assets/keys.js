// Ctrl+Enter generates, Alt+Enter skips, Esc interrupts: in the tab that is seen.

const TABS = ["txt2img", "img2img", "extras"];

const press = (id) => document.getElementById(id)?.click();
const seen = () => TABS.find((tab) => document.getElementById(`tab_${tab}`)?.offsetParent);
const running = (tab) => document.body.dataset[tab] === "running";
const busyWithEsc = (element) =>
  document.querySelector("dialog[open]") || element?.getAttribute?.("aria-expanded") === "true";

export function listenToKeys() {
  document.addEventListener(
    "keydown",
    (event) => {
      const { key, ctrlKey, metaKey, altKey, target } = event;
      const tab = seen();
      if (!tab) return;
      if (key === "Enter" && (ctrlKey || metaKey)) {
        if (!running(tab)) press(`${tab}_generate`);
      } else if (key === "Enter" && altKey) {
        if (running(tab)) press(`${tab}_skip`);
      } else if (key === "Escape" && running(tab) && !busyWithEsc(target)) {
        press(`${tab}_interrupt`);
      } else {
        return;
      }
      event.preventDefault();
    },
    { capture: true },
  );
}
