// One ControlNet unit: its fields and what they say. Its pictures are in control_pictures.js, what its preprocessor makes in control_preview.js.

import { ownFields, radio, row, unitFields } from "./control_fields.js";
import { UnitPictures } from "./control_pictures.js";
import { UnitPreview } from "./control_preview.js";
import { button, make } from "./dom.js";

const MODES = [["simple", "Single Image"], ["batch", "Batch"], ["merge", "Multi-Inputs"]];
const SLIDERS = ["processor_res", "threshold_a", "threshold_b"];

export class Unit {
  // `keys`: what the browser keeps of the unit: its own fields, and where its pictures are.
  constructor(control, number) {
    Object.assign(this, { control, number, id: `${control.tab}_controlnet_ControlNet-${number}`, keys: {} });
    this.tab = make("button", { type: "button", role: "tab", textContent: `ControlNet Unit ${number}`, onclick: () => control.choose(number) });
    this.panel = make("div", { className: "unit", id: this.id, role: "tabpanel" });
    this.build();
  }

  // -- building --

  build() {
    const img2img = this.control.tab === "img2img";
    const changed = () => this.changed();
    this.fields = unitFields(this.id, Object.keys(this.control.types), { changed, chooseType: () => this.chooseType(), chooseModule: () => this.chooseModule() });
    this.own = ownFields(this.id, changed);
    this.modes = radio("Input", MODES.map(([, words]) => words), `${this.id}_input`, changed);
    this.pictures = new UnitPictures(this);
    this.preview = new UnitPreview(this);
    const f = this.fields;
    this.panel.append(
      row(f.enabled, f.low_vram, f.pixel_perfect, this.own.preview, this.own.region, this.own.asInput, ...(img2img ? [this.own.independent, f.inpaint_crop_input_image] : [])).root,
      this.modes.root, make("div", { className: "sources" }, this.pictures.root, this.preview.root, this.pictures.regionEditor.root), f.control_type.root,
      row(f.module, this.tool("💥", "Run preprocessor", () => this.preview.run()), { root: this.preview.fetch }, f.model, this.tool("🔄", "Look for models again", () => this.control.refresh())).root,
      f.union_control_type.root, row(f.weight, f.guidance_start, f.guidance_end).root, row(...SLIDERS.map((name) => f[name])).root,
      f.weight_type.root, f.composition_weight.root, f.control_mode.root, f.resize_mode.root, f.hr_option.root,
    );
    f.hr_option.root.hidden = img2img;
    this.set({});
  }

  tool = (text, title, act) => ({ root: button(text, title, act, { className: "tool" }) });

  // -- values --

  set(values) {
    const f = this.fields;
    const given = { enabled: false, low_vram: false, pixel_perfect: false, inpaint_crop_input_image: true, union_control_type: "Unknown", weight: 1, guidance_start: 0, guidance_end: 1, control_mode: "Balanced", resize_mode: "Crop and Resize", hr_option: "Both", weight_type: "normal", composition_weight: 1, module: "none", model: "None", control_type: "All", ...values };
    f.control_type.value = given.control_type;
    this.fillMenus();
    for (const [name, field] of Object.entries(f)) if (name in given && !SLIDERS.includes(name)) field.value = given[name];
    const { own, module } = this.control.kept[this.number] ?? {};
    f.module.value = own?.asInput && given.module === "none" && module ? module : this.labelled(given.module); // whose preview is the input
    f.model.value = this.titled(given.model);
    this.modes.value = MODES.find(([mode]) => mode === (given.input_mode ?? "simple"))[1];
    this.showSliders();
    for (const name of SLIDERS) if (Number(given[name] ?? -1) >= 0) f[name].value = given[name];
    this.filter();
    this.seen();
  }

  value() {
    const f = this.fields;
    const found = Object.fromEntries(Object.entries(f).filter(([name]) => name !== "control_type").map(([name, field]) => [name, field.value]));
    found.input_mode = MODES.find(([, words]) => words === this.modes.value)[0];
    for (const name of SLIDERS) if (f[name].root.hidden) found[name] = -1;
    const own = this.control.tab !== "img2img" || this.own.independent.value;
    const { image, mask, effective_region_mask: region } = this.pictures.hashes;
    if (own) Object.assign(found, { image, mask });
    if (this.own.asInput.value && this.preview.hash) Object.assign(found, { image: this.preview.hash, module: "none" });
    if (found.input_mode !== "simple") found.images = this.pictures.images;
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

  showSliders(names = SLIDERS) {
    const sliders = this.control.modules[this.fields.module.value]?.sliders ?? [];
    for (const name of names) this.fields[name].limit(sliders[SLIDERS.indexOf(name)] ?? null);
  }

  seen() {
    const f = this.fields;
    const mode = this.modes.value;
    const img2img = this.control.tab === "img2img" && !this.own.independent.value;
    f.union_control_type.root.hidden = !/union|promax/i.test(f.model.value);
    f.weight_type.root.hidden = f.composition_weight.root.hidden = !/ip[-_]?adapter|instant.?id/i.test(`${f.model.value} ${f.control_type.value}`);
    if (f.pixel_perfect.value) f.processor_res.root.hidden = true;
    else this.showSliders(["processor_res"]);
    const one = mode === "Single Image";
    this.pictures.show({ one: one && !img2img, several: !one, region: this.own.region.value });
    this.preview.root.hidden = !this.own.preview.value;
    this.tab.classList.toggle("on", f.enabled.value);
    this.preview.offer(this.control.needs[f.module.value]?.missing ?? []);
  }

  select(chosen) {
    this.tab.setAttribute("aria-selected", chosen);
    this.panel.hidden = !chosen;
  }

  // -- pictures --

  settled = () => this.pictures.settled();

  async restore(keys) {
    this.keys = keys;
    for (const [name, value] of Object.entries(keys.own ?? {})) this.own[name].value = value;
    this.filter();
    await this.pictures.restore(keys);
    await this.preview.restore(keys.preview);
    this.seen();
  }

  // The filter that was chosen last, if what is chosen now is in it.
  filter() {
    const type = this.keys.control_type;
    const { module_list: modules = [], model_list: models = [] } = this.control.types[type] ?? {};
    if (!modules.includes(this.fields.module.value) || !models.includes(this.fields.model.value)) return;
    this.fields.control_type.value = type;
    this.refill();
  }
}
