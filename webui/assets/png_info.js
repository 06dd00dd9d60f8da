// The tab PNG Info: a picture is read by the server, and its settings go where the user wants. All text is set as text.

import { Comparison } from "./compare.js";
import { make, sayIn } from "./models_dom.js";
import { give } from "./send.js";
import { sendSettings } from "./send_settings.js";

let panel = null;

export function start(element) {
  panel = new PngInfo(element.querySelector(".png-info"));
}

// What the server reads in a picture file; throws an Error with its sentence.
export async function readPicture(file) {
  const answer = await fetch(new URL("atelier/png-info", document.baseURI), { method: "POST", body: file }).catch(() => null);
  if (!answer) throw new Error("The server does not answer. Look whether it still runs.");
  const found = await answer.json().catch(() => null);
  if (answer.ok && found) return found;
  throw new Error(found?.detail ?? `The server answers with status ${answer.status}. Its log may say why.`);
}

export const pictureOf = (transfer) => [...(transfer?.files ?? [])].find((file) => file.type.startsWith("image/")) ?? null;

class PngInfo {
  constructor(root) {
    this.root = root;
    this.find = (selector) => root.querySelector(selector);
    this.say = sayIn(this.find(".notice"));
    this.file = this.found = null;
    this.number = 0; // of the file shown: an answer about an earlier one comes too late
    this.boxes = [...root.querySelectorAll(".only input")];
    this.targets = [...root.querySelectorAll("[data-target]")];
    this.comparison = new Comparison(this.find(".comparison"), this.say);
    this.listen();
  }

  listen() {
    const [drop, input] = [this.find(".drop"), this.find("input[type=file]")];
    drop.addEventListener("click", () => input.click());
    input.addEventListener("change", () => this.take(input.files[0]));
    for (const name of ["dragover", "drop"])
      this.root.addEventListener(name, (event) => {
        event.preventDefault();
        event.stopPropagation();
        if (name === "drop") this.dropped(event.dataTransfer);
      });
    document.addEventListener("paste", ({ clipboardData, target }) => {
      if (this.root.offsetParent && !target.closest?.("input[type=text], textarea")) this.take(pictureOf(clipboardData));
    });
    for (const button of this.targets) button.addEventListener("click", () => this.send(button.dataset));
    this.find(".all").addEventListener("click", () => this.check(true));
    this.find(".none").addEventListener("click", () => this.check(false));
    this.find(".reproduce").addEventListener("click", () => this.comparison.begin(this.file));
  }

  dropped(transfer) {
    const file = pictureOf(transfer);
    if (file) this.take(file);
    else this.say("That is no picture file. Drop a PNG, JPEG, WEBP, GIF, BMP or AVIF file.");
  }

  check(wanted) {
    for (const box of this.boxes) box.checked = wanted;
  }

  async take(file) {
    if (!file) return;
    const number = ++this.number;
    this.file = this.found = null;
    this.enable();
    this.comparison.hide();
    this.say("");
    this.tell("Reading …");
    let found = null;
    try {
      found = await readPicture(file);
    } catch (error) {
      if (number !== this.number) return;
      this.picture(null);
      this.tell("Nothing read.");
      this.say(error.message);
      return;
    }
    if (number !== this.number) return;
    [this.file, this.found] = [file, found];
    this.picture(file);
    this.draw(found);
    this.enable();
  }

  enable() {
    const held = Boolean(this.found?.infotext);
    for (const button of this.targets) button.disabled = !(held || (this.file && button.dataset.slot));
    this.find(".reproduce").disabled = !held;
  }

  picture(file) {
    const image = this.find(".drop img");
    if (image.src) URL.revokeObjectURL(image.src);
    image.hidden = !file;
    if (file) image.src = URL.createObjectURL(file);
    else image.removeAttribute("src");
    image.alt = file ? `The picture ${file.name ?? ""}` : "";
    this.find(".drop span").hidden = Boolean(file);
  }

  tell(text, ...lists) {
    this.find(".program").textContent = text;
    const sentences = lists.flat();
    this.find(".unmapped").hidden = !sentences.length;
    this.find(".unmapped").replaceChildren(...sentences.map((sentence) => make("li", {}, sentence)));
    this.find(".chunks").replaceChildren();
  }

  draw({ program, infotext, unmapped, notes, chunks, format, width, height }) {
    const kind = `${format}, ${width} x ${height}`;
    this.tell(program ? `Written by ${program} · ${kind}` : `No settings of a known program · ${kind}`, unmapped, notes);
    const others = Object.entries(chunks).filter(([, text]) => text.trim() !== infotext.trim());
    const own = others.length === Object.keys(chunks).length ? "parameters, in A1111's names" : "parameters";
    const parts = [...(infotext ? [[own, infotext]] : []), ...others];
    this.find(".chunks").replaceChildren(...parts.map(([name, text]) => this.chunk(name, text)));
    if (!parts.length) this.find(".chunks").replaceChildren(make("p", { class: "facts" }, "Nothing found in the image."));
  }

  chunk(name, text) {
    const copy = make("button", { type: "button", onclick: () => this.copy(copy, text) }, "Copy");
    const head = make("div", { class: "head" }, make("h3", {}, name), copy);
    return make("div", { class: "chunk", "data-name": name }, head, make("pre", { tabindex: "0", "aria-label": name }, text));
  }

  async copy(button, text) {
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(button.closest(".chunk").querySelector("pre")); // without https there is no clipboard
      button.textContent = "Selected: press Ctrl+C";
    }
    setTimeout(() => (button.textContent = "Copy"), 2000);
  }

  // The picture goes where the tab takes one; the settings that are checked go into its form, if it has one.
  async send({ tab, slot }) {
    const groups = this.boxes.filter((box) => box.checked).map((box) => box.value);
    const settings = this.found?.infotext && groups.length;
    if (!slot && !settings) {
      this.say("Nothing is chosen to be applied. Check at least one of the boxes.");
      return;
    }
    if (slot) await give(slot, this.file, this.file.name || "picture");
    if (settings && tab !== "extras") sendSettings(tab, this.found.infotext, groups.length === this.boxes.length ? null : groups);
  }
}
