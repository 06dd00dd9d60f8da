// Making the picture of Inpaint larger in one gesture: sides, pixels, and Generate is pressed.

import { button, make } from "./dom.js";

const SIDES = ["left", "right", "up", "down"];
const LARGEST = 2048; // a side, as the sliders for width and height

export class Outpaint {
  constructor(editor, say) {
    Object.assign(this, { editor, say, asked: null });
    const check = (side) => make("label", {}, make("input", { type: "checkbox", checked: true, value: side }), ` ${side}`);
    this.sides = make("span", { className: "sides" }, ...SIDES.map(check));
    this.pixels = make("input", { type: "number", min: 8, max: 1024, step: 8, value: 128, id: "img2img_outpaint_pixels" });
    this.strength = make("input", { type: "number", min: 0.1, max: 1, step: 0.05, value: 0.9, id: "img2img_outpaint_denoising" });
    this.root = make(
      "details", { className: "outpaint", id: "img2img_outpaint" },
      make("summary", { textContent: "Outpaint" }),
      make("div", { className: "row" }, this.sides),
      make("div", { className: "row" }, make("label", {}, "Pixels to expand ", this.pixels), make("label", {}, "Denoising strength ", this.strength)),
      button("Outpaint", "Enlarge the picture by that much and draw what is new", () => this.go(), { id: "img2img_outpaint_button" }),
    );
  }

  async go() {
    const by = this.wanted();
    if (!by) return;
    this.asked = { by, denoising: Number(this.strength.value) };
    document.getElementById("img2img_generate").click();
  }

  // Pixels by side, such that both sides come to multiples of 8; nothing, with a sentence, where that cannot be.
  wanted() {
    const { blob, width, height } = this.editor;
    const chosen = [...this.sides.querySelectorAll("input:checked")].map(({ value }) => value);
    const pixels = Math.round(Number(this.pixels.value));
    if (!blob) return this.refuse("There is no picture to outpaint. Drop one into the field above.");
    if (!chosen.length) return this.refuse("No side is chosen. Choose at least one to outpaint.");
    if (!(pixels >= 8 && pixels <= 1024)) return this.refuse(`Pixels to expand is ${this.pixels.value}: it must be from 8 to 1024.`);
    const by = Object.fromEntries(SIDES.map((side) => [side, chosen.includes(side) ? pixels : 0]));
    rounded(by, "right", "left", width);
    rounded(by, "down", "up", height);
    const [wide, high] = [width + by.left + by.right, height + by.up + by.down];
    if (wide > LARGEST || high > LARGEST) return this.refuse(`The result would be ${wide} x ${high}: each side may be ${LARGEST} at most. Expand by less.`);
    return by;
  }

  refuse(text) {
    this.say(text);
    return null;
  }

  // What the server is told, once for each press of the button.
  take() {
    const asked = this.asked;
    this.asked = null;
    return asked;
  }
}

// One of the two sides gets what is missing to a multiple of 8.
function rounded(by, first, second, length) {
  const over = (length + by[first] + by[second]) % 8;
  if (over) by[by[first] || !by[second] ? first : second] += 8 - over;
}
