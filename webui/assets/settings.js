// The tab Settings: every setting with its help and range, searched, changed, put back. What is changed and not yet applied
// survives a reload; what the server holds is asked for whenever the tab comes into sight.

import { startDefaults } from "./defaults.js";
import { ask, make, sayIn } from "./models_dom.js";
import { startPresets } from "./presets.js";
import { control } from "./settings_control.js";
import { showWelcome } from "./welcome.js";

const KEPT = "atelier.settings";

export function start(element) {
  new Settings(element.querySelector(".settings"));
  startDefaults(element.querySelector(".defaults"));
  startPresets(element.querySelector(".presets"));
}

const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);

class Settings {
  constructor(root) {
    this.find = (selector) => root.querySelector(selector);
    this.say = sayIn(this.find(".notice"));
    this.rows = new Map(); // name -> {setting, row, put, words}
    this.changes = new Map(Object.entries(JSON.parse(sessionStorage.getItem(KEPT) ?? "{}")));
    this.find(".apply").addEventListener("click", () => this.apply());
    this.find(".welcome-again").addEventListener("click", () => showWelcome(true));
    this.find(".forget").addEventListener("click", () => this.forget());
    for (const event of ["input", "change"]) this.find(".bar").addEventListener(event, () => this.filter());
    document.addEventListener("keydown", ({ ctrlKey, metaKey, key }) => {
      if ((ctrlKey || metaKey) && key === "Enter" && root.isConnected && root.offsetParent) this.apply();
    });
    new IntersectionObserver(([seen]) => seen.isIntersecting && this.load()).observe(root);
  }

  async load() {
    try {
      const { sections } = await ask("settings");
      if (!this.rows.size) this.build(sections);
      this.show(sections);
      this.say("");
    } catch (error) {
      this.say(error.message);
    }
  }

  build(sections) {
    for (const { name, title, settings } of sections) {
      const id = `settings_${name}`;
      const go = () => document.getElementById(id).scrollIntoView({ block: "start" });
      this.find("nav ul").append(make("li", {}, make("button", { type: "button", onclick: go }, title)));
      const rows = settings.map((setting) => this.row(setting));
      this.find(".sections").append(make("section", { id, "aria-label": title }, make("h3", {}, title), ...rows));
    }
  }

  row(setting) {
    const { name, title, description } = setting;
    const id = `setting_of_${name}`;
    const { field, put } = control(setting, id, (value) => this.change(name, value));
    const back = make("button", { type: "button", class: "back", title: "Back to its default", "aria-label": `${title}: back to its default` }, "↺");
    back.addEventListener("click", () => (put(this.rows.get(name).setting.default), this.change(name, this.rows.get(name).setting.default)));
    const row = make(
      "div",
      { class: "setting" },
      make("div", { class: "label" }, make("label", { for: id }, title), make("code", {}, name)),
      make("div", { class: "field" }, field, back),
      description ? make("p", { class: "facts", id: `${id}_help` }, description) : null,
    );
    this.rows.set(name, { setting, row, put, words: `${title} ${name} ${description}`.toLowerCase() });
    return row;
  }

  show(sections) {
    for (const setting of sections.flatMap((section) => section.settings)) {
      const known = this.rows.get(setting.name);
      known.setting = setting;
      if (same(this.changes.get(setting.name), setting.value)) this.changes.delete(setting.name);
      if (!known.row.contains(document.activeElement)) known.put(this.changes.get(setting.name) ?? setting.value);
    }
    this.tell();
  }

  change(name, value) {
    if (same(value, this.rows.get(name).setting.value)) this.changes.delete(name);
    else this.changes.set(name, value);
    this.tell();
  }

  forget() {
    this.changes.clear();
    for (const { setting, put } of this.rows.values()) put(setting.value);
    this.say("");
    this.tell();
  }

  async apply() {
    if (!this.changes.size) return;
    const sent = Object.fromEntries(this.changes);
    try {
      this.show((await ask("settings", sent)).sections);
      const names = Object.keys(sent).map((name) => this.rows.get(name).setting.title);
      this.say(names.length > 3 ? `${names.length} settings are changed.` : `Changed: ${names.join(", ")}.`, true);
      document.getElementById("refresh_sd_model_checkpoint")?.click(); // menus and rows of the forms follow settings
    } catch (error) {
      this.say(error.message);
    }
  }

  // What is marked, what may be pressed, what is kept over a reload.
  tell() {
    sessionStorage.setItem(KEPT, JSON.stringify(Object.fromEntries(this.changes)));
    const count = this.changes.size;
    this.find(".apply").textContent = count ? `Apply settings (${count} changed)` : "Apply settings";
    for (const name of [".apply", ".forget"]) this.find(name).disabled = !count;
    for (const [name, { setting, row }] of this.rows) {
      const value = this.changes.has(name) ? this.changes.get(name) : setting.value;
      row.classList.toggle("unsaved", this.changes.has(name));
      row.classList.toggle("differs", !same(value, setting.default));
    }
    this.filter();
  }

  filter() {
    const words = this.find(".search").value.toLowerCase().split(/\s+/).filter(Boolean);
    const only = this.find(".changed").checked;
    for (const { row, words: text } of this.rows.values()) {
      row.hidden = !words.every((word) => text.includes(word)) || (only && !row.matches(".differs, .unsaved"));
    }
    const sections = [...this.find(".sections").children];
    sections.forEach((section, i) => {
      section.hidden = !section.querySelector(".setting:not([hidden])");
      this.find("nav ul").children[i].hidden = section.hidden;
    });
    this.find(".none").hidden = !sections.length || sections.some((section) => !section.hidden);
  }
}
