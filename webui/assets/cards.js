// The sub-tabs of cards: embeddings, hypernetworks, checkpoints, LoRAs. The whole list of a kind is fetched once for both tabs;
// only the cards in sight are drawn.

import { openEditor } from "./card_editor.js";
import { found, press, prompts } from "./card_prompt.js";
import * as keep from "./memory.js";
import { ask, make, sayIn } from "./models_dom.js";
import { VirtualGrid } from "./virtual.js";

const STATE = "atelier.cards";
const SORTS = {
  Path: (card) => card.name.toLowerCase(),
  Name: (card) => card.stem.toLowerCase(),
  "Date Created": (card) => card.created ?? 0,
  "Date Modified": (card) => card.modified ?? 0,
};
const lists = new Map(); // kind -> promise of what the server lists
const panels = new Set();

export function startCards(tab, kind, element) {
  for (const panel of panels) if (panel.tab === tab && panel.kind === kind) panels.delete(panel);
  panels.add(new Cards(element.querySelector(".cards"), tab, kind));
}

document.addEventListener("input", ({ target }) => {
  const tab = target.closest?.("[id$=_prompt]")?.id.split("_")[0];
  for (const panel of panels) if (panel.tab === tab) panel.mark();
});

class Cards {
  constructor(root, tab, kind) {
    Object.assign(this, { root, tab, kind, cards: [], options: null, ids: null, folder: null, version: 0 });
    this.find = (selector) => root.querySelector(selector);
    this.say = sayIn(this.find(".notice"));
    this.grid = new VirtualGrid(this.find(".scroller"), (card) => this.draw(card));
    this.find(".search").addEventListener("input", () => {
      clearTimeout(this.timer);
      this.timer = setTimeout(() => this.search(), 150);
    });
    this.find(".sort").addEventListener("change", () => this.arrange());
    this.find(".direction").addEventListener("click", () => this.turn());
    this.find(".tree").addEventListener("click", () => this.showFolders(this.find(".folders").hidden));
    this.find(".refresh").addEventListener("click", () => this.load(true));
    this.load();
  }

  // -- what there is --

  async load(anew = false) {
    this.say("");
    if (anew) lists.delete(this.kind);
    if (!lists.has(this.kind)) lists.set(this.kind, ask(`cards/${this.kind}`));
    try {
      const { cards, unread, options } = await lists.get(this.kind);
      this.cards = cards;
      if (!this.options) this.begin(options);
      this.options = options;
      if (this.find(".search").value.trim()) await this.search(true);
      else this.show(true);
      clearTimeout(this.again);
      if (unread) this.again = setTimeout(() => this.root.offsetParent && this.load(true), 2000); // what they say is still being read
    } catch (error) {
      lists.delete(this.kind);
      this.say(error.message);
    }
  }

  begin(options) {
    const kept = JSON.parse(keep.read(STATE) ?? "{}");
    this.find(".sort").value = kept.sort ?? options.card_order_field;
    this.turn(kept.order ?? options.card_order);
    this.root.style.setProperty("--tree", `${options.tree_view_default_width}px`);
    this.root.style.setProperty("--scale", options.card_text_scale);
    this.root.dataset.folders = options.tree_view_style;
    this.showFolders(kept.folders ?? options.tree_view_default_enabled);
  }

  async search(keepPlace = false) {
    const text = this.find(".search").value.trim().slice(0, 200);
    const number = ++this.version;
    try {
      const ids = text ? (await ask(`cards/${this.kind}/matching?search=${encodeURIComponent(text)}`)).ids : null;
      if (number !== this.version) return;
      this.ids = ids && new Set(ids);
      this.say("");
      this.show(keepPlace);
    } catch (error) {
      if (number === this.version) this.say(error.message);
    }
  }

  // -- order --

  arrange() {
    this.keep();
    this.show();
  }

  turn(to = this.find(".direction").dataset.order === "Ascending" ? "Descending" : "Ascending") {
    const button = this.find(".direction");
    const before = button.dataset.order;
    button.dataset.order = to;
    button.textContent = to === "Ascending" ? "↑" : "↓";
    button.title = `Order: ${to.toLowerCase()}`;
    button.setAttribute("aria-label", button.title);
    if (before) this.arrange();
  }

  keep() {
    const state = { sort: this.find(".sort").value, order: this.find(".direction").dataset.order, folders: !this.find(".folders").hidden };
    keep.write(STATE, JSON.stringify(state));
  }

  show(keepPlace = false) {
    const inside = (card) => this.folder === null || card.folder === this.folder || card.folder?.startsWith(`${this.folder}/`);
    const key = SORTS[this.find(".sort").value];
    const sign = this.find(".direction").dataset.order === "Ascending" ? 1 : -1;
    const shown = this.cards.filter((card) => (!this.ids || this.ids.has(card.id)) && inside(card)).map((card) => [key(card), card]);
    shown.sort(([a, one], [b, other]) => sign * (a < b ? -1 : a > b ? 1 : 0) || one.id - other.id);
    this.find(".count").textContent = shown.length === this.cards.length ? `${shown.length}` : `${shown.length} of ${this.cards.length}`;
    this.find(".none").hidden = shown.length > 0;
    this.find(".none").textContent = this.cards.length ? "None of them matches." : "There is none yet.";
    this.drawFolders();
    const { card_width: width, card_height: height } = this.options;
    this.grid.set(shown.map(([, card]) => card), { width: width || 168, height: height || 252, gap: 8 }, keepPlace);
  }

  // -- folders --

  showFolders(wanted) {
    this.find(".folders").hidden = !wanted;
    this.find(".tree").setAttribute("aria-pressed", wanted);
    if (this.options) this.keep();
    this.grid.render(true);
  }

  drawFolders() {
    const names = new Set();
    for (const { folder } of this.cards) for (let at = folder; at; at = at.slice(0, Math.max(0, at.lastIndexOf("/")))) names.add(at);
    const [place, key] = [this.find(".folders"), JSON.stringify([...names, this.folder])];
    if (place.dataset.drawn === key) return;
    place.dataset.drawn = key;
    const sorted = [...names].sort((a, b) => (a.toLowerCase() < b.toLowerCase() ? -1 : 1));
    place.replaceChildren(...[null, ...sorted].map((name) => this.folderButton(name)));
  }

  folderButton(name) {
    const tree = this.root.dataset.folders === "Tree";
    const text = name === null ? "all" : tree ? name.split("/").pop() : name;
    const choose = () => {
      this.folder = name === this.folder ? null : name;
      this.show();
      this.find(".folders [aria-pressed=true]")?.focus();
    };
    const found = make("button", { type: "button", title: name ?? "All folders", "aria-pressed": String(name === this.folder), onclick: choose }, text);
    if (tree) found.style.paddingLeft = `${10 + 14 * (name === null ? 0 : name.split("/").length)}px`;
    return found;
  }

  // -- cards --

  draw(card) {
    const { kind } = this;
    const pick = make("button", { type: "button", class: "pick", title: card.trouble ?? card.name, onclick: () => this.press(card) });
    if (card.preview) {
      const source = new URL(`atelier/cards/${card.id}/thumbnail`, document.baseURI).href + (card.fresh ? `?n=${card.fresh}` : "");
      pick.append(make("img", { "data-src": source, alt: "", decoding: "async", onerror: ({ target }) => target.remove() }));
    }
    const words = make("span", { class: "words" }, make("span", { class: "name" }, card.stem));
    if (this.options.card_show_desc && card.text) words.append(make("span", { class: "text" }, card.text));
    if (card.trouble) words.append(make("span", { class: "text trouble" }, `⚠ ${card.trouble}`));
    pick.append(words);
    const open = (whole) => openEditor({ kind, card, tab: this.tab, whole, changed: () => this.changed(card) });
    const marks = make("div", { class: "marks" }, card.family ? make("span", { class: "family" }, card.family) : null);
    for (const [sign, words_, whole, who] of [["ⓘ", "Metadata", true, ""], ["🛠", "Edit", false, "admins"]])
      marks.append(make("button", { type: "button", class: who, tabindex: "-1", title: words_, "aria-label": `${words_} of ${card.stem}`, onclick: () => open(whole) }, sign));
    const element = make("div", { class: "card", role: "listitem" }, pick, marks);
    this.markOne(element, card, this.now());
    return element;
  }

  now = () => (this.kind === "Stable-diffusion" ? [document.querySelector("#setting_sd_model_checkpoint input")?.value ?? ""] : prompts(this.tab));

  markOne(element, card, now) {
    const used = this.kind === "Stable-diffusion" ? now[0].startsWith(card.name) : now.some((prompt) => found(prompt, this.kind, card));
    element.querySelector(".pick").setAttribute("aria-pressed", String(used));
  }

  mark() {
    const now = this.now();
    for (const [index, element] of this.grid.cells) this.markOne(element, this.grid.items[index], now);
  }

  press(card) {
    if (card.trouble) {
      this.say(card.trouble);
      return;
    }
    this.say("");
    if (this.kind === "Stable-diffusion") {
      keep.touch(this.tab, { sd_model_checkpoint: card.name });
      document.getElementById("refresh_sd_model_checkpoint")?.click(); // the form follows what is remembered
      for (const element of this.grid.cells.values()) element.querySelector(".pick").setAttribute("aria-pressed", String(this.grid.items[element.dataset.index] === card));
    } else {
      press(this.tab, this.kind, card, this.options);
      this.mark();
    }
  }

  // The card's notes or preview are other ones now.
  async changed(card) {
    const { id } = card;
    await this.load(true);
    const found = this.cards.find((one) => one.id === id);
    if (found) found.fresh = Date.now();
    this.grid.refresh();
  }
}
