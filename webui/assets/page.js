// What gradio's events call. Every function takes the values of the event's inputs and returns those of its outputs.

import * as keep from "./memory.js";
import { listenToKeys } from "./keys.js";
import { Panel } from "./panel.js";
import { follow } from "./watch.js";

let panel = null;
let stopFollowing = () => {};
let next = keep.newId(); // the id of the next job: a press that arrives twice is one job

const HINTS = {
  refresh_sd_model_checkpoint: "Look for checkpoints again",
  txt2img_paste: "Read generation parameters from prompt or last generation if prompt is empty into user interface.",
  txt2img_res_switch_btn: "Switch width/height",
  txt2img_random_seed: "Set seed to -1, which will cause a new random number to be used every time",
  txt2img_reuse_seed: "Reuse seed from last generation, mostly useful if it was randomized",
  txt2img_generate: "Generate (Ctrl+Enter)",
  txt2img_interrupt: "Stop and keep what is finished (Esc)",
  txt2img_skip: "Go on to the next batch (Alt+Enter)",
};

// gradio tells of keys, but not of text that is pasted, dropped or dictated.
const TEXTS = { txt2img_prompt: "prompt", txt2img_neg_prompt: "negative_prompt", txt2img_seed: "seed" };

export function start(element) {
  panel = new Panel(element);
  listenToKeys();
  document.addEventListener("input", ({ target }) => {
    const field = TEXTS[target.closest("[id^=txt2img_]")?.id];
    if (field) touch(field, target.value);
  });
  for (const [id, hint] of Object.entries(HINTS)) {
    const button = document.getElementById(id);
    button.title = hint;
    if (button.classList.contains("tool")) button.setAttribute("aria-label", hint);
  }
}

// -- jobs --

export function press(_memory, _answer, ...values) {
  panel.sending();
  return [next, keep.job() ?? "", ...values];
}

export function pressed(job) {
  if (!job) {
    panel.sent();
    return;
  }
  if (job === next) next = keep.newId();
  watch(job);
}

export async function resume() {
  const job = keep.job() ?? (await keep.orphan());
  if (job) watch(job);
  document.body.dataset.atelier ??= "idle"; // the form is filled; from now on the page may be used
}

export function stopping(wish) {
  panel.asked(wish);
  return [keep.job() ?? ""];
}

function watch(job) {
  stopFollowing();
  keep.hold(job);
  panel.show(job);
  stopFollowing = follow(job, panel, () => keep.release(job));
}

// -- values --

const since = new Set(); // fields touched since the form was last sent off to be filled

export function memory() {
  since.clear();
  return [keep.text()];
}
export function choose(checkpoint) {
  keep.touch({ sd_model_checkpoint: checkpoint });
  return memory();
}

export const apply = (fields, values, ...current) => {
  const found = JSON.parse(values);
  return fields.map((name, i) => (since.has(name) ? current[i] : (found[name] ?? current[i])));
};

export const touch = (field, value) => touchAll({ [field]: value });

// `change` is also told while the form is filled for the first time: that is no touch.
export function changed(field, value) {
  if (document.body.dataset.atelier) touch(field, value);
}

function touchAll(values) {
  for (const name of Object.keys(values)) since.add(name);
  keep.touch(values);
}

export function swap(width, height) {
  touchAll({ width: height, height: width });
  return [height, width];
}

export function randomSeed() {
  touchAll({ seed: "-1" });
  return ["-1"];
}

export function reuseSeed(seed) {
  const reused = panel.selected()?.seed ?? seed;
  touchAll({ seed: reused });
  return [reused];
}

export const infotext = (prompt, checkpoint) => [
  prompt?.trim() ? prompt : (panel.selected()?.infotext ?? ""),
  checkpoint,
];

export function pasted(fields, names, ...values) {
  const set = JSON.parse(names || "[]");
  touchAll(Object.fromEntries(fields.map((name, i) => [name, values[i]]).filter(([name]) => set.includes(name))));
}
