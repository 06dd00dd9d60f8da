// What is odd about the prompts: the first sentence in a row of its own, which is always there; the others in a list above the page.

import { make } from "./dom.js";

const PLACES = { prompt: "prompt", negative_prompt: "neg_prompt" };

export class PromptNotes {
  constructor(tab, root) {
    Object.assign(this, { tab, root, notes: [] });
    this.find = (selector) => root.querySelector(selector);
    this.find(".first").onclick = () => this.go(this.notes[0]);
    this.find(".more").onclick = () => this.open(this.find(".all").hidden);
    root.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || this.find(".all").hidden) return;
      event.stopPropagation();
      this.open(false);
      this.find(".more").focus();
    });
    document.addEventListener("pointerdown", ({ target }) => root.contains(target) || this.open(false));
  }

  show(notes) {
    if (JSON.stringify(notes) === JSON.stringify(this.notes)) return;
    this.notes = notes;
    const [first, more] = [this.find(".first"), this.find(".more")];
    first.hidden = !notes.length;
    first.textContent = first.title = notes[0]?.text ?? "";
    more.hidden = !notes.length;
    more.textContent = notes.length > 1 ? `${notes.length} notes` : "1 note";
    this.find(".all").replaceChildren(
      ...notes.map((note) => make("li", {}, make("button", { type: "button", textContent: note.text, onclick: () => this.go(note) }))),
    );
    if (!notes.length) this.open(false);
  }

  open(wanted) {
    this.find(".all").hidden = !wanted;
    this.find(".more").setAttribute("aria-expanded", wanted);
  }

  // Selects what a note is about.
  go({ field, start, end }) {
    this.open(false);
    const id = PLACES[field];
    const box = document.querySelector(id ? `#${this.tab}_${id} textarea` : `#${this.tab}_${field} input[type=number]`);
    if (!box) return;
    box.scrollIntoView({ block: "nearest" });
    box.focus();
    if (!id) return box.select();
    const letters = [...box.value]; // the server counts letters, JavaScript the halves of some
    const at = (count) => letters.slice(0, count).join("").length;
    if (end > start) box.setSelectionRange(at(start), at(end));
  }
}
