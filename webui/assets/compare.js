// "Reproduce and compare": a job like any other, followed until it is over, and how far its picture is from the file's.

import { ask } from "./models_dom.js";
import { follow } from "./watch.js";

export class Comparison {
  constructor(root, say) {
    this.root = root;
    this.say = say;
    this.find = (selector) => root.querySelector(selector);
    this.leave = () => {};
    this.file = this.job = null;
    this.find(".stop").addEventListener("click", () => ask(`jobs/${this.job}/interrupt`, {}).catch((error) => this.tell(error.message)));
  }

  hide() {
    this.leave();
    this.root.hidden = true;
  }

  async begin(file) {
    this.leave();
    this.say("");
    this.file = file;
    try {
      const { job, warnings } = await post("reproduce", file);
      this.say(warnings.join(" "), true);
      this.show(job);
    } catch (error) {
      this.say(error.message);
    }
  }

  show(job) {
    this.job = job;
    this.compared = false;
    this.root.hidden = false;
    const [old, made] = [this.find(".old"), this.find(".new")];
    if (old.src) URL.revokeObjectURL(old.src);
    old.src = URL.createObjectURL(this.file);
    made.removeAttribute("src");
    this.find(".stop").hidden = false;
    this.tell("Waiting …");
    this.root.scrollIntoView({ block: "nearest" });
    this.leave = follow(job, this, () => {});
  }

  update(report) {
    this.find(".stop").hidden = report.over;
    const picture = report.pictures[0];
    if (picture) this.find(".new").src = new URL(`atelier/images/${picture.id}`, document.baseURI).href;
    if (!report.over) {
      const percent = report.progress ? ` · ${Math.floor(report.fraction * 100)} %` : "";
      this.tell(report.ahead ? `In queue: ${report.ahead} before this one` : `${report.phase || "Starting"}${percent}`);
    } else if (report.state === "done") this.compare();
    else this.tell(report.state === "stopped" ? "Interrupted." : report.message);
  }

  async compare() {
    if (this.compared) return;
    this.compared = true;
    const job = this.job;
    try {
      const { message } = await post(`jobs/${job}/compare`, this.file);
      if (job === this.job) this.tell(message);
    } catch (error) {
      if (job === this.job) this.tell(error.message);
    }
  }

  disconnected() {
    this.tell("The server does not answer. Your job is safe there; this page goes on as soon as it answers.");
  }

  lost() {
    this.find(".stop").hidden = true;
    this.tell("The server does not know this job any more.");
  }

  tell(text) {
    this.find(".outcome").textContent = text ?? "";
  }
}

async function post(path, body) {
  const answer = await fetch(new URL(`atelier/${path}`, document.baseURI), { method: "POST", body }).catch(() => null);
  if (!answer) throw new Error("The server does not answer. Look whether it still runs.");
  const found = await answer.json().catch(() => null);
  if (answer.ok && found) return found;
  throw new Error(found?.detail ?? `The server answers with status ${answer.status}. Its log may say why.`);
}
