// Watches what stands in a tab's form and has the server look it over once typing pauses: one request at a time, and
// nothing waits for it. gradio tells of keys alone, not of what is pasted, filled in or chosen: so the form is compared.

import { PromptBuilder } from "./prompt_builder.js";
import { PromptHistory } from "./prompt_history.js";
import { PromptNotes } from "./prompt_notes.js";
import { showCounts } from "./token_counter.js";

const LOOK = 200; // milliseconds between two looks at the form
const PAUSE = 300; // so long nothing has changed before the server is asked
const FIELDS = { prompt: "prompt", neg_prompt: "negative_prompt" };
const NUMBERS = ["steps", "width", "height", "cfg_scale"];
const helpers = new Map(); // tab -> its helper
const settings = { counters: true };

// What the server says of the settings.
export function adjustHelp(keyedit) {
  settings.counters = !keyedit.disable_token_counters;
}

export function startPromptHelp(tab, element) {
  helpers.get(tab)?.stop();
  helpers.set(tab, new Helper(tab, element.querySelector(".prompt-help") ?? element));
}

const box = (tab, id) => document.querySelector(`#${tab}_${id} textarea`);

class Helper {
  constructor(tab, root) {
    Object.assign(this, { tab, root, seen: "", asked: "", changed: 0, busy: false });
    this.history = new PromptHistory(tab, root);
    this.builder = new PromptBuilder(tab, root);
    this.notes = new PromptNotes(tab, root);
    this.timer = setInterval(() => this.look(), LOOK);
  }

  stop() {
    clearInterval(this.timer);
  }

  // The form as the server wants it.
  form() {
    const { tab } = this;
    const found = { checkpoint: document.querySelector("#setting_sd_model_checkpoint input")?.value ?? "" };
    for (const [id, field] of Object.entries(FIELDS)) found[field] = box(tab, id)?.value ?? "";
    for (const name of NUMBERS) {
      const value = Number(document.querySelector(`#${tab}_${name} input[type=number]`)?.value);
      if (Number.isFinite(value) && value > 0) found[name] = name === "cfg_scale" ? value : Math.round(value);
    }
    found.styles = [...document.querySelectorAll(`#${tab}_styles .token`)].map((token) => token.textContent.trim());
    found.dynamic_prompts = document.querySelector(`#${tab}_dynamic_prompts input`)?.checked ?? true;
    return found;
  }

  look() {
    if (document.hidden || !this.root.isConnected || !this.root.offsetParent || document.body.dataset.atelier === undefined) return;
    const form = this.form();
    const now = JSON.stringify([form, settings]);
    if (now !== this.seen) {
      this.seen = now;
      this.changed = Date.now();
    } else if (now !== this.asked && !this.busy && Date.now() - this.changed >= PAUSE) {
      this.ask(form, now);
    }
  }

  async ask(form, now) {
    this.busy = true;
    try {
      const answer = await fetch(new URL("atelier/prompts/check", document.baseURI), {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify(form),
      });
      const told = answer.ok ? await answer.json() : null; // what it refuses, Generate refuses with a sentence
      this.asked = now;
      if (now === this.seen) this.show(told);
    } catch {
      this.changed = Date.now() + 5000; // the server is away: later again
    } finally {
      this.busy = false;
    }
  }

  show(told) {
    showCounts(this.tab, settings.counters ? told?.counts : null);
    this.notes.show(told?.notes ?? []);
  }
}
