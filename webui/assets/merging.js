// The result of the tab Checkpoint Merger: how far its job is, and what it made. All text is set as text, never as HTML.

import { newId } from "./memory.js";
import { ask, duration } from "./models_dom.js";
import { follow } from "./watch.js";

const KEPT = "atelier.merging"; // this tab's job, so that a reload finds it again
const MENUS = ["refresh_checkpoint_A", "refresh_sd_model_checkpoint"];

let panel = null;
let next = newId(); // the id of the next job: a press that arrives twice is one job

export function start(element) {
  panel?.leave();
  panel = new Merging(element.querySelector(".merging"));
  const job = kept();
  if (job) panel.watch(job);
}

export const press = (_job, ...values) => {
  panel.sending();
  return [next, ...values];
};

export function pressed(job) {
  if (!job) {
    panel.refused();
    return;
  }
  if (job === next) next = newId();
  panel.watch(job);
}

function kept(job) {
  try {
    if (job) sessionStorage.setItem(KEPT, job);
    return sessionStorage.getItem(KEPT);
  } catch {
    return null; // storage is switched off
  }
}

class Merging {
  constructor(root) {
    this.root = root;
    this.find = (selector) => root.querySelector(selector);
    this.leave = () => {};
    this.report = null;
    this.find(".stop").addEventListener("click", () => this.stop());
  }

  sending() {
    this.say("");
    this.tell("");
    this.root.dataset.state = "sending";
    this.root.scrollIntoView({ block: "nearest" }); // on a narrow screen it is below the form
  }

  refused() {
    this.root.dataset.state = "idle";
    this.find(".stop").hidden = this.find(".progress").hidden = true;
  }

  watch(job) {
    this.leave();
    this.job = kept(job) ?? job;
    this.seen = false; // whether it was seen at work: what is made meanwhile belongs into the menus
    this.leave = follow(this.job, this, () => {});
  }

  async stop() {
    this.find(".stop").disabled = true;
    try {
      await ask(`jobs/${this.job}/interrupt`, {});
    } catch (error) {
      this.say(error.message);
    }
  }

  update(report) {
    this.root.dataset.state = report.state;
    const { over, state, result } = report;
    this.find(".progress").hidden = this.find(".stop").hidden = over;
    this.find(".stop").disabled = false;
    if (!over) {
      this.seen = true;
      this.draw(report);
      this.say(report.warnings.join(" "));
      this.tell("");
      return;
    }
    this.find(".notice").classList.toggle("failed", state === "failed");
    this.say(state === "stopped" ? "" : (report.message ?? ""));
    const time = report.took === null ? "" : ` It took ${duration(report.took)}.`;
    if (state === "stopped") this.tell("Interrupted: nothing was written.");
    else this.tell(result ? `${result.message}${time}` : "", result ? `sha256 ${result.sha256}` : "");
    if (result && this.seen) for (const id of MENUS) document.getElementById(id)?.click();
  }

  draw({ fraction, left, phase, ahead, engine, progress }) {
    const percent = Math.floor(fraction * 100);
    const parts = [phase ? phase[0].toUpperCase() + phase.slice(1) : engine ? "Starting" : "The engine is starting"];
    if (ahead) parts[0] = `In queue: ${ahead} before this one`;
    if (progress) parts.push(`${percent} %`);
    if (progress && left !== null) parts.push(`${duration(left)} left`);
    const bar = this.find(".progress");
    bar.classList.toggle("waiting", !progress);
    bar.setAttribute("aria-valuenow", percent);
    bar.setAttribute("aria-valuetext", parts.join(" · "));
    this.find(".bar").style.width = `${percent}%`;
    this.find(".words").textContent = parts.join(" · ");
  }

  disconnected() {
    this.say("The server does not answer. Your job is safe there; this page goes on as soon as it answers.");
  }

  lost() {
    this.refused();
    this.tell("The server does not know this page's last job any more.");
  }

  say(text) {
    this.find(".notice").textContent = text;
    this.find(".notice").hidden = !text;
  }

  tell(text, facts = "") {
    this.find(".outcome").textContent = text;
    this.find(".facts").textContent = facts;
  }
}
