// The tab Gallery: the ids of all pictures that match, as a grid of which only what is in sight is drawn.

import { comparing } from "./album_compare.js";
import { Detail } from "./album_detail.js";
import { download } from "./dom.js";
import { ask, make, sayIn } from "./models_dom.js";
import { VirtualGrid } from "./virtual.js";

const LOOK = 3000; // milliseconds between questions whether something has changed
const PATIENCE = 10_000; // between two new lists while pictures are still being found
const SIZE = { width: 168, height: 168, gap: 6 };

export const address = (id, what) => new URL(`atelier/gallery/${id}/${what}`, document.baseURI).href;
const plural = (count) => `${count.toLocaleString("en")} picture${count === 1 ? "" : "s"}`;

let album = null;

export function start(element) {
  album?.stop();
  album = new Album(element.querySelector(".album"));
}

class Album {
  constructor(root) {
    Object.assign(this, { root, ids: [], favourites: new Set(), chosen: new Set(), current: null, last: null, number: 0, version: -1, listed: 0 });
    this.find = (selector) => root.querySelector(selector);
    this.notice = sayIn(this.find(".notice"));
    this.grid = new VirtualGrid(this.find(".scroller"), (id, index) => this.tile(id, index));
    this.detail = new Detail(this.find(".detail"), this);
    this.listen();
    this.fill().then(() => this.list());
    this.timer = setInterval(() => this.look(), LOOK);
    document.addEventListener("made", (this.made = () => this.look()));
  }

  stop() {
    clearInterval(this.timer);
    document.removeEventListener("made", this.made);
  }

  say(text, good = false, undo = null) {
    this.notice(text, good);
    this.find(".notice").textContent = "";
    const button = make("button", { type: "button", class: "undo" }, "Undo");
    button.onclick = undo;
    this.find(".notice").append(make("span", {}, text), ...(undo ? [" ", button] : []));
  }

  async try(work) {
    try {
      return await work();
    } catch (error) {
      this.say(error.message);
    }
    return null;
  }

  search(text) {
    this.find(".search").value = text;
    return this.list();
  }

  listen() {
    this.find(".search").addEventListener("input", () => {
      clearTimeout(this.typing);
      this.typing = setTimeout(() => this.list(), 200);
    });
    for (const name of [".view", ".folder", ".order", ".meaning"]) this.find(name).addEventListener("change", () => (this.choose([]), this.list()));
    const on = (selector, work) => this.find(selector).addEventListener("click", () => this.try(work));
    on(".refresh", async () => (await ask("gallery/refresh", {}), this.look()));
    on(".pickall", async () => this.choose(this.ids));
    on(".clear", async () => this.choose([]));
    on(".chosen .star", () => this.star([...this.chosen]));
    on(".chosen .add", () => this.addToBoard());
    on(".chosen .unboard", () => this.removeFromBoard());
    on(".chosen .compare", async () => comparing([...this.chosen]));
    on(".chosen .zip", () => this.zip(true));
    on(".chosen .bare", () => this.zip(false));
    on(".chosen .delete", () => this.remove([...this.chosen]));
    on(".chosen .restore", () => this.restore([...this.chosen]));
    on(".chosen .purge", () => this.purge([...this.chosen]));
    on(".drop-board", () => this.dropBoard());
    this.find(".scroller").addEventListener("keydown", (event) => {
      const ids = this.chosen.size ? [...this.chosen] : [this.ids[this.grid.at]];
      if (event.key === "Delete") this.try(() => this.remove(ids));
      else if (event.key === "f" && !event.ctrlKey && !event.metaKey) this.try(() => this.star(ids));
    });
  }

  // -- what there is --

  async look() {
    if (document.hidden || !this.root.offsetParent) return;
    const found = await ask("gallery/version").catch(() => null);
    if (!found) return;
    const late = !found.scanning || performance.now() - this.listed > PATIENCE;
    if (found.version !== this.version && late) {
      await this.fill();
      await this.list(true);
    }
  }

  async fill() {
    const state = await this.try(() => ask("gallery/state"));
    if (!state) return;
    this.boards = state.boards;
    const options = [["all", "All pictures"], ["favourites", "★ Favourites"], ...state.boards.map(({ id, name, count }) => [`board ${id}`, `${name} (${count})`]), ["trash", `Trash (${state.trash})`]];
    this.options(".view", options);
    this.options(".folder", [["", "All folders"], ...state.folders.map((name) => [name, name])]);
    this.find("#album_boards").replaceChildren(...state.boards.map(({ name }) => make("option", { value: name })));
    [this.reading, this.unseen] = [state.unread, state.unseen];
  }

  options(selector, options) {
    const [place, value] = [this.find(selector), this.find(selector).value];
    place.replaceChildren(...options.map(([key, text]) => make("option", { value: key }, text)));
    place.value = options.some(([key]) => key === value) ? value : options[0][0];
  }

  board = () => Number(this.find(".view").value.match(/^board (\d+)$/)?.[1] ?? 0);

  async list(keepPlace = false) {
    const number = ++this.number;
    const view = this.find(".view").value;
    const wish = new URLSearchParams({ search: this.find(".search").value.trim(), folder: this.find(".folder").value, order: this.find(".order").value });
    if (this.board()) wish.set("board", this.board());
    else wish.set("view", view || "all");
    const meant = wish.get("search") && (this.find(".meaning").checked || /\bsimilar:/.test(wish.get("search")));
    if (this.find(".meaning").checked) wish.set("by_meaning", "true");
    if (meant) {
      this.find(".count").textContent = "Searching…"; // the engine answers after the job in work
      await this.fill(); // how many were looked at changes without any other change
    }
    const found = await this.try(() => ask(`gallery?${wish}`));
    if (!found || number !== this.number) return;
    this.listed = performance.now();
    this.version = found.version;
    this.ids = found.ids;
    this.favourites = new Set(found.favourites);
    const there = new Set(found.ids);
    this.chosen = new Set([...this.chosen].filter((id) => there.has(id)));
    const more = meant ? [this.unseen, "not looked at yet"] : [this.reading, "still to be read"];
    this.find(".count").textContent = plural(this.ids.length) + (more[0] ? `, ${more[0].toLocaleString("en")} ${more[1]}` : "");
    this.find(".none").hidden = this.ids.length > 0;
    this.find(".none").textContent = wish.get("search") ? "No picture matches." : "There is no picture here yet.";
    this.find(".board-tools").hidden = !this.board();
    this.grid.set(this.ids, SIZE, keepPlace);
    this.bar();
  }

  // -- tiles --

  tile(id, index) {
    const open = (event) => this.press(id, index, event);
    const image = make("img", { "data-src": address(id, "thumbnail"), alt: "", decoding: "async", onerror: ({ target }) => target.replaceWith(make("span", { class: "broken" }, "This file cannot be shown.")) });
    const pick = make("button", { type: "button", class: "pick", "aria-label": `Picture ${index + 1} of ${this.ids.length}`, onclick: open, ondblclick: () => this.detail.enlarge() }, image);
    const choose = make("button", { type: "button", class: "choose", tabindex: "-1", "aria-label": `Choose picture ${index + 1}`, onclick: () => this.toggle(id, index) }, "✓");
    const element = make("div", { class: "tile", role: "listitem", "data-id": id }, pick, choose, this.favourites.has(id) ? make("span", { class: "mark", title: "Favourite" }, "★") : null);
    this.mark(element, id);
    return element;
  }

  mark(element, id) {
    element.classList.toggle("is-chosen", this.chosen.has(id));
    element.querySelector(".choose").setAttribute("aria-pressed", String(this.chosen.has(id)));
    element.querySelector(".pick").setAttribute("aria-current", String(this.current === id));
  }

  press(id, index, event) {
    if (event.shiftKey && this.last !== null) {
      const [from, to] = [Math.min(this.last, index), Math.max(this.last, index)];
      for (const one of this.ids.slice(from, to + 1)) this.chosen.add(one);
      this.bar();
    } else if (event.ctrlKey || event.metaKey) this.toggle(id, index);
    else this.show(id, index);
  }

  show(id, index = this.ids.indexOf(id)) {
    this.current = id;
    this.last = index;
    this.detail.show(id);
    this.bar();
  }

  move(step) {
    const to = this.ids.indexOf(this.current) + step;
    if (to < 0 || to >= this.ids.length) return;
    this.grid.focus(to);
    this.show(this.ids[to], to);
  }

  toggle(id, index) {
    this.last = index;
    if (!this.chosen.delete(id)) this.chosen.add(id);
    this.bar();
  }

  choose(ids) {
    this.chosen = new Set(ids);
    this.bar();
  }

  bar() {
    for (const [index, element] of this.grid.cells) this.mark(element, this.ids[index]);
    const trash = this.find(".view").value === "trash";
    this.find(".chosen").hidden = !this.chosen.size;
    this.find(".number").textContent = `${this.chosen.size.toLocaleString("en")} chosen`;
    this.find(".chosen .unboard").hidden = !this.board();
    this.find(".chosen .compare").disabled = this.chosen.size !== 2;
    for (const name of [".restore", ".purge"]) this.find(`.chosen ${name}`).hidden = !trash;
    for (const name of [".delete", ".star", ".add", ".board"]) this.find(`.chosen ${name}`).hidden = trash;
  }

  // -- what is done with them --

  async after(troubles, words, undo) {
    this.say(troubles?.length ? troubles[0] : words, !troubles?.length, undo);
    await this.fill();
    await this.list(true);
  }

  async star(ids) {
    await ask("gallery/favourite", { ids, value: !ids.every((id) => this.favourites.has(id)) });
    await this.list(true);
    this.grid.refresh();
    this.detail.again();
  }

  async addToBoard() {
    const name = this.find(".chosen .board").value.trim();
    await ask("gallery/boards", { name, ids: [...this.chosen] });
    await this.after([], `On the board ${name}.`);
  }

  async removeFromBoard() {
    await ask(`gallery/boards/${this.board()}/remove`, { ids: [...this.chosen] });
    await this.after([], "Taken off the board.");
  }

  async dropBoard() {
    await ask(`gallery/boards/${this.board()}/delete`, {});
    await this.after([], "The board is gone; its pictures are where they were.");
  }

  async remove(ids) {
    const { troubles } = await ask("gallery/delete", { ids });
    if (ids.includes(this.current)) this.detail.close();
    await this.after(troubles, `${plural(ids.length)} moved to the trash.`, () => this.try(() => this.restore(ids)));
  }

  async restore(ids) {
    const { troubles } = await ask("gallery/restore", { ids });
    await this.after(troubles, `${plural(ids.length)} restored.`);
  }

  async purge(ids) {
    await ask("gallery/purge", { ids });
    await this.after([], `${plural(ids.length)} deleted for good.`);
  }

  // Asked for by script: a form's own request would come without its origin, and is refused.
  async zip(metadata) {
    const body = new FormData();
    body.append("ids", [...this.chosen].join(","));
    body.append("metadata", metadata);
    this.say("The zip is being made …", true);
    const answer = await fetch(new URL("atelier/gallery/zip", document.baseURI), { method: "POST", body }).catch(() => null);
    if (!answer?.ok) throw new Error((await answer?.json().catch(() => null))?.detail ?? "The server does not answer. Look whether it still runs.");
    const name = answer.headers.get("Content-Disposition")?.match(/filename="([^"]+)"/)?.[1] ?? "pictures.zip";
    download(await answer.blob(), name);
    this.say("");
  }
}
