// The right half of the page: what happens to the job, and its pictures. All text is set as text, never as HTML.

import { Gallery } from "./gallery.js";
import { notify } from "./notify.js";
import { shown } from "./shown.js";

const clock = (seconds) => {
  const whole = Math.max(0, Math.round(seconds));
  const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  return `${hours ? `${hours}:${String(minutes).padStart(2, "0")}` : minutes}:${String(rest).padStart(2, "0")}`;
};
const STOPPING = "Generation will stop after finishing this image, click again to stop immediately.";
const plural = (count, word) => `${count} ${word}${count === 1 ? "" : "s"}`;

export class Panel {
  constructor(element, tab) {
    this.tab = tab;
    this.find = (selector) => element.querySelector(selector);
    this.gallery = new Gallery(element, (text) => this.tell(text));
    this.titled = false; // whether the window's title tells of this panel's job
    this.report = null;
    this.button = (name) => document.querySelector(`#${tab}_${name}`);
    setInterval(() => this.tick(), 1000); // the time left goes down between steps
  }

  selected = () => this.gallery.selected();

  // Generate was pressed; the server has not answered yet.
  sending() {
    this.say("");
    this.button("generate").dataset.sending = "";
  }

  // The server has answered.
  sent() {
    delete this.button("generate").dataset.sending;
  }

  show(job) {
    this.sent();
    if (this.report?.job === job) return;
    this.report = null;
    this.gallery.begin(job);
    this.say("");
    this.tell("");
  }

  // Interrupt or Skip was pressed.
  asked(wish) {
    if (this.state() !== "running") return;
    this.button(wish).dataset.asked = this.report?.stopping ? "again" : "";
    if (wish === "skip") setTimeout(() => delete this.button("skip").dataset.asked, 600);
  }

  state = () => document.body.dataset[this.tab];

  // On the page's body: what this tab's job does, whether any of the page's jobs is at work, and the newest job's state.
  mark(state, job) {
    const { dataset } = document.body;
    dataset[this.tab] = state;
    dataset.atelier = [dataset.txt2img, dataset.img2img, dataset.extras].includes("running") ? "running" : "idle";
    if (job) dataset[`${this.tab}Job`] = dataset.job = job;
  }

  update(report) {
    if (report.over && this.report && !this.report.over) notify(this.tab, report);
    this.report = { ...report, at: performance.now() };
    this.mark(report.over ? "idle" : "running", report.state);
    this.gallery.update(report);
    const { dataset } = this.button("interrupt");
    if (report.stopping && dataset.asked === "") delete dataset.asked; // it goes on to the end of its batch
    if (report.over) for (const name of ["interrupt", "skip"]) delete this.button(name).dataset.asked;
    this.say(report.state === "failed" ? report.message : report.over ? (report.message ?? "") : report.warnings.join(" "));
    this.find(".notice").classList.toggle("failed", report.state === "failed");
    this.tell(report.over ? this.outcome(report) : report.stopping ? STOPPING : "");
    this.tick();
  }

  disconnected() {
    this.say("The server does not answer. Your job is safe there; this page goes on as soon as it answers.");
  }

  lost() {
    this.mark("idle");
    this.report = null;
    this.gallery.begin(null);
    this.say("The server does not know this page's last job any more. Press Generate for a new one.");
    this.tick();
  }

  outcome({ state, took, again, made: count = this.gallery.count() }) {
    const made = plural(count, "picture");
    const time = took === null ? "" : ` in ${took < 60 ? `${took.toFixed(1)} s` : clock(took)}`;
    const retried = again ? " The engine had to be started again on the way." : "";
    if (state === "done") return `${made}${time}.${retried}`;
    if (state === "stopped") return `Interrupted: ${made}${time}.${retried}`;
    return count ? `${made} finished before that.` : "";
  }

  // -- progress --

  tick() {
    const report = this.report;
    const bar = this.find(".progress");
    bar.hidden = !report || report.over;
    const title = document.title.replace(/^\[.*?\] /, "") || "Atelier";
    if (bar.hidden) {
      if (this.titled) document.title = title;
      this.titled = false;
      return;
    }
    const percent = Math.floor(report.fraction * 100);
    const left = report.left === null ? null : clock(report.left - (performance.now() - report.at) / 1000);
    const words = this.words(report, percent, left);
    bar.setAttribute("aria-valuenow", percent);
    bar.setAttribute("aria-valuetext", words);
    bar.classList.toggle("waiting", !report.progress);
    this.find(".bar").style.width = `${report.fraction * 100}%`;
    this.find(".words").textContent = words;
    if (!shown.title) return;
    document.title = `[${percent}%${left ? ` ETA: ${left}` : ""}] ${title}`;
    this.titled = true;
  }

  words({ state, ahead, again, engine, phase, progress }, percent, left) {
    if ("asked" in this.button("interrupt").dataset) return "Interrupting …";
    if (state === "queued" && again) return "The engine ended unexpectedly. It starts again, and this job goes on.";
    if (state === "queued" && ahead) return `In queue: ${ahead} before this one`;
    if (!progress && phase.startsWith("loading")) return `Loading ${phase.slice(8)} …`;
    if (!progress) return again ? "The engine starts again …" : engine ? "Starting …" : "The engine is starting …";
    const [step, batch] = this.tab === "extras" ? ["Part", "picture"] : [phase === "hires" ? "Hires. fix, step" : "Step", "batch"];
    const parts = [`${step} ${progress.step}/${progress.steps}`];
    if (progress.batches > 1) parts.push(`${batch} ${progress.batch}/${progress.batches}`);
    parts.push(`${percent} %`);
    if (left) parts.push(`${left} left`);
    return parts.join(" · ");
  }

  // -- words --

  say(text) {
    const notice = this.find(".notice");
    notice.textContent = text;
    notice.hidden = !text;
  }

  tell(text) {
    this.find(".status").textContent = text;
  }
}
