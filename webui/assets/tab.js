// One tab that draws: its form's memory, the job that it follows, its panel of results.

import { takenBack } from "./forever.js";
import * as keep from "./memory.js";
import { Panel } from "./panel.js";
import { followAll } from "./series.js";
import { follow } from "./watch.js";

const MARK = "drawn";
const STAYS = { __type__: "update" }; // gradio looks for each value that changes in all of the page

const HINTS = {
  style_apply: "Apply all selected styles to prompts.",
  styles_edit_button: "Edit styles",
  paste: "Read generation parameters from prompt or last generation if prompt is empty into user interface.",
  res_switch_btn: "Switch width/height",
  random_seed: "Set seed to -1, which will cause a new random number to be used every time",
  random_subseed: "Set the variation seed to -1: a new one every time",
  reuse_subseed: "Reuse the variation seed of the picture that is shown",
  reuse_seed: "Reuse seed from last generation, mostly useful if it was randomized",
  generate: "Generate (Ctrl+Enter). Right click: generate forever",
  enqueue: "Put these settings in the queue, whatever is at work (the tab Queue shows it)",
  interrupt: "Stop and keep what is finished (Esc)",
  skip: "Go on to the next batch (Alt+Enter)",
};

// gradio tells of keys, but not of text that is pasted, dropped or dictated.
const TEXTS = {
  prompt: "prompt",
  neg_prompt: "negative_prompt",
  seed: "seed",
  subseed: "subseed",
  detail: "detail",
  tiled_regions: "tiled_regions",
  control: "control",
  hires_prompt: "hr_prompt",
  hires_neg_prompt: "hr_negative_prompt",
  batch_input_dir: "batch_input_dir",
  batch_output_dir: "batch_output_dir",
  batch_inpaint_mask_dir: "batch_mask_dir",
  batch_png_info_dir: "batch_png_info_dir",
};

export class Tab {
  constructor(name) {
    this.name = name;
    this.panel = null; // until gradio has drawn the tab
    this.next = keep.newId(); // the id of the next job: a press that arrives twice is one job
    this.since = new Set(); // fields touched on this page: an answer that was asked for before may still be on its way
    this.filled = false;
    this.settled = new Promise((resolve) => (this.settle = resolve)); // once it is: what may wait asks the server then
    this.stopFollowing = () => {};
  }

  start(element) {
    this.panel = new Panel(element, this.name);
    const fields = Object.fromEntries(Object.entries(TEXTS).map(([id, field]) => [`${this.name}_${id}`, field]));
    document.addEventListener("input", ({ target }) => {
      const field = fields[target.closest(`[id^=${this.name}_]`)?.id];
      if (field) this.touch({ [field]: target.value });
    });
    document.addEventListener("returned", ({ detail: { tab, job } }) => tab === this.name && job && this.watch(job));
    for (const [id, hint] of Object.entries(HINTS)) label(`${this.name}_${id}`, hint);
    this.mark();
    const job = keep.job(this.name);
    if (this.filled && job) this.watch(job);
  }

  // -- jobs --

  press(values) {
    this.panel.sending();
    return [this.next, keep.job(this.name) ?? "", ...values];
  }

  pressed(job) {
    if (!job) {
      this.panel.sent();
      document.dispatchEvent(new CustomEvent("refused", { detail: this.name }));
      return;
    }
    if (job.split(",")[0] === this.next) this.next = keep.newId();
    this.watch(job);
  }

  enqueued(job) {
    if (!job) return;
    if (job.split(",")[0] === this.next) this.next = keep.newId();
    const count = job.split(",").length;
    this.panel.tell(count > 1 ? `${count} jobs are in the queue.` : "The job is in the queue.");
  }

  async resume() {
    const job = (await takenBack(this.name)) ?? keep.job(this.name) ?? (await keep.orphan(this.name));
    this.filled = true;
    this.settle();
    if (job) this.watch(job);
  }

  stopping(wish) {
    this.panel.asked(wish);
    return [keep.job(this.name) ?? ""];
  }

  watch(job) {
    this.stopFollowing();
    keep.hold(this.name, job);
    if (!this.panel) return; // taken up when the tab is drawn
    this.panel.show(job);
    const unknown = () => keep.release(this.name, job);
    const jobs = job.split(","); // of a batch, one for each picture
    this.stopFollowing = jobs.length > 1 ? followAll(jobs, this.panel, unknown) : follow(job, this.panel, unknown);
  }

  // -- values --

  memory() {
    return [keep.text(this.name)];
  }

  apply(fields, values, current) {
    const found = JSON.parse(values);
    if ("edits" in found) document.body.dataset.edits = found.edits; // whether the checkpoint edits pictures
    const stays = (name, i) => this.since.has(name) || JSON.stringify(found[name] ?? current[i]) === JSON.stringify(current[i]);
    return fields.map((name, i) => (stays(name, i) ? STAYS : found[name]));
  }

  // Some time after gradio has drawn a tab it gives all fields the values they had before, whatever was set meanwhile. A field that
  // nobody sees, marked here, is told of when it loses its mark by that: then those that were touched take their values again.
  mark() {
    const field = document.querySelector(`#${this.name}_mark :is(textarea, input)`);
    if (!field) return; // Extras keeps no form
    field.value = MARK;
    field.dispatchEvent(new Event("input", { bubbles: true }));
  }

  drawn(fields, mark) {
    if (mark === MARK) return fields.map(() => STAYS);
    const { touched } = JSON.parse(keep.text(this.name));
    return fields.map((name) => (this.since.has(name) && name in touched ? touched[name] : STAYS));
  }

  infotext(prompt) {
    return prompt?.trim() ? prompt : (this.panel.selected()?.infotext ?? "");
  }

  touch(values) {
    for (const name of Object.keys(values)) this.since.add(name);
    keep.touch(this.name, values);
  }
}

export function label(id, hint) {
  const button = document.getElementById(id);
  if (!button) return;
  button.title = hint;
  if (button.classList.contains("tool")) button.setAttribute("aria-label", hint);
}
