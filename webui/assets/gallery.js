// Pictures of one job: the selected one large, thumbnails of all, the infotext of the selected one.
// While the job runs, its live preview stands first, until the user selects a picture.

import { LargeView } from "./large.js";
import { shown } from "./shown.js";

export const FIRST_MAP = 900_000; // from this position on come control maps; see requests/events.py
const url = (id) => new URL(`atelier/images/${id}`, document.baseURI).href;

export class Gallery {
  // `say(text)` tells the user something.
  constructor(element, say) {
    this.say = say;
    const find = (selector) => element.querySelector(selector);
    this.stage = find(".stage");
    this.strip = find(".thumbnails");
    this.tools = find(".tools");
    this.text = find(".infotext");
    this.large = new LargeView((step) => this.move(step));
    this.image = document.createElement("img");
    this.image.addEventListener("click", () => this.choice !== "live" && this.open());
    this.image.addEventListener("error", () => (this.image.alt = "This picture cannot be shown: its file is not there any more."));
    this.stage.tabIndex = 0;
    this.stage.addEventListener("keydown", (event) => this.onKey(event));
    this.strip.addEventListener("keydown", (event) => this.onKey(event));
    find(".copy").addEventListener("click", ({ target }) => this.copy(target));
    find(".save").addEventListener("click", () => this.save());
    for (const target of element.querySelectorAll("[data-send]"))
      target.addEventListener("click", () => this.send(element, target.dataset.send));
    for (const tool of this.tools.querySelectorAll("[title]")) tool.setAttribute("aria-label", tool.title);
    this.begin(null);
  }

  begin(job) {
    this.job = job;
    this.pictures = new Map(); // position -> picture
    this.choice = null; // a position, "live", or nothing
    this.chosenByUser = false;
    this.previewShown = 0;
    this.previewUrl = null;
    this.prompt = "";
    this.draw();
  }

  count = () => [...this.pictures.keys()].filter((position) => position >= 0 && position < FIRST_MAP).length || this.pictures.size; // grids count where nothing else is shown
  selected = () => this.pictures.get(this.choice) ?? this.pictures.get(Math.min(...this.pictures.keys())) ?? null;

  update(report) {
    this.prompt = report.prompt;
    this.total = report.count;
    this.over = report.over;
    for (const picture of report.pictures) this.pictures.set(picture.position, picture);
    for (const position of report.hidden ?? []) this.pictures.delete(position);
    if (report.over) document.dispatchEvent(new CustomEvent("made", { detail: { job: report.job, pictures: [...this.pictures.values()] } }));
    const live = !report.over && report.preview > 0;
    if (live && report.preview !== this.previewShown) this.loadPreview(report.preview, report.source ?? report.job);
    if (!live) this.previewUrl = null;
    if (!this.chosenByUser || (this.choice === "live" && !live)) this.choice = this.natural(report);
    if (report.pictures.length || report.over || this.choice === "live") this.draw();
  }

  natural(report) {
    if (!report.over) return this.previewUrl ? "live" : ([...this.pictures.keys()].pop() ?? null);
    return this.pictures.size ? Math.min(...this.pictures.keys()) : null;
  }

  // The next preview replaces the last one only once it has arrived: no flicker.
  loadPreview(number, source) {
    this.previewShown = number;
    const [job, next] = [this.job, new Image()];
    next.onload = () => {
      if (job !== this.job || number !== this.previewShown || this.over) return;
      this.previewUrl = next.src;
      if (!this.chosenByUser) this.choice = "live";
      this.draw();
    };
    next.src = new URL(`atelier/preview/${source}?n=${number}`, document.baseURI).href;
  }

  // -- drawing --

  draw() {
    const picture = shown.pictures ? this.pictures.get(this.choice) : undefined;
    const source = picture ? url(picture.id) : this.choice === "live" ? this.previewUrl : null;
    this.stage.classList.toggle("live", this.choice === "live");
    if (source) {
      if (this.image.src !== source) this.image.src = source;
      this.image.alt = picture ? this.describe(picture) : `Preview of: ${this.prompt}`;
      if (!this.image.isConnected) this.stage.replaceChildren(this.image);
    } else if (this.image.isConnected) {
      this.stage.replaceChildren(this.empty());
    }
    this.drawStrip();
    this.text.hidden = !picture?.infotext;
    this.tools.hidden = !picture;
    this.text.textContent = picture?.infotext ?? "";
    if (picture) this.drawTools(picture);
  }

  empty() {
    const empty = document.createElement("p");
    empty.className = "empty";
    empty.textContent = "Pictures appear here.";
    return empty;
  }

  describe = ({ position, seed, incomplete }) =>
    position < 0
      ? `Grid: ${this.prompt || "no prompt"}`
      : position >= FIRST_MAP
      ? `Control map of: ${this.prompt || "no prompt"}`
      : `Picture ${position + 1} of ${this.total}: ${this.prompt || "no prompt"} (seed ${seed}${incomplete ? ", unfinished" : ""})`;

  drawStrip() {
    const wanted = [...(this.previewUrl ? ["live"] : []), ...(shown.pictures ? [...this.pictures.keys()].sort((a, b) => a - b) : [])];
    this.strip.hidden = wanted.length < 2;
    const have = new Map([...this.strip.children].map((child) => [child.dataset.key, child]));
    const children = wanted.map((key) => have.get(String(key)) ?? this.thumbnail(key));
    if (children.some((child, i) => child !== this.strip.children[i]) || children.length !== this.strip.children.length)
      this.strip.replaceChildren(...children);
    for (const child of children) {
      const picture = this.pictures.get(Number(child.dataset.key));
      const source = child.dataset.key === "live" ? this.previewUrl : url(picture.id);
      const image = child.firstChild;
      if (image.src !== source) image.src = source;
      image.alt = child.dataset.key === "live" ? "Live preview" : this.describe(picture);
      const chosen = child.dataset.key === String(this.choice);
      child.setAttribute("aria-selected", chosen);
      child.tabIndex = chosen ? 0 : -1;
    }
  }

  thumbnail(key) {
    const button = document.createElement("button");
    Object.assign(button, { type: "button", className: key === "live" ? "thumbnail live" : "thumbnail" });
    button.dataset.key = key;
    button.setAttribute("role", "option");
    const image = document.createElement("img");
    image.loading = "lazy";
    button.append(image);
    button.addEventListener("click", () => this.select(key));
    return button;
  }

  drawTools(picture) {
    const link = this.tools.querySelector(".download");
    link.href = url(picture.id);
    const part = picture.position >= FIRST_MAP ? `map-${picture.position - FIRST_MAP + 1}` : picture.position + 1;
    const name = picture.position < 0 ? `grid-${picture.seed}` : `${picture.seed}-${part}`;
    link.download = name + picture.ending;
    this.tools.querySelector(".open").href = url(picture.id);
    this.tools.querySelector(".zip").href = new URL(`atelier/jobs/${this.job}/zip`, document.baseURI).href;
    if (this.large.isOpen()) this.large.show(url(picture.id), this.describe(picture));
  }

  // -- choosing --

  select(key) {
    this.choice = key;
    this.chosenByUser = key !== "live";
    this.draw();
    this.strip.querySelector("[aria-selected=true]")?.scrollIntoView({ block: "nearest", inline: "nearest" });
  }

  move(step) {
    const keys = [...this.pictures.keys()].sort((a, b) => a - b);
    if (!keys.length) return;
    const at = keys.indexOf(this.choice);
    this.select(keys[(at + step + keys.length) % keys.length]);
  }

  open() {
    const picture = this.pictures.get(this.choice);
    if (picture) this.large.open(url(picture.id), this.describe(picture));
  }

  onKey(event) {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (step) this.move(step);
    else if (event.key === "Enter" && event.currentTarget === this.stage && !event.ctrlKey && !event.altKey) this.open();
    else return;
    event.preventDefault();
    if (event.currentTarget === this.strip) this.strip.querySelector("[aria-selected=true]")?.focus();
  }

  // Told to the page, which knows the other tabs.
  send(element, target) {
    const picture = this.selected();
    if (!picture) return;
    const detail = { target, url: url(picture.id), infotext: picture.infotext, say: (text) => this.say(text) };
    element.dispatchEvent(new CustomEvent("send", { detail }));
  }

  async save() {
    const picture = this.selected();
    const told = picture && (await fetch(`${url(picture.id)}/save`, { method: "POST" }).then((found) => found.json()).catch(() => ({})));
    if (!told) return;
    const words = told.count > 1 ? `Saved ${told.count} pictures, the first as ${told.saved}.` : `Saved as ${told.saved}.`;
    this.say(told.saved ? words : (told.detail ?? "The server does not answer. Try again."));
  }

  async copy(button) {
    const words = button.textContent;
    try {
      await navigator.clipboard.writeText(this.text.textContent);
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(this.text); // without https there is no clipboard: select it instead
      button.textContent = "Selected: press Ctrl+C";
    }
    setTimeout(() => (button.textContent = words), 2000);
  }
}
