// The prompts that the user has submitted: searched, pinned, deleted, and written into the form again.

import { put } from "./card_prompt.js";
import { button, make } from "./dom.js";
import { askPrompts, PromptPanel } from "./prompt_panel.js";

const STEP = 50;
const FIELDS = { prompt: "prompt", neg_prompt: "negative_prompt" };

export class PromptHistory {
  constructor(tab, root) {
    Object.assign(this, { tab, shown: STEP, gone: null });
    this.panel = new PromptPanel(root, "history", () => this.begin());
    this.find = this.panel.find;
    this.find("input").addEventListener("input", () => {
      clearTimeout(this.timer);
      this.timer = setTimeout(() => this.load((this.shown = STEP)), 150);
    });
    this.find(".further").onclick = () => this.load((this.shown += STEP));
    this.find(".clear").onclick = () => this.clear();
    this.find(".undo").onclick = () => this.undo();
  }

  begin() {
    this.forget();
    this.find("input").value = "";
    this.find("input").focus();
    this.load((this.shown = STEP));
  }

  // -- what there is --

  async load() {
    const search = this.find("input").value.trim();
    const mine = (this.loading = {});
    const found = [];
    try {
      let total = 1;
      while (found.length < Math.min(this.shown, total)) {
        const told = await askPrompts(`history?${new URLSearchParams({ search, offset: found.length, limit: STEP })}`);
        total = told.total;
        if (!told.prompts.length) break;
        found.push(...told.prompts);
      }
      if (mine !== this.loading) return;
      this.find(".pairs").replaceChildren(...found.map((pair) => this.draw(pair)));
      this.find(".further").hidden = total <= found.length;
      const none = search ? "No prompt has these words." : "Prompts are kept here once they have been submitted.";
      if (!this.gone) this.say(found.length ? "" : none);
    } catch (error) {
      this.say(error.message);
    }
  }

  draw(pair) {
    const texts = [make("span", { className: "positive", textContent: pair.prompt || "(no prompt)" })];
    if (pair.negative_prompt) texts.push(make("span", { className: "negative", textContent: pair.negative_prompt }));
    const when = new Date(pair.used * 1000).toLocaleString();
    const pin = button("📌", pair.pinned ? "Unpin" : "Pin: keep it first, whatever comes", () => this.act(`history/${pair.id}/pin`, "POST", { pinned: !pair.pinned }));
    pin.setAttribute("aria-pressed", pair.pinned);
    return make(
      "li",
      {},
      make("button", { type: "button", className: "pair", title: `Write it into the prompts (last used ${when}, ${pair.times}×)`, onclick: () => this.use(pair) }, ...texts),
      pin,
      button("✕", "Delete", () => this.delete(pair)),
    );
  }

  // -- what is done with it --

  use(pair) {
    for (const [id, field] of Object.entries(FIELDS)) put(document.querySelector(`#${this.tab}_${id} textarea`), pair[field]);
    this.panel.close(false);
    document.querySelector(`#${this.tab}_prompt textarea`).focus();
  }

  async act(path, method, body) {
    try {
      await askPrompts(path, method, body);
      await this.load();
      return true;
    } catch (error) {
      this.say(error.message);
      return false;
    }
  }

  async delete(pair) {
    if (!(await this.act(`history/${pair.id}`, "DELETE"))) return;
    this.gone = pair;
    this.find(".undo").hidden = false;
    this.say("Deleted.");
    this.find("input").focus();
  }

  async undo() {
    const { prompt, negative_prompt, used, pinned } = this.gone;
    this.forget();
    await this.act("history", "POST", { prompt, negative_prompt, used, pinned });
    this.find("input").focus();
  }

  // At the second press.
  async clear() {
    const clear = this.find(".clear");
    if (clear.dataset.sure === undefined) {
      clear.dataset.sure = "";
      clear.textContent = "Delete all?";
      return;
    }
    this.forget();
    await this.act("history", "DELETE");
  }

  forget() {
    this.gone = null;
    this.find(".undo").hidden = true;
    delete this.find(".clear").dataset.sure;
    this.find(".clear").textContent = "Clear";
    this.say("");
  }

  say(words) {
    this.find(".said").textContent = words;
  }
}
