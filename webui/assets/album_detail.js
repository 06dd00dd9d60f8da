// The picture that was pressed in the gallery: large, what it tells, where it goes, what it was made from.

import { address } from "./album.js";
import { LargeView } from "./large.js";
import { ask, bytes, make } from "./models_dom.js";
import { give } from "./send.js";
import { sendSettings } from "./send_settings.js";

export class Detail {
  constructor(root, album) {
    Object.assign(this, { root, album, found: null });
    this.find = (selector) => root.querySelector(selector);
    this.view = new LargeView((step) => album.move(step));
    this.find(".close").addEventListener("click", () => this.close());
    this.find(".large").addEventListener("click", () => this.enlarge());
    this.find(".star").addEventListener("click", () => album.try(() => album.star([this.found.id])));
    this.find(".delete").addEventListener("click", () => album.try(() => (this.found.deleted ? album.restore : album.remove).call(album, [this.found.id])));
    this.find(".similar").addEventListener("click", () => album.search(`similar:${this.found.id}`));
    for (const button of root.querySelectorAll("[data-target]")) button.addEventListener("click", () => album.try(() => this.send(button.dataset)));
  }

  close() {
    this.root.hidden = true;
    this.album.current = this.found = null;
    this.album.grid.render(true);
    this.album.bar();
  }

  again() {
    if (this.found) this.show(this.found.id);
  }

  async show(id) {
    const found = await this.album.try(() => ask(`gallery/${id}`));
    if (!found || this.album.current !== id) return;
    this.found = found;
    const wasHidden = this.root.hidden;
    this.root.hidden = false;
    const source = address(id, "file");
    const [image, name] = [this.find(".large img"), found.name.split("/").pop()];
    if (image.src !== source) image.src = source;
    image.alt = name;
    this.find(".name").textContent = name;
    this.find(".facts").textContent = [found.width ? `${found.width} x ${found.height}` : "", bytes(found.size), new Date(found.modified * 1000).toLocaleString(), found.program, found.folder].filter(Boolean).join(" · ");
    this.find(".trouble").hidden = !found.trouble;
    this.find(".trouble").textContent = found.trouble ?? "";
    this.find(".infotext").hidden = !found.infotext;
    this.find(".infotext").textContent = found.infotext;
    Object.assign(this.find(".download"), { href: `${source}?download=true`, download: name });
    this.find(".star").setAttribute("aria-pressed", String(found.favourite));
    this.find(".star").textContent = found.favourite ? "★ Favourite" : "☆ Favourite";
    this.find(".delete").textContent = found.deleted ? "Restore" : "Delete";
    for (const button of this.root.querySelectorAll("[data-target]")) button.disabled = !(found.infotext || button.dataset.slot);
    this.kin(".parents", found.parents);
    this.kin(".children", found.children);
    if (this.view.isOpen()) this.view.show(source, name);
    if (wasHidden) this.album.grid.reveal(this.album.last);
  }

  kin(selector, ids) {
    const place = this.find(selector);
    place.hidden = !ids.length;
    place.lastElementChild.replaceChildren(
      ...ids.map((id) => make("button", { type: "button", "aria-label": `Picture ${id}`, onclick: () => this.album.show(id) }, make("img", { src: address(id, "thumbnail"), alt: "" }))),
    );
  }

  enlarge() {
    if (this.found) this.view.open(address(this.found.id, "file"), this.found.name);
  }

  // The picture goes where the tab takes one; its settings go into the form, if there is one.
  async send({ tab, slot }) {
    const { id, infotext, name } = this.found;
    if (slot) {
      const answer = await fetch(address(id, "file"));
      if (!answer.ok) throw new Error("This picture cannot be sent: its file is not there any more.");
      await give(slot, await answer.blob(), name.split("/").pop());
    }
    if (infotext && tab !== "extras") sendSettings(tab, infotext);
  }
}
