// The dialog that changes values of a job that waits.

import { make } from "./models_dom.js";

const LABELS = {
  prompt: "Prompt",
  negative_prompt: "Negative prompt",
  sampler_name: "Sampling method",
  scheduler: "Schedule type",
  steps: "Sampling steps",
  width: "Width",
  height: "Height",
  n_iter: "Batch count",
  batch_size: "Batch size",
  cfg_scale: "CFG Scale",
  seed: "Seed",
  denoising_strength: "Denoising strength",
};
const WHOLE = /^-?\d+$/;

// Asks; `send` gets what was changed, unless the dialog is left without it.
export function editJob(dialog, { values }, send) {
  const fields = Object.keys(LABELS).filter((name) => name in values);
  const boxes = new Map(fields.map((name) => [name, box(name, values[name])]));
  const rows = fields.map((name) => make("label", {}, make("span", {}, LABELS[name]), boxes.get(name)));
  const save = make("button", { type: "submit", value: "save", class: "primary" }, "Save");
  const leave = make("button", { type: "submit", value: "leave", formnovalidate: true }, "Leave as it is");
  dialog.querySelector("form").replaceChildren(...rows, make("div", { class: "row" }, save, leave));
  dialog.returnValue = "";
  dialog.onclose = () => {
    if (dialog.returnValue !== "save") return;
    const changed = fields.filter((name) => boxes.get(name).value !== String(values[name] ?? ""));
    if (changed.length) send(Object.fromEntries(changed.map((name) => [name, given(boxes.get(name).value, values[name])])));
  };
  dialog.showModal();
}

function box(name, value) {
  const long = name.endsWith("prompt");
  const found = make(long ? "textarea" : "input", { autocomplete: "off", ...(long ? { rows: 3 } : { type: "text" }) });
  found.value = String(value ?? "");
  return found;
}

// Numbers as numbers; a whole one that JavaScript cannot hold, and what is none, as text: the server reads it or says what is wrong.
function given(text, before) {
  if (typeof before !== "number" || text.trim() === "" || Number.isNaN(Number(text))) return text;
  return WHOLE.test(text) && !Number.isSafeInteger(Number(text)) ? text : Number(text);
}
