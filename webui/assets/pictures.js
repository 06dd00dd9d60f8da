// What the tab img2img begins with: its sub-tabs, each with a picture of its own, kept over a reload; sent when Generate is pressed.

import * as blobs from "./blobs.js";
import { Canvas } from "./canvas.js";
import { button, filesOf, make, pickFiles } from "./dom.js";
import { Editor } from "./editor.js";
import { read, write } from "./memory.js";
import { Outpaint } from "./outpaint.js";
import { upload } from "./uploads.js";

const KEPT = "atelier.pictures";
const MODES = [
  ["img2img", "img2img", "Drop a picture here, or click to choose one"],
  ["img2img_sketch", "Sketch", "Drop a picture to draw on here, or click to choose one"],
  ["inpaint", "Inpaint", "Drop a picture to mask here, or click to choose one"],
  ["inpaint_sketch", "Inpaint sketch", "Drop a picture to draw on here, or click: what is drawn on is redrawn"],
  ["inpaint_upload", "Inpaint upload", "Drop the picture here, or click to choose it"],
  ["batch", "Batch", ""],
  ["canvas", "Canvas", ""],
];
const COPIES = [["img2img", "img2img"], ["img2img_sketch", "sketch"], ["inpaint", "inpaint"], ["inpaint_sketch", "inpaint sketch"]];
// As A1111 calls what holds each picture.
const IDS = {
  img2img: "img2img_image",
  img2img_sketch: "img2img_sketch",
  inpaint: "img2maskimg",
  inpaint_sketch: "inpaint_sketch",
  inpaint_upload: "img_inpaint_base",
  inpaint_upload_mask: "img_inpaint_mask",
};
const DRAWS = { img2img_sketch: "colour", inpaint: "mask", inpaint_sketch: "colour" };
const WAIT = 400; // milliseconds after the last stroke before a drawing is kept

export const kept = () => ({ mode: "img2img", slots: {}, files: [], ...JSON.parse(read(KEPT) ?? "{}") });
export const keep = (state) => write(KEPT, JSON.stringify(state));

export class Pictures {
  constructor(root, { say, resized, size, selected }) {
    Object.assign(this, { root, say, resized, size, selected, state: kept(), editors: {}, saved: {}, timers: {} });
    this.list = make("div", { className: "modes", role: "tablist", "aria-label": "What to begin with" });
    this.list.addEventListener("keydown", (event) => this.onKey(event));
    this.panels = {};
    for (const [mode, title] of MODES) this.list.append(this.modeButton(mode, title));
    root.append(this.list);
    for (const [mode, , words] of MODES) root.append((this.panels[mode] = this.panel(mode, words)));
    root.append(this.copyRow());
    this.choose(this.state.mode in this.panels ? this.state.mode : "img2img");
    this.restored = this.restore();
  }

  // -- building --

  modeButton(mode, title) {
    return make("button", {
      type: "button", role: "tab", id: `img2img_${mode}_tab`, textContent: title, "data-mode": mode,
      "aria-controls": `img2img_${mode}_panel`, onclick: () => this.choose(mode),
    });
  }

  panel(mode, words) {
    const panel = make("div", { className: "mode", id: `img2img_${mode}_panel`, role: "tabpanel", "aria-labelledby": `img2img_${mode}_tab` });
    if (mode === "batch") panel.append(...this.batchTools());
    else if (mode === "canvas") {
      const root = make("div", { id: "img2img_canvas" });
      this.canvas = new Canvas(root, this);
      panel.append(root);
    } else panel.append(this.editor(mode, words));
    if (mode === "inpaint") {
      this.outpaint = new Outpaint(this.editors.inpaint, this.say);
      panel.append(this.outpaint.root);
    }
    if (mode === "inpaint_upload") panel.append(this.editor("inpaint_upload_mask", "Drop the mask here, or click to choose it: white is redrawn"));
    return panel;
  }

  editor(slot, words) {
    const root = make("div", { id: IDS[slot] });
    this.editors[slot] = new Editor(root, { draws: DRAWS[slot], words, say: this.say, changed: () => this.changed(slot) });
    return root;
  }

  copyRow() {
    const row = make("div", { className: "copies", id: "img2img_copy_to" }, make("span", { textContent: "Copy image to:" }));
    for (const [mode, title] of COPIES)
      row.append(button(title, `Copy the picture to ${title}`, () => this.copy(mode), { id: `img2img_copy_to_${mode}` }));
    return row;
  }

  batchTools() {
    this.names = make("p", { className: "names" });
    const drop = make("div", { className: "drop", tabIndex: 0, role: "button", id: "img2img_batch_upload" }, "Drop the pictures here, or click to choose them");
    const take = async (files) => files.length && this.takeFiles(files);
    drop.addEventListener("click", async () => take(await pickFiles("image/*", true)));
    drop.addEventListener("keydown", async ({ key }) => key === "Enter" && take(await pickFiles("image/*", true)));
    drop.addEventListener("dragover", (event) => event.preventDefault());
    drop.addEventListener("drop", (event) => {
      event.preventDefault();
      take(filesOf(event.dataTransfer));
    });
    return [drop, this.names];
  }

  // -- choosing --

  choose(mode) {
    this.state.mode = document.body.dataset.img2imgMode = mode;
    for (const found of this.list.children) {
      const chosen = found.dataset.mode === mode;
      found.setAttribute("aria-selected", chosen);
      found.tabIndex = chosen ? 0 : -1;
    }
    for (const [name, panel] of Object.entries(this.panels)) panel.hidden = name !== mode;
    this.root.querySelector(".copies")?.toggleAttribute("hidden", ["batch", "inpaint_upload", "canvas"].includes(mode));
    for (const [i, [copy]] of COPIES.entries()) this.root.querySelectorAll(".copies button")[i]?.toggleAttribute("hidden", copy === mode);
    keep(this.state);
    this.resized();
  }

  onKey(event) {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step) return;
    const at = MODES.findIndex(([mode]) => mode === this.state.mode);
    this.choose(MODES[(at + step + MODES.length) % MODES.length][0]);
    this.list.querySelector("[aria-selected=true]").focus();
    event.preventDefault();
  }

  current = () => this.editors[this.state.mode] ?? null;

  async copy(mode) {
    const from = this.current();
    if (!from?.blob) {
      this.say("There is no picture to copy yet.");
      return;
    }
    await this.receive(mode, from.draws === "colour" && !from.layer.isEmpty() ? await flattened(from) : from.blob);
  }

  async receive(mode, blob) {
    this.choose(mode);
    await this.editors[mode].take(blob);
  }

  async takeFiles(files) {
    this.state.files = await Promise.all(files.map(async (file) => ({ name: file.name, key: await blobs.put(file) })));
    this.showNames();
    keep(this.state);
  }

  showNames() {
    const names = this.state.files.map(({ name }) => name);
    this.names.textContent = names.length ? `${names.length} chosen: ${names.slice(0, 8).join(", ")}${names.length > 8 ? " …" : ""}` : "";
  }

  // -- keeping --

  async restore() {
    this.showNames();
    for (const [slot, keys] of Object.entries(this.state.slots)) {
      const [blob, drawing] = [await blobs.get(keys.image), await blobs.get(keys.drawing)];
      if (blob && this.editors[slot]) await this.editors[slot].show(blob, drawing);
      this.saved[slot] = blob;
    }
    this.resized();
  }

  changed(slot) {
    this.resized();
    clearTimeout(this.timers[slot]);
    this.timers[slot] = setTimeout(() => this.save(slot), WAIT);
  }

  async save(slot) {
    const editor = this.editors[slot];
    const old = this.state.slots[slot] ?? {};
    const image = !editor.blob ? null : editor.blob === this.saved[slot] ? old.image : await blobs.put(editor.blob);
    const drawing = editor.blob && editor.draws && !editor.layer.isEmpty() ? await blobs.put(await editor.layer.picture()) : null;
    this.saved[slot] = editor.blob;
    this.state.slots[slot] = { image, drawing };
    keep(this.state);
    if (old.drawing) blobs.remove(old.drawing);
  }

  // -- sending: hashes of what the server then has --

  async gather(tell, next) {
    await this.restored;
    const { mode } = this.state;
    if (mode === "canvas") {
      const { blob, denoising } = await this.canvas.framed(next);
      return { mode, image: await send(blob), denoising };
    }
    if (mode === "batch") return { mode, files: await this.sendFiles(tell) };
    const editor = this.current();
    const found = { mode, image: await send(editor.blob) };
    if (mode === "inpaint") found.outpaint = this.outpaint.take();
    if (mode === "inpaint_upload") found.mask = await send(this.editors.inpaint_upload_mask.blob);
    else if (editor.draws && editor.blob && !editor.layer.isEmpty())
      found.drawing = await send(editor.draws === "mask" ? await editor.layer.mask() : await editor.layer.picture());
    return found;
  }

  async sendFiles(tell) {
    const sent = [];
    for (const [i, { name, key }] of this.state.files.entries()) {
      tell(`Sending picture ${i + 1} of ${this.state.files.length} …`);
      sent.push([name, await send(await blobs.get(key), name)]);
    }
    return sent;
  }
}

async function flattened(editor) {
  const canvas = make("canvas", { width: editor.width, height: editor.height });
  const context = canvas.getContext("2d");
  context.drawImage(editor.picture, 0, 0);
  context.drawImage(editor.layer.canvas, 0, 0, editor.width, editor.height);
  return new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
}

// The picture's name at the server, null for none; raises an error with a sentence.
export async function send(blob, name = "The picture") {
  if (!blob) return null;
  let answer;
  try {
    answer = await upload(blob);
  } catch {
    throw new Error("The server does not answer. Nothing is lost: press Generate again when it does.");
  }
  const told = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(`${name}: ${told.detail ?? "the server did not take it."}`);
  return told.sha256;
}
