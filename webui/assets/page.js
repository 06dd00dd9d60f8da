// What gradio's events call. Every function takes the values of the event's inputs and returns those of its outputs.

import * as keep from "./memory.js";
import { listenToKeys } from "./keys.js";
import { Panel } from "./panel.js";
import { follow } from "./watch.js";

let panel = null;
let stopFollowing = () => {};
let next = keep.newId(); // the id of the next job: a press that arrives twice is one job

export function start(element) {
  panel = new Panel(element);
  listenToKeys();
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
