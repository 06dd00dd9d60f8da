// One picture that the user gives, and what is drawn over it: a mask, or colours. See layer.js for why it is our own.

import { button, download, filesOf, imageOf, make, pickFiles } from "./dom.js";
import { Layer } from "./layer.js";
import { Select } from "./select.js";
import { View } from "./view.js";

const PICTURES = "image/png,image/jpeg,image/webp,image/gif,image/bmp,image/avif";
const MASK = "#ff3ea5"; // seen on nearly every picture; a mask is only its opacity

export class Editor {
  // `draws`: "mask", "colour", or nothing. `changed()` is called after every change of picture or drawing, `say(text)` with what went wrong.
  constructor(root, { draws = null, words = "", changed = () => {}, say = () => {} }) {
    Object.assign(this, { root, draws, changed, say, blob: null, width: 0, height: 0, tool: "brush", panning: false });
    this.layer = new Layer();
    root.classList.add("editor");
    this.empty = make("p", { className: "empty", textContent: words });
    this.picture = make("img", { alt: "The picture to begin with", draggable: false });
    this.layer.canvas.className = "layer";
    this.surface = make("div", { className: "surface", hidden: true }, this.picture, this.layer.canvas);
    this.ring = make("div", { className: "ring", hidden: true });
    this.frame = make("div", { className: "frame", tabIndex: 0, role: "group", "aria-label": words }, this.empty, this.surface, this.ring);
    this.frame.addEventListener("click", () => this.blob || this.choose());
    this.frame.addEventListener("keydown", (event) => this.onKey(event, true));
    this.frame.addEventListener("keyup", (event) => this.onKey(event, false));
    this.frame.addEventListener("pointerleave", () => (this.ring.hidden = true));
    this.listenToDrops();
    this.view = new View(this.frame, this.surface, this);
    this.bar = this.buildBar();
    root.append(this.frame, this.bar);
    if (this.select) this.bar.before(this.select.root);
    this.drawState();
  }

  // -- tools --

  buildBar() {
    const bar = make("div", { className: "bar", role: "toolbar", "aria-label": "Tools" });
    if (this.draws) bar.append(...this.drawingTools());
    bar.append(
      button("−", "Zoom out (Alt+wheel)", () => this.view.zoom(1 / 1.25)),
      button("+", "Zoom in (Alt+wheel)", () => this.view.zoom(1.25)),
      button("⟲", "Reset zoom (R)", () => this.view.fit()),
      button("Full", "Fullscreen (S)", () => this.fullscreen()),
      button("…", "Choose another picture", () => this.choose()),
      button("✕", "Remove the picture", () => this.remove()),
    );
    return bar;
  }

  drawingTools() {
    const tools = [["brush", "Brush", "Draw"], ["eraser", "Eraser", "Rub out"], ["fill", "Fill", "Fill an area: click into it"]];
    if (this.draws === "mask") {
      this.select = new Select(this, (image, erase) => {
        this.layer.lay(image, MASK, erase);
        this.changed();
      });
      tools.push(["select", "Select", "Select a thing by a click, a box or words"]);
    }
    this.toolButtons = tools.map(([tool, text, title]) => {
      const found = button(text, title, () => this.use(tool));
      found.dataset.tool = tool;
      return found;
    });
    const range = (title, values) => make("input", { type: "range", title, "aria-label": title, ...values });
    this.size = range("Brush size (Q, W, Ctrl+wheel)", { min: 1, max: 200, value: 48, className: "size" });
    this.opacity = range(this.draws === "mask" ? "How much of the mask is seen" : "Opacity", { min: 5, max: 100, value: this.draws === "mask" ? 60 : 100, className: "opacity" });
    this.opacity.addEventListener("input", () => this.drawState());
    const found = [...this.toolButtons, this.size, this.opacity];
    if (this.draws === "colour") {
      this.colour = make("input", { type: "color", value: "#ffffff", title: "Colour", "aria-label": "Colour" });
      found.push(this.colour);
    }
    found.push(
      button("↶", "Undo (Ctrl+Z)", () => this.step("undo")),
      button("↷", "Redo (Ctrl+Y)", () => this.step("redo")),
      button("Clear", "Remove everything drawn", () => this.step("clear")),
    );
    if (this.draws === "mask")
      found.push(
        button("Load mask", "Use a picture as the mask: white is masked", () => this.loadMask()),
        button("Save mask", "Download the mask", () => this.saveMask()),
      );
    return found;
  }

  use(tool) {
    this.tool = tool;
    if (tool === "select") this.select.open();
    else this.select?.close();
    this.drawState();
  }

  step(what) {
    this.layer[what]();
    this.changed();
  }

  drawState() {
    for (const found of this.toolButtons ?? []) found.setAttribute("aria-pressed", found.dataset.tool === this.tool);
    this.root.classList.toggle("filled", Boolean(this.blob));
    this.empty.hidden = Boolean(this.blob);
    this.surface.hidden = this.bar.hidden = !this.blob;
    if (this.select) this.select.root.hidden = !this.blob || this.tool !== "select";
    this.layer.canvas.style.opacity = this.draws === "mask" ? this.opacity.value / 100 : 1;
  }

  fullscreen() {
    if (document.fullscreenElement) document.exitFullscreen();
    else this.root.requestFullscreen?.();
  }

  // -- the picture --

  async choose() {
    const [file] = await pickFiles(PICTURES);
    if (file) await this.take(file);
  }

  async take(blob) {
    if (await this.show(blob)) this.changed();
  }

  // With the drawing kept beside it, if there is one. Answers whether it is a picture.
  async show(blob, drawing = null) {
    let image;
    try {
      image = await imageOf(blob);
    } catch {
      this.say("That file is no picture that this browser can show. Choose a PNG, JPEG, WEBP, GIF, BMP or AVIF file.");
      return false;
    }
    URL.revokeObjectURL(this.picture.src);
    this.picture.src = image.src;
    Object.assign(this, { blob, width: image.naturalWidth, height: image.naturalHeight });
    this.layer.resize(this.width, this.height);
    if (drawing) {
      const drawn = await imageOf(drawing);
      this.layer.context.drawImage(drawn, 0, 0, this.layer.canvas.width, this.layer.canvas.height);
      URL.revokeObjectURL(drawn.src);
    }
    this.drawState();
    this.view.show(this.width, this.height);
    return true;
  }

  remove() {
    this.blob = null;
    this.layer.resize(1, 1);
    this.drawState();
    this.changed();
  }

  listenToDrops() {
    for (const name of ["dragover", "drop"])
      this.frame.addEventListener(name, (event) => {
        event.preventDefault();
        const [file] = name === "drop" ? filesOf(event.dataTransfer) : [];
        if (file) this.take(file);
      });
  }

  // -- masks as files --

  async loadMask() {
    const [file] = await pickFiles(PICTURES);
    if (!file) return;
    try {
      const image = await imageOf(file);
      this.layer.showMask(image, MASK);
      URL.revokeObjectURL(image.src);
      this.changed();
    } catch {
      this.say("That file is no picture that can be a mask. Choose another.");
    }
  }

  async saveMask() {
    download(await this.layer.mask(), "mask.png");
  }

  // -- the hand of the view --

  wantsPan = () => !this.draws || !this.blob || this.panning;

  begin(point) {
    this.drawing = true;
    if (this.tool === "select") return this.select.begin(point);
    const colour = this.draws === "mask" ? MASK : this.colour.value;
    const opacity = this.draws === "mask" ? 1 : this.opacity.value / 100;
    if (this.tool === "fill") this.layer.fill(point, colour, opacity);
    else this.layer.begin(point, { colour, opacity, width: this.size.value / this.view.scale, erase: this.tool === "eraser" });
  }

  extend(point) {
    if (this.tool === "select" && this.select.from) this.select.extend(point);
    else if (this.layer.stroke) this.layer.extend(point);
  }

  end() {
    this.drawing = false;
    if (this.tool === "select") return this.select.end();
    this.layer.end();
    this.changed();
  }

  cancel() {
    this.drawing = false;
    this.select?.cancel();
    this.layer.cancel();
  }

  wheel(up) {
    if (this.size) this.size.value = Math.max(1, Number(this.size.value) * (up ? 1.1 : 1 / 1.1) + (up ? 1 : -1));
  }

  hover([x, y]) {
    this.ring.hidden = !this.draws || !this.blob || ["fill", "select"].includes(this.tool) || this.panning;
    const width = Number(this.size?.value ?? 0);
    Object.assign(this.ring.style, { width: `${width}px`, height: `${width}px`, left: `${x - width / 2}px`, top: `${y - width / 2}px` });
  }

  onKey(event, down) {
    const { key, ctrlKey, metaKey, shiftKey } = event;
    const letter = key.toLowerCase();
    if (letter === "f" && !ctrlKey) this.panning = down;
    if (!down) return;
    if (letter === "enter" && !this.blob && !ctrlKey && !event.altKey) this.choose();
    else if ((ctrlKey || metaKey) && letter === "z") this.step(shiftKey ? "redo" : "undo");
    else if ((ctrlKey || metaKey) && letter === "y") this.step("redo");
    else if (ctrlKey || metaKey || event.altKey) return;
    else if (letter === "q" || letter === "w") this.wheel(letter === "w");
    else if (letter === "r") this.view.fit();
    else if (letter === "s") this.fullscreen();
    else if (letter === "o" && this.opacity) this.see();
    else return;
    event.preventDefault();
  }

  // Only the picture, then the drawing again.
  see() {
    this.layer.canvas.hidden = !this.layer.canvas.hidden;
  }
}
