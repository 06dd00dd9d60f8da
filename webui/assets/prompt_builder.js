// Words by category: a press writes one into the prompt, or takes it out again.

import { put } from "./card_prompt.js";
import { make } from "./dom.js";
import { askPrompts, PromptPanel } from "./prompt_panel.js";

export class PromptBuilder {
  constructor(tab, root) {
    Object.assign(this, { tab, categories: [], chosen: 0 });
    this.panel = new PromptPanel(root, "builder", () => this.load());
    this.find = this.panel.find;
    this.find(".into").addEventListener("change", () => this.mark());
    this.find(".kinds").addEventListener("keydown", (event) => this.turn(event));
    document.addEventListener("input", ({ target }) => {
      if (this.panel.root.open && target === this.area) this.mark();
    });
  }

  get area() {
    return document.querySelector(`#${this.tab}_${this.find(".into").checked ? "neg_prompt" : "prompt"} textarea`);
  }

  async load() {
    try {
      const { categories, trouble } = await askPrompts("builder");
      this.categories = categories;
      this.find(".said").textContent = trouble;
      this.find(".said").hidden = !trouble;
      this.choose(Math.min(this.chosen, categories.length - 1), true);
    } catch (error) {
      this.find(".said").hidden = false;
      this.find(".said").textContent = error.message;
    }
  }

  choose(number, focus = false) {
    this.chosen = number;
    const tabs = this.categories.map(({ name }, i) =>
      make("button", { type: "button", role: "tab", textContent: name, tabIndex: i === number ? 0 : -1, ariaSelected: `${i === number}`, onclick: () => this.choose(i, true) }),
    );
    this.find(".kinds").replaceChildren(...tabs);
    const groups = this.categories[number]?.groups ?? [];
    this.find(".words").replaceChildren(
      ...groups.map(({ name, words }) =>
        make(
          "div",
          { className: "group", role: "group", ariaLabel: name || this.categories[number].name },
          ...(name ? [make("span", { className: "name", textContent: name })] : []),
          ...words.map((word) => make("button", { type: "button", textContent: word, onclick: () => this.toggle(word) })),
        ),
      ),
    );
    if (focus) tabs[number]?.focus();
    this.mark();
  }

  turn({ key }) {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[key];
    if (step) this.choose((this.chosen + step + this.categories.length) % this.categories.length, true);
  }

  // Shows which words are in the prompt.
  mark() {
    const { value } = this.area;
    for (const item of this.find(".words").querySelectorAll("button")) item.setAttribute("aria-pressed", place(value, item.textContent) !== null);
  }

  toggle(word) {
    const { value } = this.area;
    put(this.area, place(value, word) ? without(value, word) : joined(value, word));
    this.mark();
  }
}

const plain = (text) => text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");

// [from, to] of a word in a prompt, or null; not inside of another word or of a <network>.
export function place(text, word) {
  const found = new RegExp(`(?<![\\p{L}\\p{N}_-])${plain(word)}(?![\\p{L}\\p{N}_-])(?![^<>]*>)`, "iu").exec(text);
  return found && [found.index, found.index + found[0].length];
}

export function joined(text, word) {
  const before = text.replace(/[\s,]+$/, "");
  return before ? `${before}, ${word}` : word;
}

// The prompt without the word; commas and spaces around it become what stood between its neighbours.
export function without(text, word) {
  const [from, to] = place(text, word);
  const before = text.slice(0, from).replace(/[ \t]+$/, "");
  const after = text.slice(to).replace(/^[ \t]+/, "");
  if ((before === "" || /[,\n]$/.test(before)) && after.startsWith(",")) return before === "" ? after.slice(1).trimStart() : `${before}${after.slice(1)}`;
  if (after === "") return before.replace(/[\s,]+$/, "");
  const glued = before === "" || /^[,.;)\]}\n]/.test(after) || /[([{\n]$/.test(before);
  return `${before}${glued ? "" : " "}${after}`;
}
