// Pictures of one job: the selected one large, thumbnails of all, the infotext of the selected one.
// While the job runs, its live preview stands first, until the user selects a picture.

import { LargeView } from "./large.js";

const url = (id) => new URL(`atelier/images/${id}`, document.baseURI).href;

export class Gallery {
  constructor(element) {
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

  count = () => this.pictures.size;
  selected = () => this.pictures.get(this.choice) ?? this.pictures.get(Math.min(...this.pictures.keys())) ?? null;

  update(report) {
    this.prompt = report.prompt;
    this.total = report.count;
    for (const picture of report.pictures) this.pictures.set(picture.position, picture);
    const live = !report.over && report.preview > 0;
    if (live && report.preview !== this.previewShown) this.loadPreview(report.preview);
    if (!live) this.previewUrl = null;
    if (!this.chosenByUser || (this.choice === "live" && !live)) this.choice = this.natural(report);
    if (report.pictures.length || report.over || this.choice === "live") this.draw();
  }

  natural(report) {
    if (!report.over) return this.previewUrl ? "live" : ([...this.pictures.keys()].pop() ?? null);
    return this.pictures.size ? Math.min(...this.pictures.keys()) : null;
  }

  // The next preview replaces the last one only once it has arrived: no flicker.
  loadPreview(number) {
    this.previewShown = number;
    const [job, next] = [this.job, new Image()];
    next.onload = () => {
      if (job !== this.job || number < this.previewShown) return;
      this.previewUrl = next.src;
      if (!this.chosenByUser) this.choice = "live";
      this.draw();
    };
    next.src = new URL(`atelier/preview/${job}?n=${number}`, document.baseURI).href;
  }

  // -- drawing --

  draw() {
    const picture = this.pictures.get(this.choice);
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
    this.text.hidden = this.tools.hidden = !picture;
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
    `Picture ${position + 1} of ${this.total}: ${this.prompt || "no prompt"} (seed ${seed}${incomplete ? ", unfinished" : ""})`;

  drawStrip() {
    const wanted = [...(this.previewUrl ? ["live"] : []), ...[...this.pictures.keys()].sort((a, b) => a - b)];
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
    link.download = `${picture.seed}-${picture.position + 1}.png`;
    this.tools.querySelector(".open").href = url(picture.id);
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
