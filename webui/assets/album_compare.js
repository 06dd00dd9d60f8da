// Two pictures over each other, with a slider between them.

import { address } from "./album.js";
import { make } from "./models_dom.js";

export function comparing([one, other]) {
  const over = make("img", { src: address(other, "file"), alt: "The second picture", class: "over" });
  const line = make("div", { class: "line" });
  const slider = make("input", { type: "range", min: 0, max: 100, step: 0.1, "aria-label": "How much of the first picture is seen" });
  const move = () => {
    over.style.clipPath = `inset(0 0 0 ${slider.value}%)`;
    line.style.left = `${slider.value}%`;
  };
  slider.addEventListener("input", move);
  const close = make("button", { type: "button", class: "close", "aria-label": "Close", onclick: () => dialog.close() }, "✕");
  const pair = make("div", { class: "pair" }, make("img", { src: address(one, "file"), alt: "The first picture" }), over, line);
  const dialog = make("dialog", { class: "album-compare", "aria-label": "Compare" }, pair, slider, close);
  const drag = (event) => {
    const { left, width } = pair.getBoundingClientRect();
    if (event.buttons || event.type === "pointerdown") slider.value = ((event.clientX - left) / width) * 100;
    move();
  };
  for (const name of ["pointerdown", "pointermove"]) pair.addEventListener(name, drag);
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  move();
  dialog.showModal();
}
