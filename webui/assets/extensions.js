// The tab Extensions: a list from the server; what is ticked counts from the next start, which the button begins.

import { ask, make, sayIn } from "./models_dom.js";

const PARTS = { engine: "the engine", ui: "the server" };
const PATIENCE = 180_000; // milliseconds for a restart

export function start(element) {
  new Extensions(element.querySelector(".extensions"));
}

class Extensions {
  constructor(root) {
    this.find = (selector) => root.querySelector(selector);
    this.say = sayIn(this.find(".notice"));
    this.find(".apply").addEventListener("click", () => this.try(() => this.apply()));
    root.addEventListener("change", () => (this.find(".apply").disabled = false));
    this.try(() => this.show());
  }

  async try(work) {
    try {
      await work();
    } catch (error) {
      this.say(error.message);
    }
  }

  async show() {
    const { extensions, all_off } = await ask("extensions");
    this.find(".all-off").checked = all_off;
    this.find("table").hidden = !extensions.length;
    this.find(".none").hidden = extensions.length > 0;
    this.find("tbody").replaceChildren(...extensions.map((one) => this.row(one)));
  }

  row({ name, bundled, sides, trouble, wanted }) {
    const box = make("input", { type: "checkbox", value: name, checked: wanted });
    const state = make("td", { class: trouble ? "failed" : "" }, trouble ?? "In use");
    return make("tr", {}, make("td", {}, make("label", { class: "only" }, box, ` ${name}`)), make("td", {}, bundled ? "the program's" : "your own"), make("td", {}, sides.map((side) => PARTS[side]).join(", ")), state);
  }

  async apply() {
    const off = [...this.find("tbody").querySelectorAll("input")].filter((box) => !box.checked).map((box) => box.value);
    await ask("settings", { disabled_extensions: off, disable_all_extensions: this.find(".all-off").checked ? "all" : "none" });
    await restart(() => {
      this.find(".apply").disabled = true;
      this.say("Restarting…", true);
    });
  }
}

// The server starts again, which `begun` is told, and then the page; throws an Error with a sentence where it does not.
export async function restart(begun) {
  const before = await running();
  await ask("extensions/restart", {});
  begun();
  for (const end = performance.now() + PATIENCE; performance.now() < end; ) {
    await new Promise((done) => setTimeout(done, 500));
    const now = await running();
    if (now && now !== before) return location.reload();
  }
  throw new Error("The server has not come back. Look at its log.");
}

// Which start of the server this is; nothing while there is none.
async function running() {
  const answer = await fetch(new URL("gradio_api/app_id", document.baseURI)).catch(() => null);
  return answer?.ok ? answer.text() : null;
}
