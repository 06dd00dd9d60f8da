// Searching Hugging Face and Civitai, taking an address, and the access tokens.

import { ask, bytes, link, make, sayIn } from "./models_dom.js";

// `add(wish)` puts a download into the queue; it throws an Error with a sentence.
export function startFinding(root, add) {
  new Finder(root.querySelector(".find"), add);
  new Tokens(root.querySelector(".tokens"));
}

const HINTS = {
  huggingface: "Words, or owner/name of a repository",
  civitai: "Words to search for",
  url: "https://… of a model file, or of its page at Hugging Face or Civitai",
};

class Finder {
  constructor(root, add) {
    this.add = add;
    this.form = root.querySelector("form");
    this.site = root.querySelector("select");
    this.words = root.querySelector("input");
    this.kind = root.querySelector(".kind");
    this.button = root.querySelector("form button");
    this.found = root.querySelector(".found");
    this.say = sayIn(root.querySelector(".notice"));
    this.kinds = [];
    this.number = 0; // of the last search: a slower earlier one is not shown
    this.form.addEventListener("submit", (event) => (event.preventDefault(), this.search()));
    this.site.addEventListener("change", () => this.changed());
    ask("catalogue").then(({ kinds }) => {
      this.kinds = kinds;
      this.kind.replaceChildren(new Option("Kind: as it seems", ""), ...kinds.map((k) => new Option(k.label, k.kind)));
    }, (error) => this.say(error.message));
    this.changed();
  }

  changed() {
    const site = this.site.value;
    this.words.placeholder = HINTS[site];
    this.words.setAttribute("aria-label", site === "url" ? "Address" : "Search for");
    this.button.textContent = site === "url" ? "Download" : "Search";
    this.kind.hidden = site !== "url";
    this.found.replaceChildren();
    this.say("");
  }

  async search() {
    const [site, words, number] = [this.site.value, this.words.value.trim(), ++this.number];
    this.say("");
    this.button.disabled = true;
    this.button.dataset.busy = "";
    try {
      if (site === "url") {
        await this.add({ url: words, kind: this.kind.value || null });
        this.words.value = "";
      } else if (site === "huggingface" && /^[\w.-]+\/[\w.-]+$/.test(words)) {
        const repository = await ask(`search/huggingface?repo=${encodeURIComponent(words)}`);
        this.show([repository], (item, place) => this.openRepository(item, place, repository));
      } else {
        const { found } = await ask(`search?site=${site}&query=${encodeURIComponent(words)}`);
        if (number !== this.number) return;
        this.show(found, site === "civitai" ? this.openCivitai : this.openRepository);
        if (!found.length) this.say("Nothing was found. Try other words.");
      }
    } catch (error) {
      if (number === this.number) this.say(error.message);
    } finally {
      this.button.disabled = false;
      delete this.button.dataset.busy;
    }
  }

  show(found, open) {
    this.found.replaceChildren(...found.map((item) => this.result(item, open)));
  }

  result(item, open) {
    const facts = [item.type, item.author, item.licence, item.gated ? "gated" : "", item.downloads ? `${item.downloads.toLocaleString()} downloads` : ""];
    const place = make("div", { class: "files", hidden: true });
    const button = make("button", { type: "button", "aria-expanded": "false", "aria-label": `Files of ${item.title}` }, "Files");
    button.addEventListener("click", async () => {
      place.hidden = !place.hidden;
      button.setAttribute("aria-expanded", String(!place.hidden));
      if (place.hidden || place.childNodes.length) return;
      place.replaceChildren(make("p", { class: "facts" }, "Looking …"));
      try {
        await open.call(this, item, place);
      } catch (error) {
        place.replaceChildren(make("p", { class: "notice failed", role: "alert" }, error.message));
      }
    });
    const head = make("div", {}, make("strong", {}, link(item.page, item.title)), make("div", { class: "facts" }, facts.filter(Boolean).join(" · ")));
    return make("li", { class: "entry result" }, head, button, place);
  }

  async openRepository(item, place, known) {
    const repository = known?.files ? known : await ask(`search/huggingface?repo=${encodeURIComponent(item.id)}`);
    const files = repository.files.map((file) => this.file(file.path, file, { repo: item.id, file: file.path }));
    if (repository.folder !== null) {
      files.unshift(this.file("The whole diffusers folder", { size: repository.folder, kind: "Stable-diffusion" }, { repo: item.id }));
    }
    this.list(place, files);
  }

  async openCivitai(item, place) {
    const files = item.versions.flatMap((version) =>
      version.files.map((file) =>
        this.file(`${version.name}: ${file.name}`, { ...file, note: version.base }, { civitai_version: version.id, civitai_file: file.id }),
      ),
    );
    this.list(place, files);
  }

  list(place, files) {
    place.replaceChildren(files.length ? make("ul", {}, ...files) : make("p", { class: "facts" }, "There is no model file in it."));
  }

  file(name, { size, kind, note }, wish) {
    const chosen = make("select", { "aria-label": `Kind of ${name}` }, ...this.kinds.map((k) => new Option(k.label, k.kind, false, k.kind === kind)));
    const notice = make("p", { class: "notice", role: "alert", hidden: true });
    const tell = sayIn(notice);
    const button = make("button", { type: "button", "aria-label": `Download ${name}` }, "Download");
    button.addEventListener("click", async () => {
      button.disabled = true;
      try {
        await this.add({ ...wish, kind: chosen.value });
        tell("In the list of downloads.", true);
      } catch (error) {
        tell(error.message);
      }
      button.disabled = false;
    });
    const facts = make("div", { class: "facts" }, [bytes(size), note].filter(Boolean).join(" · "));
    return make("li", { class: "file" }, make("div", { class: "what" }, make("span", { class: "name" }, name), facts), chosen, button, notice);
  }
}

class Tokens {
  constructor(root) {
    this.place = root.querySelector(".list");
    this.say = sayIn(root.querySelector(".notice"));
    root.addEventListener("toggle", () => root.open && this.look());
  }

  async look() {
    try {
      this.show(await ask("tokens"));
      this.say("");
    } catch (error) {
      this.say(error.message);
    }
  }

  show(sites) {
    this.place.replaceChildren(...Object.entries(sites).map(([site, told]) => this.row(site, told)));
  }

  row(site, { label, host, token }) {
    const state = { kept: "kept here", environment: "from the environment" }[token] ?? "none";
    const input = make("input", { type: "password", autocomplete: "off", placeholder: `${label} token (${state})`, "aria-label": `${label} token` });
    const keep = async (value) => {
      try {
        this.show(await ask("tokens", { site, token: value }));
        this.say(value ? `Kept. It is sent to ${host} alone.` : "Forgotten.", true);
      } catch (error) {
        this.say(error.message);
      }
    };
    const forget = token === "kept" ? make("button", { type: "button", onclick: () => keep("") }, "Forget") : null;
    const form = make("form", { class: "row" }, input, make("button", { type: "submit" }, "Keep"), forget);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      if (input.value.trim()) keep(input.value);
    });
    return form;
  }
}
