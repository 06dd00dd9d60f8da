// The pictures of a ControlNet unit: one with a mask, a region, or several; at the server under their hashes, and kept in the browser.

import * as blobs from "./blobs.js";
import { row } from "./control_fields.js";
import { button, make, pickFiles } from "./dom.js";
import { Editor } from "./editor.js";
import { send } from "./pictures.js";
import { tabs } from "./tabs.js";

const WAIT = 400; // milliseconds after the last stroke

export class UnitPictures {
  // `hashes`: of image, mask and effective_region_mask; `images`: of several pictures. `saved`: the file last kept for each slot.
  constructor(unit) {
    Object.assign(this, { unit, hashes: {}, images: [], saved: {}, waiting: new Set(), busy: Promise.resolve() });
    const { id, control } = unit;
    const words = "Drop a picture here, or click to choose one; what is drawn is its mask";
    this.editor = new Editor(make("div", { id: `${id}_image` }), { draws: "mask", words, say: control.say, changed: () => this.later("image") });
    this.regionEditor = new Editor(make("div", { id: `${id}_region_image` }), { words: "Drop the mask here: white is where the unit counts", say: control.say, changed: () => this.later("effective_region_mask") });
    this.names = make("p", { className: "names" });
    this.several = make("div", { className: "several" }, button("Choose pictures", "Several pictures", () => this.pick()), button("Choose a folder", "Input Directory: all its pictures, in the order of their names", () => this.pick(true)), this.names);
    this.tools = row(
      unit.tool("📝", "Open new canvas", () => this.blank()),
      unit.tool("⤴", "Send dimensions to stable diffusion", () => this.sendSize()),
    ).root;
    this.root = make("div", {}, this.editor.root, this.several, this.tools);
  }

  // What is shown of them: one picture or several, and the region.
  show({ one, several, region }) {
    this.editor.root.hidden = this.tools.hidden = !one;
    this.several.hidden = !several;
    this.regionEditor.root.hidden = !region;
  }

  // -- what was drawn or dropped goes to the server --

  later(slot) {
    clearTimeout(this.timer);
    const { enabled } = this.unit.fields;
    if (slot === "image" && this.editor.blob && !this.hashes.image && !enabled.value) enabled.value = true; // as the extension does
    this.waiting.add(slot);
    this.timer = setTimeout(() => this.flush(), WAIT);
  }

  flush() {
    for (const slot of this.waiting) this.busy = this.busy.then(() => this.save(slot)).catch((error) => this.unit.control.say(error.message));
    this.waiting.clear();
  }

  async settled() {
    this.flush();
    await this.busy;
  }

  async save(slot) {
    const editor = slot === "image" ? this.editor : this.regionEditor;
    const { keys } = this.unit;
    const drawn = slot === "image" && editor.blob && !editor.layer.isEmpty();
    const mask = drawn ? await editor.layer.mask() : null;
    this.hashes[slot] = await send(editor.blob);
    if (slot === "image") this.hashes.mask = await send(mask);
    const old = [];
    if (this.saved[slot] !== editor.blob) {
      old.push(keys[slot]);
      keys[slot] = editor.blob ? await blobs.put(editor.blob) : null;
      this.saved[slot] = editor.blob;
    }
    if (slot === "image") {
      old.push(keys.drawing);
      keys.drawing = drawn ? await blobs.put(await editor.layer.picture()) : null;
    }
    this.unit.keep({});
    for (const key of old) if (key) await blobs.remove(key);
    this.unit.changed();
  }

  // -- after a reload --

  async restore(keys) {
    const [image, drawing, region] = await Promise.all([keys.image, keys.drawing, keys.effective_region_mask].map((key) => key && blobs.get(key)));
    if (image && (await this.editor.show(image, drawing))) {
      this.hashes.image = await send(image).catch(() => null);
      this.hashes.mask = drawing ? await send(await this.editor.layer.mask()).catch(() => null) : null;
    }
    if (region && (await this.regionEditor.show(region))) {
      this.unit.own.region.value = true;
      this.hashes.effective_region_mask = await send(region).catch(() => null);
    }
    await this.restoreSeveral(keys.images ?? []);
  }

  async restoreSeveral(kept) {
    for (const { key, name } of kept) {
      const blob = await blobs.get(key);
      const hash = blob && (await send(blob, name).catch(() => null));
      if (hash) this.images.push(hash);
    }
    this.name(this.images.length === kept.length ? kept : []);
    if (this.images.length !== kept.length) this.images = [];
  }

  // -- several --

  name(files) {
    this.names.textContent = files.map(({ name }) => name).join(", ");
  }

  async pick(folder = false) {
    const all = await pickFiles("image/*", true, folder);
    const files = all.filter(({ type }) => type.startsWith("image/"));
    if (folder) files.sort((a, b) => a.webkitRelativePath.localeCompare(b.webkitRelativePath));
    if (!files.length) return all.length ? this.unit.control.say("There is no picture in that folder. Choose another.") : undefined;
    this.images = [];
    this.busy = this.busy.then(() => this.takeSeveral(files)).catch((error) => this.unit.control.say(error.message));
  }

  async takeSeveral(files) {
    for (const file of files) this.images.push(await send(file, file.name));
    const old = this.unit.keys.images ?? [];
    const images = [];
    for (const file of files) images.push({ key: await blobs.put(file), name: file.name });
    this.unit.keep({ images });
    for (const { key } of old) await blobs.remove(key);
    this.name(files);
    this.unit.changed();
  }

  // -- tools --

  async blank() {
    const [width, height] = ["width", "height"].map((side) => Number(document.querySelector(`#${this.unit.control.tab}_${side} input[type=number]`)?.value) || 512);
    const canvas = make("canvas", { width, height });
    const context = canvas.getContext("2d");
    context.fillStyle = "white";
    context.fillRect(0, 0, width, height);
    await this.editor.take(await new Promise((done) => canvas.toBlob(done, "image/png")));
  }

  sendSize() {
    const { control } = this.unit;
    const { blob, width, height } = this.editor;
    if (!blob) return control.say("There is no picture whose size could be sent.");
    for (const [name, pixels] of [["width", width], ["height", height]]) {
      const field = document.querySelector(`#${control.tab}_${name} input[type=number]`);
      field.value = Math.min(2048, Math.max(64, Math.round(pixels / 8) * 8));
      field.dispatchEvent(new Event("input", { bubbles: true }));
      tabs[control.tab].touch({ [name]: Number(field.value) });
    }
  }
}
