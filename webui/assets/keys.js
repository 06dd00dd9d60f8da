// Ctrl+Enter generates, Alt+Enter skips, Esc interrupts.

const press = (id) => document.getElementById(id)?.click();
const running = () => document.body.dataset.atelier === "running";
const busyWithEsc = (element) =>
  document.querySelector("dialog[open]") || element?.getAttribute?.("aria-expanded") === "true";

export function listenToKeys() {
  document.addEventListener(
    "keydown",
    (event) => {
      const { key, ctrlKey, metaKey, altKey, target } = event;
      if (key === "Enter" && (ctrlKey || metaKey)) {
        if (!running()) press("txt2img_generate");
      } else if (key === "Enter" && altKey) {
        if (running()) press("txt2img_skip");
      } else if (key === "Escape" && running() && !busyWithEsc(target)) {
        press("txt2img_interrupt");
      } else {
        return;
      }
      event.preventDefault();
    },
    { capture: true },
  );
}
