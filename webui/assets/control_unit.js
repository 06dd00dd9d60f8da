// One ControlNet unit: its fields, its picture with a mask, and what its preprocessor makes of it.

import * as blobs from "./blobs.js";
import { asked } from "./control.js";
import { check, choice, radio, slider } from "./control_fields.js";
import { button, make, pickFiles } from "./dom.js";
import { Editor } from "./editor.js";
import { send } from "./pictures.js";
import { tabs } from "./tabs.js";

const WAIT = 400; // milliseconds after the last stroke
const RESOLUTION = { name: "Preprocessor resolution", min: 64, max: 2048, step: 8, value: 512 };
const MODES = [["simple", "Single Image"], ["batch", "Batch"], ["merge", "Multi-Inputs"]];
const UNION = ["Unknown", "OpenPose", "Depth", "Soft Edge", "Hard Edge", "Normal Map", "Segmentation", "Tile", "Inpaint", "Blur", "Gray", "Low Quality"];
const WEIGHTS = ["normal", "ease in", "ease out", "ease in-out", "reverse in-out", "weak input", "weak output", "weak middle", "strong middle", "style transfer", "composition", "strong style transfer", "style and composition", "strong style and composition"];

export class Unit {
  constructor(control, number) {
    Object.assign(this, { control, number, id: `${control.tab}_controlnet_ControlNet-${number}`, hashes: {}, images: [], keys: {}, saved: {}, waiting: new Set(), busy: Promise.resolve() });
    this.tab = make("button", { type: "button", role: "tab", textContent: `ControlNet Unit ${number}`, onclick: () => control.choose(number) });
    this.panel = make("div", { className: "unit", id: this.id, role: "tabpanel" });
    this.build();
  }

  // -- building --

  build() {
    const img2img = this.control.tab === "img2img";
    const changed = () => this.changed();
    this.fields = {
      enabled: check("Enable", `${this.id}_enable_checkbox`, changed),
      low_vram: check("Low VRAM", `${this.id}_low_vram`, changed),
      pixel_perfect: check("Pixel Perfect", `${this.id}_pixel_perfect`, changed),
      control_type: radio("Control Type", Object.keys(this.control.types), `${this.id}_type_filter`, () => this.chooseType()),
      module: choice("Preprocessor", `${this.id}_preprocessor`, () => this.chooseModule()),
      model: choice("Model", `${this.id}_model`, changed),
      union_control_type: choice("Union Control Type", `${this.id}_union`, changed),
      weight: slider("Control Weight", 0, 2, 0.05, `${this.id}_control_weight`, changed),
      guidance_start: slider("Starting Control Step", 0, 1, 0.01, `${this.id}_start`, changed),
      guidance_end: slider("Ending Control Step", 0, 1, 0.01, `${this.id}_end`, changed),
      processor_res: slider(RESOLUTION.name, 64, 2048, 8, `${this.id}_resolution`, changed),
      threshold_a: slider("Threshold A", 0, 1, 0.01, `${this.id}_a`, changed),
      threshold_b: slider("Threshold B", 0, 1, 0.01, `${this.id}_b`, changed),
      control_mode: radio("Control Mode", ["Balanced", "My prompt is more important", "ControlNet is more important"], `${this.id}_mode`, changed),
      resize_mode: radio("Resize Mode", ["Just Resize", "Crop and Resize", "Resize and Fill"], `${this.id}_resize`, changed),
      hr_option: radio("Hires-Fix Option", ["Both", "Low res only", "High res only"], `${this.id}_hr`, changed),
      weight_type: choice("Weight Type", `${this.id}_weight_type`, changed),
      composition_weight: slider("Composition Weight", 0, 2, 0.05, `${this.id}_composition`, changed),
      inpaint_crop_input_image: check("Crop input image based on A1111 mask", `${this.id}_crop`, changed),
    };
    this.own = {
      preview: check("Allow Preview", `${this.id}_preview`, changed),
      region: check("Effective Region Mask", `${this.id}_region`, changed),
      asInput: check("Preview as Input", `${this.id}_as_input`, changed),
      independent: check("Upload independent control image", `${this.id}_upload_independent`, changed),
    };
    this.fields.union_control_type.fill(UNION);
    this.fields.weight_type.fill(WEIGHTS);
    this.modes = radio("Input", MODES.map(([, words]) => words), `${this.id}_input`, changed);
    const f = this.fields;
    this.panel.append(
      row(f.enabled, f.low_vram, f.pixel_perfect, this.own.preview, this.own.region, this.own.asInput, ...(img2img ? [this.own.independent, f.inpaint_crop_input_image] : [])),
      this.modes.root, this.buildPictures(), f.control_type.root,
      row(f.module, this.tool("💥", "Run preprocessor", () => this.run()), this.buildFetch(), f.model, this.tool("🔄", "Look for models again", () => this.control.refresh())),
      f.union_control_type.root, row(f.weight, f.guidance_start, f.guidance_end), row(f.processor_res, f.threshold_a, f.threshold_b),
      f.weight_type.root, f.composition_weight.root, f.control_mode.root, f.resize_mode.root, f.hr_option.root,
    );
    f.hr_option.root.hidden = img2img;
    this.set({});
  }

  buildFetch() {
    this.fetch = button("Download", "", () => this.download(), { hidden: true, id: `${this.id}_download` });
    return { root: this.fetch };
  }

  tool = (text, title, act) => ({ root: button(text, title, act, { className: "tool" }) });

  buildPictures() {
    const words = "Drop a picture here, or click to choose one; what is drawn is its mask";
    this.editor = new Editor(make("div", { id: `${this.id}_image` }), { draws: "mask", words, say: this.control.say, changed: () => this.later("image") });
    this.regionEditor = new Editor(make("div", { id: `${this.id}_region_image` }), { words: "Drop the mask here: white is where the unit counts", say: this.control.say, changed: () => this.later("effective_region_mask") });
    this.shown = make("img", { alt: "What the preprocessor makes of the picture", hidden: true });
    this.preview = make("div", { className: "preview", hidden: true }, this.shown, make("p", { textContent: "💥 runs the preprocessor." }));
    this.names = make("p", { className: "names" });
    this.several = make("div", { className: "several" }, button("Choose pictures", "Several pictures", () => this.pick()), button("Choose a folder", "Input Directory: all its pictures, in the order of their names", () => this.pick(true)), this.names);
    this.tools = row(
      this.tool("📝", "Open new canvas", () => this.blank()),
      this.tool("⤴", "Send dimensions to stable diffusion", () => this.sendSize()),
    );
    return make("div", { className: "sources" }, make("div", {}, this.editor.root, this.several, this.tools), this.preview, this.regionEditor.root);
  }

  // -- values --

  set(values) {
    const f = this.fields;
    const given = { enabled: false, low_vram: false, pixel_perfect: false, inpaint_crop_input_image: true, union_control_type: "Unknown", weight: 1, guidance_start: 0, guidance_end: 1, control_mode: "Balanced", resize_mode: "Crop and Resize", hr_option: "Both", weight_type: "normal", composition_weight: 1, module: "none", model: "None", control_type: "All", ...values };
    f.control_type.value = given.control_type;
    this.fillMenus();
    for (const [name, field] of Object.entries(f)) if (name in given && !["threshold_a", "threshold_b", "processor_res"].includes(name)) field.value = given[name];
    const { own, module } = this.control.kept[this.number] ?? {};
    f.module.value = own?.asInput && given.module === "none" && module ? module : this.labelled(given.module); // whose preview is the input
    f.model.value = this.titled(given.model);
    this.modes.value = MODES.find(([mode]) => mode === (given.input_mode ?? "simple"))[1];
    this.showSliders();
    for (const name of ["threshold_a", "threshold_b", "processor_res"]) if (Number(given[name] ?? -1) >= 0) f[name].value = given[name];
    this.filter();
    this.seen();
  }

  value() {
    const f = this.fields;
    const found = Object.fromEntries(Object.entries(f).filter(([name]) => name !== "control_type").map(([name, field]) => [name, field.value]));
    found.input_mode = MODES.find(([, words]) => words === this.modes.value)[0];
    for (const name of ["processor_res", "threshold_a", "threshold_b"]) if (f[name].root.hidden) found[name] = -1;
    const own = this.control.tab !== "img2img" || this.own.independent.value;
    const { image, mask, effective_region_mask: region, preview } = this.hashes;
    if (own) Object.assign(found, { image, mask });
    if (this.own.asInput.value && preview) Object.assign(found, { image: preview, module: "none" });
    if (found.input_mode !== "simple") found.images = this.images;
    if (this.own.region.value) found.effective_region_mask = region;
    return found;
  }

  changed() {
    this.seen();
    this.control.tell();
    const own = Object.fromEntries(Object.entries(this.own).filter(([name]) => name !== "region").map(([name, field]) => [name, field.value]));
    const module = this.fields.module.value;
    if (module !== this.keys.module || JSON.stringify(own) !== JSON.stringify(this.keys.own)) this.keep({ own, module });
  }

  keep(more) {
    Object.assign(this.keys, more);
    this.control.keep(this.number, this.keys);
  }

  labelled = (name) => this.control.labels[name] ?? name;

  titled(name) {
    const stem = name.replace(/ \[[0-9a-f]+\]$/, "");
    return this.control.types.All.model_list.find((title) => title === name || title.replace(/ \[[0-9a-f]+\]$/, "") === stem) ?? name;
  }

  fillMenus() {
    const type = this.control.types[this.fields.control_type.value] ?? this.control.types.All;
    this.fields.module.fill(type.module_list);
    this.fields.model.fill(type.model_list);
  }

  // The menus anew, with what is chosen in them.
  refill() {
    const { module, model } = this.fields;
    const chosen = [module.value, model.value];
    this.fillMenus();
    [module.value, model.value] = chosen;
    this.seen();
  }

  chooseType() {
    this.keep({ control_type: this.fields.control_type.value });
    const type = this.control.types[this.fields.control_type.value];
    this.fillMenus();
    this.fields.module.value = type.default_option;
    this.fields.model.value = type.default_model;
    this.chooseModule();
  }

  chooseModule() {
    this.showSliders();
    this.changed();
  }

  showSliders() {
    const sliders = this.control.modules[this.fields.module.value]?.sliders ?? [];
    ["processor_res", "threshold_a", "threshold_b"].forEach((name, i) => this.fields[name].limit(sliders[i] ?? null));
  }

  seen() {
    const f = this.fields;
    const mode = this.modes.value;
    const img2img = this.control.tab === "img2img" && !this.own.independent.value;
    f.union_control_type.root.hidden = !/union|promax/i.test(f.model.value);
    f.weight_type.root.hidden = f.composition_weight.root.hidden = !/ip-?adapter|ip_adapter/i.test(`${f.model.value} ${f.control_type.value}`);
    if (f.pixel_perfect.value) f.processor_res.root.hidden = true;
    else this.showSliders.call({ ...this, fields: { ...f, threshold_a: still, threshold_b: still } });
    this.editor.root.hidden = mode !== "Single Image" || img2img;
    this.tools.root.hidden = this.editor.root.hidden;
    this.several.hidden = mode === "Single Image";
    this.regionEditor.root.hidden = !this.own.region.value;
    this.preview.hidden = !this.own.preview.value;
    this.tab.classList.toggle("on", f.enabled.value);
    const missing = this.control.needs[f.module.value]?.missing ?? [];
    this.fetch.hidden = !missing.length;
    this.fetch.title = `Fetch what it needs: ${missing.map(({ file, size }) => `${file} (${Math.max(1, Math.round(size / 1e6))} MB)`).join(", ")}`;
  }

  select(chosen) {
    this.tab.setAttribute("aria-selected", chosen);
    this.panel.hidden = !chosen;
  }

  // -- pictures --

  later(slot) {
    clearTimeout(this.timer);
    if (slot === "image" && this.editor.blob && !this.hashes.image && !this.fields.enabled.value) this.fields.enabled.value = true; // as the extension does
    this.waiting.add(slot);
    this.timer = setTimeout(() => this.flush(), WAIT);
  }

  flush() {
    for (const slot of this.waiting) this.busy = this.busy.then(() => this.save(slot)).catch((error) => this.control.say(error.message));
    this.waiting.clear();
  }

  async settled() {
    this.flush();
    await this.busy;
  }

  async save(slot) {
    const editor = slot === "image" ? this.editor : this.regionEditor;
    const drawn = slot === "image" && editor.blob && !editor.layer.isEmpty();
    const mask = drawn ? await editor.layer.mask() : null;
    this.hashes[slot] = await send(editor.blob);
    if (slot === "image") this.hashes.mask = await send(mask);
    const old = [];
    if (this.saved[slot] !== editor.blob) {
      old.push(this.keys[slot]);
      this.keys[slot] = editor.blob ? await blobs.put(editor.blob) : null;
      this.saved[slot] = editor.blob;
    }
    if (slot === "image") {
      old.push(this.keys.drawing);
      this.keys.drawing = drawn ? await blobs.put(await editor.layer.picture()) : null;
    }
    this.control.keep(this.number, this.keys);
    for (const key of old) if (key) await blobs.remove(key);
    this.changed();
  }

  async restore(keys) {
    this.keys = keys;
    for (const [name, value] of Object.entries(keys.own ?? {})) this.own[name].value = value;
    this.filter();
    const [image, drawing, region] = await Promise.all([keys.image, keys.drawing, keys.effective_region_mask].map((key) => key && blobs.get(key)));
    if (image && (await this.editor.show(image, drawing))) {
      this.hashes.image = await send(image).catch(() => null);
      this.hashes.mask = drawing ? await send(await this.editor.layer.mask()).catch(() => null) : null;
    }
    if (region && (await this.regionEditor.show(region))) {
      this.own.region.value = true;
      this.hashes.effective_region_mask = await send(region).catch(() => null);
    }
    await this.restoreSeveral(keys.images ?? []);
    await this.restorePreview(keys.preview);
    this.seen();
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

  async restorePreview(key) {
    const made = key && (await blobs.get(key));
    if (!made) return;
    this.showPreview(made);
    this.hashes.preview = await send(made).catch(() => null);
  }

  // The filter that was chosen last, if what is chosen now is in it.
  filter() {
    const type = this.keys.control_type;
    const { module_list: modules = [], model_list: models = [] } = this.control.types[type] ?? {};
    if (!modules.includes(this.fields.module.value) || !models.includes(this.fields.model.value)) return;
    this.fields.control_type.value = type;
    this.refill();
  }

  name(files) {
    this.names.textContent = files.map(({ name }) => name).join(", ");
  }

  async pick(folder = false) {
    const all = await pickFiles("image/*", true, folder);
    const files = all.filter(({ type }) => type.startsWith("image/"));
    if (folder) files.sort((a, b) => a.webkitRelativePath.localeCompare(b.webkitRelativePath));
    if (!files.length) return all.length ? this.control.say("There is no picture in that folder. Choose another.") : undefined;
    this.images = [];
    this.busy = this.busy.then(async () => {
      for (const file of files) this.images.push(await send(file, file.name));
      const old = this.keys.images ?? [];
      const images = [];
      for (const file of files) images.push({ key: await blobs.put(file), name: file.name });
      this.keep({ images });
      for (const { key } of old) await blobs.remove(key);
      this.name(files);
      this.changed();
    }).catch((error) => this.control.say(error.message));
  }

  showPreview(made) {
    if (this.shown.src) URL.revokeObjectURL(this.shown.src);
    Object.assign(this.shown, { src: URL.createObjectURL(made), hidden: false });
  }

  async download() {
    const { name } = this.control.needs[this.fields.module.value];
    const answer = await fetch(new URL(`atelier/preprocessors/${encodeURIComponent(name)}/download`, document.baseURI), { method: "POST" }).catch(() => null);
    const told = await answer?.json().catch(() => null);
    this.control.say(answer?.ok ? "It is in the list of downloads (tab Models). Run the preprocessor when it is here; 🔄 looks again." : (told?.detail ?? "The download cannot be begun. Is the server running?"));
  }

  async blank() {
    const [width, height] = ["width", "height"].map((side) => Number(document.querySelector(`#${this.control.tab}_${side} input[type=number]`)?.value) || 512);
    const canvas = make("canvas", { width, height });
    const context = canvas.getContext("2d");
    context.fillStyle = "white";
    context.fillRect(0, 0, width, height);
    await this.editor.take(await new Promise((done) => canvas.toBlob(done, "image/png")));
  }

  sendSize() {
    const { blob, width, height } = this.editor;
    if (!blob) return this.control.say("There is no picture whose size could be sent.");
    for (const [name, pixels] of [["width", width], ["height", height]]) {
      const field = document.querySelector(`#${this.control.tab}_${name} input[type=number]`);
      field.value = Math.min(2048, Math.max(64, Math.round(pixels / 8) * 8));
      field.dispatchEvent(new Event("input", { bubbles: true }));
      tabs[this.control.tab].touch({ [name]: Number(field.value) });
    }
  }

  async run() {
    const { blob } = this.editor;
    if (!blob) return this.control.say("There is no picture to run the preprocessor on. Drop one into the unit.");
    const { module, processor_res, threshold_a, threshold_b } = this.value();
    const masks = this.editor.layer.isEmpty() ? [] : [await base64(await this.editor.layer.mask())];
    this.own.preview.value = true;
    this.seen();
    try {
      const told = await asked("detect", { controlnet_module: this.fields.module.value ?? module, controlnet_input_images: [await base64(blob)], controlnet_masks: masks, controlnet_processor_res: processor_res, controlnet_threshold_a: threshold_a, controlnet_threshold_b: threshold_b });
      if (!told.images.length) return this.control.say(told.texts?.[0] ?? "This preprocessor makes no picture.");
      const made = await (await fetch(`data:image/png;base64,${told.images[0]}`)).blob();
      this.showPreview(made);
      this.hashes.preview = await send(made);
      const old = this.keys.preview;
      this.keep({ preview: await blobs.put(made) });
      if (old) await blobs.remove(old);
      this.changed();
    } catch (error) {
      this.control.say(error.message);
    }
  }
}

const still = { limit() {} };
const row = (...fields) => {
  const root = make("div", { className: "row" }, ...fields.map((field) => field.root));
  root.root = root;
  return root;
};

function base64(blob) {
  return new Promise((done) => {
    const reader = new FileReader();
    reader.onload = () => done(reader.result.split(",")[1]);
    reader.readAsDataURL(blob);
  });
}
