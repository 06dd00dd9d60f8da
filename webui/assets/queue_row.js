// One job in the tab Queue.

import { duration, make } from "./models_dom.js";
import { tabs } from "./tabs.js";

const WORDS = { queued: "waiting", running: "running", done: "done", stopped: "stopped", failed: "failed" };
const BUTTONS = {
  first: ["⤒", "First of all"],
  up: ["↑", "Earlier"],
  down: ["↓", "Later"],
  edit: ["Edit", "Change its values"],
  show: ["Show", "Show it in its own tab"],
  again: ["Again", "Draw it once more"],
  interrupt: ["Cancel", "Take it out of the queue"],
};

export class Row {
  constructor(id, wish) {
    this.now = null;
    const buttons = Object.entries(BUTTONS).map(([name, [text, title]]) =>
      make("button", { type: "button", class: name, title, "aria-label": title, onclick: () => wish(name, this.now) }, text),
    );
    this.words = make("div", { class: "words" });
    this.bar = make("div", {});
    this.facts = make("p", { class: "facts" });
    this.message = make("p", { class: "said" });
    this.pictures = make("div", { class: "thumbs" });
    this.live = make("img", { class: "live", alt: "", hidden: true });
    this.live.addEventListener("error", () => (this.live.hidden = true)); // its preview is over
    this.progress = make("div", { class: "bar", role: "progressbar", "aria-label": "Progress", "aria-valuemin": 0, "aria-valuemax": 100 }, this.bar);
    this.element = make(
      "li",
      { class: "job", "data-job": id },
      make("div", { class: "line" }, this.live, make("div", { class: "what" }, this.words, this.facts, this.progress, this.message), make("div", { class: "tools" }, ...buttons)),
      this.pictures,
    );
  }

  show(job, place, waiting) {
    this.now = { job, place };
    this.element.dataset.state = job.state;
    this.words.textContent = job.values.prompt || `(${job.kind} without a prompt)`;
    this.words.title = job.values.prompt ?? "";
    this.facts.textContent = facts(job).join(" · ");
    this.message.textContent = job.message ?? "";
    const running = job.state === "running";
    this.progress.hidden = !running;
    this.progress.setAttribute("aria-valuenow", Math.floor(job.progress * 100));
    this.bar.style.width = `${job.progress * 100}%`;
    this.preview(job, running);
    this.thumbnails(job);
    const shown = this.wishes(job, place, waiting);
    for (const name of Object.keys(BUTTONS)) this.element.querySelector(`button.${name}`).hidden = !shown.has(name);
    const cancel = this.element.querySelector("button.interrupt");
    cancel.textContent = running ? "Interrupt" : "Cancel";
    cancel.title = running ? "Stop it and keep what is finished" : BUTTONS.interrupt[1];
    cancel.setAttribute("aria-label", cancel.title);
    this.element.querySelector("button.again").textContent = job.state === "done" ? "Again" : "Go on";
  }

  wishes({ state, kind, values }, place, waiting) {
    const found = new Set();
    if (state === "queued" && place > 0) found.add("up").add("first");
    if (state === "queued" && place < waiting - 1) found.add("down");
    if (state === "queued" && Object.keys(values).length) found.add("edit");
    if (state === "queued" || state === "running") found.add("interrupt");
    else found.add("again");
    if (kind in tabs && state !== "queued") found.add("show");
    return found;
  }

  preview({ id, preview }, running) {
    if (!running || !preview) this.live.hidden = true;
    else if (this.live.dataset.number !== String(preview)) {
      this.live.dataset.number = preview;
      this.live.hidden = false;
      this.live.src = new URL(`atelier/preview/${encodeURIComponent(id)}?n=${preview}`, document.baseURI);
    }
  }

  thumbnails({ pictures, picture_count: count }) {
    const key = pictures.join();
    if (this.pictures.dataset.key === key) return;
    this.pictures.dataset.key = key;
    const links = pictures.map((id) => {
      const href = new URL(`atelier/images/${id}`, document.baseURI);
      return make("a", { href, target: "_blank", rel: "noopener" }, make("img", { src: href, alt: `Picture ${id}`, loading: "lazy" }));
    });
    const more = count > pictures.length ? make("span", { class: "facts" }, `and ${count - pictures.length} more`) : null;
    this.pictures.replaceChildren(...links, ...(more ? [more] : []));
  }
}

function facts({ state, kind, values, count, checkpoint, seconds_left: left, took, picture_count: made }) {
  const found = [WORDS[state], kind];
  if (values.width) found.push(`${values.width} x ${values.height}`);
  if (values.steps) found.push(`${values.steps} steps`);
  if (count) found.push(made ? `${made} of ${count} pictures` : `${count} picture${count === 1 ? "" : "s"}`);
  if (checkpoint && values.prompt !== undefined) found.push(checkpoint);
  if (left !== null) found.push(`${duration(left)} left`);
  if (took !== null) found.push(`took ${duration(took)}`);
  return found;
}
