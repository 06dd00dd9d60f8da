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
    if (field) keep.touch({ [field]: target.value });
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

export const memory = () => [keep.text()];
export const touch = (field, value) => keep.touch({ [field]: value });

export function swap(width, height) {
  keep.touch({ width: height, height: width });
  return [height, width];
}

export function randomSeed() {
  keep.touch({ seed: "-1" });
  return ["-1"];
}

export function reuseSeed(seed) {
  const reused = panel.selected()?.seed ?? seed;
  keep.touch({ seed: reused });
  return [reused];
}

export const infotext = (prompt) => [prompt?.trim() ? prompt : (panel.selected()?.infotext ?? "")];

export function pasted(fields, names, ...values) {
  const set = JSON.parse(names || "[]");
  keep.touch(Object.fromEntries(fields.map((name, i) => [name, values[i]]).filter(([name]) => set.includes(name))));
}
