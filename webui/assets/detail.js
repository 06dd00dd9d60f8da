// The units of the detail pass of a tab (ADetailer's fields), kept in a hidden field of the form. As gradio's components they
// were a third of the page; here they are built when they are first looked at.

import { check, choice, radio, slider, text } from "./control_fields.js";
import { make } from "./dom.js";

const NONE = "None";
const found = {}; // tab -> Detail
const described = {}; // tab -> what the server said, and
const shown = {}; // tab -> the field's text: a tab is drawn when it is first looked at, which may be later

class Detail {
  constructor(tab, root) {
    Object.assign(this, { tab, root, told: null, values: {}, fields: null, only: null, text: "" });
    this.skips = tab === "img2img";
    root.parentElement.addEventListener("toggle", () => this.build());
  }

  // What the server says of the fields: again whenever there are others to choose from.
  describe(told) {
    this.told = told;
    if (this.skips) this.values.detail_only ??= false;
    for (let n = 1; n <= told.count; n++) for (const [part, start] of Object.entries(told.starts)) this.values[`${part}_${n}`] ??= start;
    for (const [name, field] of Object.entries(this.fields ?? {})) this.fill(field, told.parts[partOf(name)].choices);
    if (this.root.parentElement.open) this.build(); // opened before this was told
    this.display();
  }

  // The field has this text: from the form's memory, or from an infotext, which may tell of some parts alone.
  show(given) {
    if (!given || given === this.text) return;
    let values;
    try {
      values = JSON.parse(given);
    } catch {
      return;
    }
    const whole = Object.keys(this.values).every((name) => name in values);
    Object.assign(this.values, values);
    this.text = given;
    this.display();
    if (!whole) this.tell();
  }

  // Something was changed here.
  tell() {
    this.text = JSON.stringify(this.values);
    this.count();
    const field = document.querySelector(`#${this.tab}_detail textarea, #${this.tab}_detail input`);
    if (!field || field.value === this.text) return;
    field.value = this.text;
    field.dispatchEvent(new Event("input", { bubbles: true }));
  }

  display() {
    for (const [name, field] of Object.entries(this.fields ?? {})) field.value = this.values[name];
    if (this.only) this.only.value = this.values.detail_only;
    this.count();
  }

  count() {
    const on = (n) => this.values[`ad_tab_enable_${n}`] && ![NONE, ""].includes(this.values[`ad_model_${n}`] ?? NONE);
    const units = Array.from({ length: this.told?.count ?? 0 }, (_, i) => i + 1).filter(on);
    this.root.closest("details").querySelector("summary").textContent = units.length ? `ADetailer: ${units.length} enabled` : "ADetailer";
    this.tabs?.forEach((tab, i) => tab.classList.toggle("on", units.includes(i + 1)));
  }

  // -- building --

  build() {
    if (this.fields || !this.told) return;
    this.fields = {};
    const list = make("div", { className: "unit-tabs", role: "tablist", "aria-label": "ADetailer passes" });
    const panels = [];
    this.tabs = [];
    for (let n = 1; n <= this.told.count; n++) {
      const id = `${this.tab}_ad_tab_${n}`;
      const tab = make("button", { type: "button", role: "tab", id: `${id}_button`, "aria-controls": id, textContent: ["1st", "2nd"][n - 1], onclick: () => choose(n - 1) });
      this.tabs.push(tab);
      panels.push(make("div", { className: "unit", role: "tabpanel", id, "aria-labelledby": `${id}_button` }, ...this.told.groups.map(([title, rows]) => this.group(title, rows, n))));
    }
    const choose = (chosen) => {
      this.tabs.forEach((tab, i) => tab.setAttribute("aria-selected", i === chosen));
      panels.forEach((panel, i) => (panel.hidden = i !== chosen));
    };
    list.append(...this.tabs);
    choose(0);
    this.root.append(...(this.skips ? [this.skip()] : []), list, ...panels);
    this.display();
  }

  // For all of the units at once.
  skip() {
    const id = `${this.tab}_detail_only`;
    this.only = check("Skip img2img", `${id}_value`, () => {
      this.values.detail_only = this.only.value;
      this.tell();
    });
    const hint = "The picture is taken as it is: only the passes below change it.";
    return make("div", { className: "part", id }, this.only.root, make("small", { textContent: hint }));
  }

  // Names are not translated.
  fill(field, choices) {
    if (!field.fill) return;
    field.fill(choices);
    for (const option of field.root.querySelectorAll("option")) option.toggleAttribute("data-plain", !this.told.words.includes(option.textContent));
  }

  group(title, rows, n) {
    const built = rows.map((parts) => make("div", { className: "row" }, ...parts.map((part) => this.field(part, n))));
    if (!title) return make("div", { className: "rows" }, ...built);
    const id = `${this.tab}_ad_${title.split(" ")[0].toLowerCase()}_${n}`;
    return make("details", { className: "group", id }, make("summary", { textContent: title }), make("div", { className: "rows" }, ...built));
  }

  field(part, n) {
    const { label: words, hint, kind, choices, minimum, maximum, step } = this.told.parts[part];
    const name = `${part}_${n}`;
    const id = `${this.tab}_${name}`;
    const label = `${words} (${n})`;
    const changed = () => {
      this.values[name] = field.value;
      this.tell();
    };
    const own = `${id}_value`;
    const field = {
      menu: () => choice(label, own, changed),
      switch: () => check(label, own, changed),
      text: () => text(label, own, changed),
      prompt: () => text(label, own, changed, 2, "Empty: the picture's own prompt"),
      radio: () => radio(label, choices, own, changed),
      slider: () => slider(label, minimum, maximum, step, own, changed),
    }[kind]();
    this.fill(field, choices);
    this.fields[name] = field;
    return make("div", { className: "part", id }, field.root, ...(hint ? [make("small", { textContent: hint })] : []));
  }
}

const partOf = (name) => name.slice(0, name.lastIndexOf("_"));

export function startDetail(tab, element) {
  found[tab] = new Detail(tab, element.querySelector(".units"));
  if (described[tab]) found[tab].describe(described[tab]);
  found[tab].show(shown[tab]);
}

export function showDetail(tab, text) {
  shown[tab] = text;
  found[tab]?.show(text);
}

export function describeDetail(tab, told) {
  described[tab] = told;
  found[tab]?.describe(told);
}
