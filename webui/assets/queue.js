// The tab Queue: asks how things are while it is in sight, and tells the server what the user wants of a job.

import { ask, make, sayIn } from "./models_dom.js";
import { editJob } from "./queue_edit.js";
import { Row } from "./queue_row.js";
import { tabs } from "./tabs.js";

const EVERY = 1000;

export function start(element) {
  new Queue(element.querySelector(".queue-tab"));
}

class Queue {
  constructor(root) {
    this.find = (selector) => root.querySelector(selector);
    this.say = sayIn(this.find(".notice"));
    this.rows = new Map(); // id -> Row: a focused button survives the next look
    this.seen = false;
    this.timer = null;
    this.find(".pause").addEventListener("click", () => this.send("queue/pause", { paused: !this.paused }));
    this.offerNotifications();
    new IntersectionObserver(([{ isIntersecting }]) => this.look((this.seen = isIntersecting))).observe(root);
    document.addEventListener("visibilitychange", () => this.look());
  }

  offerNotifications() {
    const button = this.find(".allow");
    button.hidden = !("Notification" in window) || Notification.permission !== "default";
    button.addEventListener("click", async () => {
      await Notification.requestPermission();
      button.hidden = true;
    });
  }

  async look() {
    clearTimeout(this.timer);
    if (!this.seen || document.hidden) return;
    try {
      this.show(await ask("queue"));
      if (this.lost) this.say("");
      this.lost = false;
    } catch (error) {
      this.lost = true;
      this.say(error.message);
    }
    this.timer = setTimeout(() => this.look(), EVERY);
  }

  async send(path, body) {
    try {
      const told = await ask(path, body);
      this.say("");
      if (told.jobs) this.show(told);
      else await this.look();
    } catch (error) {
      this.say(error.message);
    }
  }

  show({ paused, full, jobs }) {
    this.find(".full").hidden = !full;
    this.find(".full").textContent = full ?? "";
    this.paused = paused;
    const pause = this.find(".pause");
    pause.textContent = paused ? "Go on" : "Pause";
    pause.title = paused ? "Begin the jobs that wait" : "Begin no further job; what runs goes on";
    pause.setAttribute("aria-pressed", paused);
    const count = (state) => jobs.filter((job) => job.state === state).length;
    this.find(".counts").textContent = `${count("running")} running, ${count("queued")} waiting${paused ? ", paused" : ""}`;
    this.find(".empty").hidden = jobs.length > 0;
    this.arrange(jobs);
  }

  arrange(jobs) {
    const list = this.find(".jobs");
    const known = new Set(jobs.map((job) => job.id));
    for (const [id, row] of this.rows) if (!known.has(id)) (row.element.remove(), this.rows.delete(id));
    const own = (user) => jobs.filter((job) => job.state === "queued" && job.user === user).map((job) => job.id);
    jobs.forEach((job, i) => {
      if (!this.rows.has(job.id)) this.rows.set(job.id, new Row(job.id, (wish, now) => this.wish(wish, now)));
      const { element } = this.rows.get(job.id);
      if (list.children[i] !== element) list.insertBefore(element, list.children[i] ?? null);
      const waiting = own(job.user); // jobs change places with those of their user
      this.rows.get(job.id).show(job, waiting.indexOf(job.id), waiting.length);
    });
  }

  async wish(wish, { job, place }) {
    const path = `queue/${encodeURIComponent(job.id)}`;
    if (wish === "first") await this.send(`${path}/move`, { place: 0 });
    else if (wish === "up" || wish === "down") await this.send(`${path}/move`, { place: place + (wish === "up" ? -1 : 1) });
    else if (wish === "again") await this.send(`${path}/again`, {});
    else if (wish === "interrupt") await this.send(`jobs/${encodeURIComponent(job.id)}/interrupt`, {});
    else if (wish === "edit") await editJob(this.find("dialog.edit"), job, (changes) => this.send(`${path}/edit`, changes));
    else if (wish === "show") this.open(job);
  }

  // In the tab it belongs to.
  open(job) {
    tabs[job.kind].watch(job.id);
    document.getElementById(`tab_${job.kind}-button`)?.click();
  }
}
