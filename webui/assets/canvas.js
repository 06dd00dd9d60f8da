// An endless canvas: a frame of Width x Height is moved over a picture that grows; Generate draws what is empty in the frame.

import * as blobs from "./blobs.js";
import { button, filesOf, imageOf, make, pickFiles } from "./dom.js";
import { read, write } from "./memory.js";
import { View } from "./view.js";

const KEPT = "atelier.canvas";
const STEP = 8; // pixels: the frame's places
const UNDO = 8;
const MOST = 50_000_000; // pixels in all

const canvasOf = (width, height) => Object.assign(document.createElement("canvas"), { width, height });

export class Canvas {
  // `size()` is the frame's width and height; `say(text)` tells the user; `selected()` is the picture chosen in the gallery, as {id}.
  constructor(root, { size, say, selected }) {
    Object.assign(this, { root, size, say, selected, x: 0, y: 0, past: [], tool: "frame", drag: null });
    this.state = { key: null, x: 0, y: 0, frame: [0, 0], jobs: {}, ...JSON.parse(read(KEPT) ?? "{}") };
    this.sheet = canvasOf(1, 1);
    this.isEmpty = true;
    this.sheet.className = "sheet";
    this.box = make("div", { className: "frame-box" });
    this.surface = make("div", { className: "surface" }, this.sheet, this.box);
    this.frame = make("div", { className: "frame", tabIndex: 0, role: "group", "aria-label": "Canvas: drag to move the frame; arrow keys move it too" }, this.surface);
    this.frame.addEventListener("keydown", (event) => this.onKey(event));
    for (const name of ["dragover", "drop"]) this.frame.addEventListener(name, (event) => this.onDrop(event, name));
    this.view = new View(this.frame, this.surface, this);
    root.classList.add("editor", "filled", "endless");
    root.append(this.frame, this.buildBar());
    this.restored = this.restore();
    document.addEventListener("made", ({ detail }) => this.onMade(detail));
    new ResizeObserver(() => this.see()).observe(this.frame);
  }

  buildBar() {
    this.tools = [["frame", "Frame", "Drag moves the frame"], ["erase", "Rub out", "What is rubbed out is drawn anew"], ["pan", "Pan", "Drag moves the view"]].map(([tool, text, title]) => {
      const found = button(text, title, () => this.use(tool));
      found.dataset.tool = tool;
      return found;
    });
    this.width = make("input", { type: "range", min: 4, max: 200, value: 60, title: "Size of the rubber", "aria-label": "Size of the rubber" });
    this.strength = make("input", { type: "number", min: 0.1, max: 1, step: 0.05, value: 0.9, title: "Denoising strength", "aria-label": "Denoising strength" });
    const bar = make(
      "div", { className: "bar", role: "toolbar", "aria-label": "Tools" }, ...this.tools, this.width, this.strength,
      button("Add picture", "Lay a picture down where the frame is", () => this.add()),
      button("Take selected", "Lay down the result that is chosen at the right", () => this.takeSelected()),
      button("↶", "Undo (Ctrl+Z)", () => this.undo()),
      button("−", "Zoom out (Alt+wheel)", () => this.view.zoom(1 / 1.25)),
      button("+", "Zoom in (Alt+wheel)", () => this.view.zoom(1.25)),
      button("⟲", "See everything (R)", () => this.see()),
      button("Save", "Download the whole canvas", () => this.download()),
      button("Clear", "Begin with nothing", () => this.clear()),
    );
    this.use("frame");
    return bar;
  }

  use(tool) {
    this.tool = tool;
    for (const found of this.tools) found.setAttribute("aria-pressed", found.dataset.tool === tool);
  }

  // -- what is seen --

  place() {
    const [left, top] = this.state.frame;
    const [width, height] = this.size();
    Object.assign(this.sheet.style, { left: `${this.x}px`, top: `${this.y}px`, width: `${this.sheet.width}px`, height: `${this.sheet.height}px`, visibility: this.isEmpty ? "hidden" : "" });
    Object.assign(this.box.style, { left: `${left}px`, top: `${top}px`, width: `${width}px`, height: `${height}px` });
    this.placed(this.view.scale);
  }

  placed(scale) {
    this.box.style.outlineWidth = `${2 / scale}px`;
  }

  // All of it, with room to move the frame.
  see() {
    const [left, top, right, bottom] = this.extent();
    const { clientWidth, clientHeight } = this.frame;
    if (!clientWidth) return;
    this.view.scale = Math.min(clientWidth / (right - left), clientHeight / (bottom - top)) * 0.6;
    this.view.x = clientWidth / 2 - ((left + right) / 2) * this.view.scale;
    this.view.y = clientHeight / 2 - ((top + bottom) / 2) * this.view.scale;
    this.view.fitted = false;
    this.view.place();
    this.place();
  }

  extent() {
    const [left, top] = this.state.frame;
    const [width, height] = this.size();
    const frame = [left, top, left + width, top + height];
    if (this.isEmpty) return frame;
    const sheet = [this.x, this.y, this.x + this.sheet.width, this.y + this.sheet.height];
    return frame.map((value, i) => (i < 2 ? Math.min : Math.max)(value, sheet[i]));
  }

  // -- the hand of the view; points are places of the canvas --

  wantsPan = () => this.tool === "pan";

  begin(point) {
    if (this.tool === "erase") {
      this.remember();
      this.drag = { last: point };
      this.extend(point);
    } else this.drag = { from: point, frame: [...this.state.frame] };
  }

  extend(point) {
    if (!this.drag) return;
    if (this.tool === "frame") {
      const { from, frame } = this.drag;
      this.moveTo([frame[0] + point.x - from.x, frame[1] + point.y - from.y]);
      return;
    }
    const context = this.sheet.getContext("2d");
    context.save();
    context.globalCompositeOperation = "destination-out";
    Object.assign(context, { lineWidth: this.width.value / this.view.scale, lineCap: "round" });
    context.beginPath();
    context.moveTo(this.drag.last.x - this.x, this.drag.last.y - this.y);
    context.lineTo(point.x - this.x, point.y - this.y);
    context.stroke();
    context.restore();
    this.drag.last = point;
  }

  end() {
    if (this.drag) this.keep(this.tool === "erase");
    this.drag = null;
  }

  cancel() {
    if (this.tool === "erase") this.undo();
    this.drag = null;
  }

  wheel(up) {
    this.width.value = Number(this.width.value) + (up ? 6 : -6);
  }

  moveTo([x, y]) {
    this.state.frame = [x, y].map((value) => Math.round(value / STEP) * STEP);
    this.place();
  }

  onKey(event) {
    const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    const by = event.shiftKey ? 64 : STEP;
    if (step) {
      this.moveTo(this.state.frame.map((value, i) => value + step[i] * by));
      this.keep(false);
    } else if (event.key === "z" && (event.ctrlKey || event.metaKey)) this.undo();
    else if (event.key === "r" && !event.ctrlKey) this.see();
    else return;
    event.preventDefault();
  }

  // -- laying down --

  async add() {
    const [file] = await pickFiles("image/*");
    if (file) await this.lay(file, this.state.frame);
  }

  onDrop(event, name) {
    event.preventDefault();
    const [file] = name === "drop" ? filesOf(event.dataTransfer) : [];
    if (file) this.lay(file, this.state.frame);
  }

  async takeSelected() {
    const picture = this.selected();
    if (!picture) this.say("No result is chosen. Press Generate first.");
    else await this.layPicture(picture.id, this.state.last ?? this.state.frame);
  }

  async layPicture(id, place) {
    const answer = await fetch(new URL(`atelier/images/${id}`, document.baseURI)).catch(() => null);
    if (answer?.ok) await this.lay(await answer.blob(), place);
    else this.say("That result cannot be laid down: its file is not there any more.");
  }

  async lay(blob, [x, y]) {
    let image;
    try {
      image = await imageOf(blob);
    } catch {
      this.say("That file is no picture that this browser can show. Choose another.");
      return;
    }
    const [width, height] = [image.naturalWidth, image.naturalHeight];
    if (!this.grow([x, y, x + width, y + height])) return;
    this.sheet.getContext("2d").drawImage(image, x - this.x, y - this.y);
    URL.revokeObjectURL(image.src);
    this.isEmpty = false;
    this.place();
    this.keep(true);
  }

  // Room for that box; the step before is remembered. Answers whether there can be room.
  grow([left, top, right, bottom]) {
    const now = this.isEmpty ? [left, top, right, bottom] : [this.x, this.y, this.x + this.sheet.width, this.y + this.sheet.height];
    const [l, t, r, b] = [Math.min(left, now[0]), Math.min(top, now[1]), Math.max(right, now[2]), Math.max(bottom, now[3])];
    if ((r - l) * (b - t) > MOST) {
      this.say(`The canvas would be ${r - l} x ${b - t}, more than it can hold. Save it, and begin another.`);
      return false;
    }
    this.remember();
    const copy = this.past.at(-1).sheet;
    this.sheet.width = r - l;
    this.sheet.height = b - t;
    if (!this.isEmpty) this.sheet.getContext("2d").drawImage(copy, this.x - l, this.y - t);
    Object.assign(this, { x: l, y: t });
    return true;
  }

  remember() {
    const sheet = canvasOf(this.sheet.width, this.sheet.height);
    sheet.getContext("2d").drawImage(this.sheet, 0, 0);
    this.past.push({ sheet, x: this.x, y: this.y, isEmpty: this.isEmpty });
    if (this.past.length > UNDO) this.past.shift();
  }

  undo() {
    const step = this.past.pop();
    if (step) this.become(step);
  }

  clear() {
    this.remember();
    this.become({ sheet: canvasOf(1, 1), x: 0, y: 0, isEmpty: true });
  }

  become({ sheet, x, y, isEmpty }) {
    this.sheet.width = sheet.width;
    this.sheet.height = sheet.height;
    this.sheet.getContext("2d").drawImage(sheet, 0, 0);
    Object.assign(this, { x, y, isEmpty });
    this.place();
    this.keep(true);
  }

  // -- Generate --

  // What is in the frame, empty where nothing is; remembered for the job that `next` names.
  async framed(next) {
    const [left, top] = this.state.frame;
    const [width, height] = this.size();
    const found = canvasOf(width, height);
    if (!this.isEmpty) found.getContext("2d").drawImage(this.sheet, this.x - left, this.y - top);
    this.state.jobs = { [next]: [left, top] };
    this.state.last = [left, top];
    this.keep(false);
    return { blob: await new Promise((resolve) => found.toBlob(resolve, "image/png")), denoising: Number(this.strength.value) };
  }

  // A job is over: its first picture goes where the frame was.
  async onMade({ job, pictures }) {
    await this.restored;
    const place = this.state.jobs[job];
    if (!place || !pictures.length) return;
    delete this.state.jobs[job];
    await this.layPicture(pictures[0].id, place);
  }

  // -- keeping --

  async keep(drawn) {
    Object.assign(this.state, { x: this.x, y: this.y });
    const { key } = this.state;
    if (drawn) {
      const blob = this.isEmpty ? null : await new Promise((resolve) => this.sheet.toBlob(resolve, "image/png"));
      this.state.key = blob ? await blobs.put(blob) : null;
    }
    write(KEPT, JSON.stringify(this.state));
    if (drawn && key) blobs.remove(key);
  }

  async restore() {
    const blob = await blobs.get(this.state.key);
    if (blob) {
      const image = await imageOf(blob);
      Object.assign(this.sheet, { width: image.naturalWidth, height: image.naturalHeight });
      this.sheet.getContext("2d").drawImage(image, 0, 0);
      URL.revokeObjectURL(image.src);
      Object.assign(this, { x: this.state.x, y: this.state.y, isEmpty: false });
    }
    this.see();
  }

  download() {
    if (this.isEmpty) this.say("The canvas is empty: there is nothing to save.");
    else this.sheet.toBlob((blob) => make("a", { href: URL.createObjectURL(blob), download: "canvas.png" }).click(), "image/png");
  }
}
