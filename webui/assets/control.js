// The ControlNet units of a tab: a list of units, kept in a hidden field of the form, and their pictures, kept in the browser.

import { Unit } from "./control_unit.js";
import { make } from "./dom.js";
import { read, write } from "./memory.js";
import { tabs } from "./tabs.js";

const KEPT = "atelier.control";
const found = {}; // tab -> Control

class Control {
  constructor(tab, root) {
    Object.assign(this, { tab, root, units: [], text: "[]", list: make("div", { className: "unit-tabs", role: "tablist", "aria-label": "ControlNet units" }) });
    this.kept = JSON.parse(read(`${KEPT}.${tab}`) ?? "{}");
    this.ready = tabs[tab].settled.then(() => this.build());
    this.ready.catch(() => (this.ready = null)); // tried again with the next press
  }

  async build() {
    const wanted = ["settings", "module_list?alias_names=true", "control_types", "module_list"];
    const [settings, modules, types, names] = await Promise.all(wanted.map((path) => asked(path)));
    const labels = Object.fromEntries(names.module_list.map((name, i) => [name, modules.module_list[i]]));
    Object.assign(this, { modules: modules.module_detail, types: types.control_types, labels });
    await this.learn();
    this.root.replaceChildren();
    this.units = [];
    const panels = make("div", { className: "unit-panels" });
    this.root.append(this.list, panels);
    for (let number = 0; number < settings.control_net_unit_count; number++) {
      const unit = new Unit(this, number);
      this.units.push(unit);
      this.list.append(unit.tab);
      panels.append(unit.panel);
    }
    this.choose(0);
    if (this.waiting !== undefined) this.show(this.waiting);
    await Promise.all(this.units.map((unit) => unit.restore(this.kept[unit.number] ?? {})));
    if (this.waiting !== undefined) this.tell(); // before the form is filled nothing is known to be changed
  }

  // What preprocessors need that is not here; without an answer, nothing.
  async learn() {
    const answer = await fetch(new URL("atelier/preprocessors", document.baseURI)).catch(() => null);
    const { preprocessors } = answer?.ok ? await answer.json() : { preprocessors: [] };
    this.needs = Object.fromEntries(preprocessors.flatMap((entry) => [[entry.name, entry], [entry.label, entry]]));
  }

  say = (text) => tabs[this.tab].panel?.say(text);
  field = () => document.querySelector(`#${this.tab}_control textarea, #${this.tab}_control input`);

  choose(number) {
    for (const unit of this.units) unit.select(unit.number === number);
  }

  // The field has this text: from the form's memory, or from an infotext.
  show(text) {
    if (text === "") return;
    this.waiting = text;
    if (!this.units.length || text === this.text) return;
    let units;
    try {
      units = JSON.parse(text || "[]");
    } catch {
      return;
    }
    this.units.forEach((unit, i) => unit.set(units[i] ?? {}));
    this.tell();
  }

  // Something was changed here.
  tell() {
    const units = this.units.map((unit) => unit.value());
    this.text = this.waiting = JSON.stringify(units);
    const count = units.filter((unit) => unit.enabled).length;
    this.root.closest("details").querySelector("summary").textContent = count ? `ControlNet: ${count} enabled` : "ControlNet";
    const field = this.field();
    if (!field || field.value === this.text) return;
    field.value = this.text;
    field.dispatchEvent(new Event("input", { bubbles: true }));
  }

  keep(number, keys) {
    this.kept[number] = keys;
    write(`${KEPT}.${this.tab}`, JSON.stringify(this.kept));
  }

  async refresh() {
    this.types = (await asked("control_types")).control_types;
    await this.learn();
    for (const unit of this.units) unit.refill();
  }

  // All pictures are at the server. Throws an Error with a sentence.
  async settled() {
    await (this.ready ??= this.build());
    for (const unit of this.units) await unit.settled();
    this.tell();
  }
}

export async function asked(path, body) {
  const options = body ? { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) } : {};
  const answer = await fetch(new URL(`controlnet/${path}`, document.baseURI), options);
  const told = await answer.json();
  if (!answer.ok) throw new Error(told.detail ?? "The server did not answer.");
  return told;
}

export function startControl(tab, element) {
  found[tab] = new Control(tab, element.querySelector(".units"));
}

export const showControl = (tab, text) => found[tab]?.show(text);

// The values of a press, with what the units say now.
export async function withControl(tab, values) {
  const control = found[tab];
  if (!control) return values;
  const before = control.field()?.value;
  try {
    await control.settled();
  } catch (error) {
    control.say(`ControlNet's units do not count just now: ${error.message}`);
    return values;
  }
  return values.map((value) => (value === before && typeof value === "string" && value.startsWith("[{") ? control.text : value));
}
