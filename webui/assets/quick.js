// Settings in the bar above the tabs, those that quicksettings_list names: what is changed there counts at once, as in A1111.

import { ask, make } from "./models_dom.js";
import { control } from "./settings_control.js";

const WAIT = 600; // milliseconds after the last key
let shown = null; // the page's one bar

export async function showQuick(names) {
  const bar = document.querySelector("#quick .quick");
  if (!bar || shown !== null) return; // from the next time that the page is loaded
  shown = names;
  if (!names.length || document.documentElement.dataset.role === "user") return; // settings are for administrators
  const told = await ask("settings").catch(() => null);
  if (!told) return;
  const known = new Map(told.sections.flatMap((section) => section.settings).map((setting) => [setting.name, setting]));
  bar.append(...names.filter((name) => known.has(name)).map((name) => field(known.get(name), bar)));
}

function field(setting, bar) {
  const id = `quick_${setting.name}`;
  let timer = 0;
  const own = control({ ...setting, description: "" }, id, (value) => {
    clearTimeout(timer);
    timer = setTimeout(() => store(setting, value, own, bar), ["boolean"].includes(setting.type) || setting.enum ? 0 : WAIT);
  });
  own.put(setting.value);
  return make("div", { class: "quick-setting", title: setting.description }, make("label", { for: id }, setting.title), own.field);
}

async function store(setting, value, own, bar) {
  const note = bar.querySelector(".said") ?? bar.appendChild(make("span", { class: "said", role: "alert" }));
  note.textContent = "";
  try {
    await ask("settings", { [setting.name]: value });
    setting.value = value;
    document.getElementById("refresh_sd_model_checkpoint")?.click(); // menus and rows of the forms follow settings
  } catch (error) {
    note.textContent = error.message;
    own.put(setting.value);
  }
}
