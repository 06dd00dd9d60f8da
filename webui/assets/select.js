// Selecting in the picture of an editor by clicks, a box or words: the server answers with a mask, which is added or taken away.

import { button, imageOf, make } from "./dom.js";
import { upload } from "./uploads.js";

const DRAG = 4; // screen pixels: less is a click
const url = (path) => new URL(`atelier/${path}`, document.baseURI);

export class Select {
  // `say(text)` tells the user; `lay(image, erase)` puts a mask on the drawing.
  constructor(editor, lay) {
    Object.assign(this, { editor, lay, from: null, to: null, upload: null, busy: false, known: null, count: 0 });
    const choose = (title, options) => make("select", { title, "aria-label": title }, ...options.map((text) => make("option", { textContent: text, value: text })));
    this.method = choose("Select by", []);
    this.method.addEventListener("change", () => this.drawState());
    this.mode = choose("What to do with it", ["Add", "Subtract"]);
    this.words = make("input", { type: "text", placeholder: "a hat, a cat", title: "Words for what to select", "aria-label": "Words for what to select", maxLength: 1000 });
    this.words.addEventListener("keydown", (event) => {
      event.stopPropagation();
      if (event.key === "Enter") this.byWords();
    });
    this.find = button("Find", "Select what the words name", () => this.byWords());
    this.tolerance = make("input", { type: "range", min: 0, max: 128, value: 24, title: "How far colours may differ", "aria-label": "How far colours may differ" });
    this.fetch = button("Download", "Fetch what this way of selecting needs", () => this.download(), { className: "admins fetching" });
    this.hint = make("span", { className: "hint", role: "status" });
    this.root = make("div", { className: "bar select", role: "toolbar", "aria-label": "Select", hidden: true }, this.method, this.mode, this.tolerance, this.words, this.find, this.fetch, this.hint);
    this.marquee = make("div", { className: "marquee", hidden: true });
    editor.surface.append(this.marquee);
  }

  async open() {
    this.root.hidden = false;
    await this.learn();
  }

  close() {
    this.root.hidden = true;
  }

  async learn() {
    const answer = await fetch(url("select")).catch(() => null);
    if (!answer?.ok) return this.editor.say("The ways of selecting cannot be asked for. Is the server running?");
    const first = !this.known;
    this.known = (await answer.json()).methods;
    if (first) {
      this.method.replaceChildren(...this.known.map(({ name, words }) => make("option", { value: name, textContent: name, title: words })));
      const ready = this.known.find(({ needs }) => !needs.click.length);
      if (ready) this.method.value = ready.name;
    }
    this.drawState();
  }

  get chosen() {
    return this.known?.find(({ name }) => name === this.method.value);
  }

  drawState() {
    const takes = this.chosen?.takes ?? [];
    const missing = this.missing();
    this.words.hidden = this.find.hidden = !takes.includes("text");
    this.tolerance.hidden = this.method.value !== "Similar colours";
    this.fetch.hidden = !missing.length;
    const needed = missing.map(({ file, size }) => `${file} (${Math.round(size / 1e6)} MB)`).join(" and ");
    const how = takes.includes("box") ? "Click on it, or drag a box around it." : "Click on it.";
    this.hint.textContent = needed ? `Needs ${needed}.` : how;
  }

  missing = () => (this.words.value.trim() ? this.chosen?.needs.text : this.chosen?.needs.click) ?? [];

  async download() {
    const answer = await fetch(url(`select/${this.words.value.trim() ? "text" : "click"}/download`), { method: "POST" }).catch(() => null);
    const told = await answer?.json().catch(() => null);
    this.editor.say(answer?.ok ? "It is in the list of downloads (tab Models). Select when it is here." : (told?.detail ?? "The download cannot be begun."));
  }

  // -- the hand of the view --

  begin(point) {
    Object.assign(this, { from: point, to: point });
  }

  extend(point) {
    this.to = point;
    const [left, top, right, bottom] = this.box();
    this.marquee.hidden = !this.dragged();
    Object.assign(this.marquee.style, { left: `${left}px`, top: `${top}px`, width: `${right - left}px`, height: `${bottom - top}px` });
  }

  dragged = () => Math.hypot(this.to.x - this.from.x, this.to.y - this.from.y) * this.editor.view.scale > DRAG;

  box() {
    const [x, y] = ["x", "y"].map((axis) => [this.from[axis], this.to[axis]].sort((a, b) => a - b));
    return [x[0], y[0], x[1], y[1]];
  }

  end() {
    this.marquee.hidden = true;
    if (!this.from) return;
    if (!this.dragged()) this.ask({ points: [[this.from.x, this.from.y]] });
    else if (this.chosen?.takes.includes("box")) this.ask({ box: this.box() });
    else this.editor.say(`${this.method.value} takes a click, not a box.`);
    this.from = null;
  }

  cancel() {
    this.marquee.hidden = true;
    this.from = null;
  }

  byWords() {
    const text = this.words.value.trim();
    if (text) this.ask({ text });
    else this.editor.say("There are no words. Write what to select, such as: a hat.");
  }

  // -- the server --

  async ask(what) {
    const { blob } = this.editor;
    if (this.busy || !blob) return;
    this.busy = true;
    this.hint.textContent = "Looking …";
    try {
      const told = await this.answer({ ...what, method: this.method.value, tolerance: Number(this.tolerance.value), upload: await this.sent(blob) });
      if (this.editor.blob !== blob) return; // another picture by now
      const bytes = Uint8Array.from(atob(told.mask), (letter) => letter.charCodeAt(0));
      const image = await imageOf(new Blob([bytes], { type: "image/png" }));
      this.lay(image, this.mode.value === "Subtract");
      URL.revokeObjectURL(image.src);
      this.count += 1;
      this.root.dataset.count = this.count;
    } catch (error) {
      this.editor.say(error.message);
    } finally {
      this.busy = false;
      this.drawState();
    }
  }

  // The picture's hash; it is sent once.
  async sent(blob) {
    if (this.upload?.blob !== blob) {
      const answer = await upload(blob);
      const told = await answer.json();
      if (!answer.ok) throw new Error(told.detail);
      this.upload = { blob, sha256: told.sha256 };
    }
    return this.upload.sha256;
  }

  async answer(body) {
    const answer = await fetch(url("select"), { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
    const told = await answer.json();
    if (!answer.ok) throw new Error(told.detail ?? "Nothing could be selected.");
    return told;
  }
}
