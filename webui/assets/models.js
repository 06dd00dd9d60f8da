// The tab Models: what is being downloaded, and the start set. Finding more is in models_find.js.

import { ask, bytes, duration, link, make, sayIn } from "./models_dom.js";
import { startFinding } from "./models_find.js";

const ACTIVE = ["running", "queued"];
const ACTIONS = {
  running: ["pause", "cancel"],
  queued: ["first", "pause", "cancel"],
  paused: ["resume", "cancel"],
  failed: ["retry", "cancel"],
};
const WORDS = { pause: "Pause", cancel: "Cancel", first: "First", resume: "Resume", retry: "Retry" };
const STATES = { queued: "waiting", paused: "paused", done: "done", failed: "failed", cancelled: "cancelled" };

let panel = null;

export function start(element) {
  panel?.stop();
  panel = new Models(element.querySelector(".models"));
}

class Models {
  constructor(root) {
    this.find = (selector) => root.querySelector(selector);
    this.say = sayIn(this.find(".queue .notice"));
    this.rows = new Map(); // id -> its row, so that a focused button survives the next look
    this.states = null; // id -> state at the last look
    this.timer = null;
    this.stopped = false;
    this.find(".clear").addEventListener("click", () => this.try(async () => this.show(await ask("downloads/clear", {}))));
    startFinding(root, (wish) => this.add(wish));
    this.look();
    this.catalogue();
    document.addEventListener("visibilitychange", (this.seen = () => document.hidden || this.look()));
  }

  stop() {
    this.stopped = true;
    clearTimeout(this.timer);
    document.removeEventListener("visibilitychange", this.seen);
  }

  async try(work) {
    try {
      await work();
      this.say("");
    } catch (error) {
      this.say(error.message);
    }
  }

  // -- the queue --

  async add(wish) {
    const added = await ask("downloads", wish);
    this.say("");
    await this.look();
    return added;
  }

  async look() {
    clearTimeout(this.timer);
    let active = false;
    try {
      const found = await ask("downloads");
      if (this.stopped) return;
      active = this.show(found);
      if (this.lost) this.say("");
      this.lost = false;
    } catch (error) {
      this.lost = true;
      this.say(error.message);
    }
    if (!this.stopped) this.timer = setTimeout(() => this.look(), active ? 1000 : 10000);
  }

  show({ downloads }) {
    const states = new Map(downloads.map((download) => [download.id, download.state]));
    const fresh = downloads.filter((d) => d.state === "done" && this.states && this.states.get(d.id) !== "done");
    this.states = states;
    if (fresh.length) {
      document.getElementById("refresh_sd_model_checkpoint")?.click(); // the menus of checkpoints, VAEs, text encoders
      this.catalogue();
    }
    this.find(".queue").hidden = !downloads.length;
    this.find(".clear").hidden = !downloads.some((download) => ["done", "cancelled"].includes(download.state));
    for (const [id, row] of this.rows) if (!states.has(id)) (row.remove(), this.rows.delete(id));
    const list = this.find(".list");
    downloads.forEach((download, i) => {
      const row = this.row(download);
      if (list.children[i] !== row) list.insertBefore(row, list.children[i] ?? null); // what is moved loses its focus
    });
    return downloads.some((download) => ACTIVE.includes(download.state));
  }

  row(download) {
    const { id, state } = download;
    let row = this.rows.get(id);
    if (!row) {
      row = make("li", { class: "download" }, make("div", { class: "line" }, make("span", { class: "name" }, download.name), make("span", { class: "tools" })));
      row.append(make("div", { class: "bar", role: "progressbar", "aria-label": download.name }, make("div")), make("div", { class: "words" }), make("div", { class: "said" }));
      this.rows.set(id, row);
    }
    row.querySelector(".name").textContent = download.name;
    row.title = download.title;
    const part = download.size ? Math.min(download.received / download.size, 1) : 0;
    const bar = row.querySelector(".bar");
    bar.hidden = !["running", "paused", "failed"].includes(state);
    bar.firstChild.style.width = `${100 * part}%`;
    bar.setAttribute("aria-valuenow", Math.round(100 * part));
    row.querySelector(".words").textContent = words(download);
    row.querySelector(".said").textContent = download.message;
    if (row.dataset.state !== state) {
      row.dataset.state = state;
      const buttons = (ACTIONS[state] ?? []).map((action) =>
        make("button", { type: "button", "aria-label": `${WORDS[action]} ${download.name}`, onclick: () => this.act(id, action) }, WORDS[action]),
      );
      row.querySelector(".tools").replaceChildren(...buttons);
    }
    return row;
  }

  act(id, action) {
    return this.try(async () => {
      await ask(`downloads/${id}/${action}`, {});
      await this.look();
    });
  }

  // -- the start set --

  async catalogue() {
    const body = this.find(".starters");
    const say = sayIn(this.find(".start .notice"));
    try {
      const { models } = await ask("catalogue");
      this.models = new Map(models.map((model) => [model.id, model]));
      const kinds = [...new Set(models.map((model) => model.kind_label))];
      body.replaceChildren(...kinds.map((kind) => this.group(kind, models.filter((model) => model.kind_label === kind), say)));
      say("");
    } catch (error) {
      say(error.message);
    }
  }

  group(kind, models, say) {
    return make("section", { "aria-label": kind }, make("h4", {}, kind), make("ul", {}, ...models.map((model) => this.starter(model, say))));
  }

  starter(model, say) {
    const parts = model.needs.map((id) => this.models.get(id)).filter((part) => part && !part.here);
    const all = parts.reduce((sum, part) => sum + part.gigabytes, model.gigabytes);
    const size = `about ${bytes(model.gigabytes * 1e9)}` + (all > 1.01 * model.gigabytes ? `, ${bytes(all * 1e9)} with its parts` : "");
    const facts = [model.family, size, model.licence, model.gated ? "gated: needs a token" : ""];
    const button = make("button", { type: "button", "aria-label": `Download ${model.title}` }, "Download");
    button.addEventListener("click", async () => {
      button.disabled = true;
      try {
        await this.add({ entry: model.id, with_parts: true });
        say("");
      } catch (error) {
        say(error.message);
      }
      button.disabled = false;
    });
    return make(
      "li",
      { class: "entry" },
      make("div", {}, make("strong", {}, link(model.page, model.title)), make("div", { class: "facts" }, facts.filter(Boolean).join(" · ")), make("div", { class: "note" }, model.note)),
      model.here ? make("span", { class: "here" }, "here") : button,
    );
  }
}

function words(download) {
  const { state, received, size, speed, seconds_left: left } = download;
  const parts = [download.kind_label];
  if (state === "done") return [...parts, bytes(size ?? received), "done"].join(" · ");
  if (received || size) parts.push(received && size ? `${bytes(received)} of ${bytes(size)}` : bytes(received || size));
  if (state !== "running") parts.push(STATES[state]);
  else if (download.stopping) parts.push("stopping");
  else {
    if (speed) parts.push(`${bytes(Math.round(speed))}/s`);
    if (left !== null) parts.push(`${duration(left)} left`);
    if (!received) parts.push("connecting");
  }
  return parts.join(" · ");
}
