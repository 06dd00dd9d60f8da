// The list of completions: an ARIA listbox whose combobox is the prompt, which keeps the focus.

import { caretPlace } from "./caret.js";
import { make } from "./dom.js";

const ID = "atelier-completions";
const SIGNS = { lora: "LoRA", lyco: "LoRA", hypernet: "hypernetwork", embedding: "embedding", wildcard: "wildcard", style: "style", tag: "tag" };
const COUNTS = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });

export class CompletionList {
  constructor(choose) {
    Object.assign(this, { choose, area: null, at: 0, from: 0, completions: [], active: -1 });
    this.root = make("ul", { id: ID, className: "completions", role: "listbox", ariaLabel: "Completions", hidden: true });
    this.root.addEventListener("mousedown", (event) => {
      event.preventDefault(); // the prompt keeps the focus
      const item = event.target.closest("[role=option]");
      if (item) this.choose(this.completions[[...this.root.children].indexOf(item)]);
    });
  }

  get open() {
    return !this.root.hidden;
  }

  get chosen() {
    return this.completions[this.active];
  }

  show(area, at, from, completions) {
    if (!completions.length) return this.hide();
    Object.assign(this, { area, at, from, completions, active: -1 });
    this.root.replaceChildren(...completions.map((one, i) => draw(one, i)));
    document.body.append(this.root);
    this.root.hidden = false;
    this.root.scrollTop = 0;
    this.place(caretPlace(area, from));
    for (const [name, value] of Object.entries({ role: "combobox", "aria-autocomplete": "list", "aria-haspopup": "listbox", "aria-controls": ID, "aria-expanded": "true" })) area.setAttribute(name, value);
    area.removeAttribute("aria-activedescendant");
  }

  hide() {
    if (!this.open) return;
    this.root.hidden = true;
    this.area.setAttribute("aria-expanded", "false");
    this.area.removeAttribute("aria-activedescendant");
  }

  // Stay at the word that has moved; go where it is out of sight.
  follow() {
    if (!this.open) return;
    const place = caretPlace(this.area, this.from);
    const { top, bottom } = this.area.getBoundingClientRect();
    if (place.bottom <= Math.max(top, 0) || place.top >= Math.min(bottom, window.innerHeight)) this.hide();
    else this.place(place);
  }

  // Below the word, or above it where there is no room.
  place({ left, top, bottom }) {
    const { offsetWidth: width, offsetHeight: height } = this.root;
    const below = bottom + 4 + height <= window.innerHeight || top < height;
    this.root.style.left = `${Math.max(Math.min(left, document.documentElement.clientWidth - width - 8), 8)}px`;
    this.root.style.top = `${below ? bottom + 4 : top - height - 4}px`;
  }

  move(by) {
    const count = this.completions.length;
    this.active = this.active < 0 && by < 0 ? count - 1 : (this.active + by + count) % count;
    [...this.root.children].forEach((item, i) => item.setAttribute("aria-selected", i === this.active));
    const item = this.root.children[this.active];
    item.scrollIntoView({ block: "nearest" });
    this.area.setAttribute("aria-activedescendant", item.id);
  }
}

function draw({ kind, text, note, count, category }, i) {
  const parts = [make("span", { className: "text", textContent: text })];
  if (note) parts.push(make("span", { className: "note", textContent: kind === "tag" ? `← ${note}` : note }));
  parts.push(make("span", { className: "kind", textContent: count ? COUNTS.format(count) : SIGNS[kind] }));
  const item = make("li", { id: `${ID}-${i}`, role: "option", ariaSelected: "false" }, ...parts);
  if (kind === "tag") item.dataset.category = category;
  return item;
}
