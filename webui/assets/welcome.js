// What greets at the first start, over the tab txt2img: the hardware, what is made of it, which models are there, and ways to
// more of them. It covers neither the prompts nor what is drawn meanwhile; once put away it comes only when it is asked for.
// At its place stands, above all, what the start found damaged.

import { restart } from "./extensions.js";
import { ask, make, sayIn } from "./models_dom.js";

const SHOWN = 6; // names of checkpoints
const WAIT = 2000; // milliseconds between questions while the engine starts

export async function showWelcome(again = false) {
  if (document.documentElement.dataset.role === "user") return;
  const found = await ask(`welcome${again ? "?again=true" : ""}`).catch(() => null);
  const tab = document.getElementById("tab_txt2img");
  if (found?.repairs.length && !document.querySelector(".repairs")) document.querySelector(".gradio-container").append(repairs(found.repairs));
  if (!found?.show || !tab) return;
  document.querySelector(".welcome")?.remove();
  const panel = build(found);
  tab.append(panel);
  if (again) {
    document.getElementById("tab_txt2img-button")?.click();
    panel.querySelector(".put-away").focus();
  }
  if (!found.ready) setTimeout(() => refresh(panel), WAIT);
}

function build(found) {
  const notice = make("p", { class: "notice", role: "status", hidden: true });
  const put = sayIn(notice);
  const say = (...words) => (put(...words), notice.scrollIntoView({ block: "nearest" }));
  const close = make("button", { type: "button", class: "put-away", "aria-label": "Put the welcome page away", title: "Put the welcome page away" }, "✕");
  const panel = make(
    "section",
    { class: "models welcome", "aria-label": "Welcome" },
    make("div", { class: "head" }, make("h3", {}, "Welcome to Atelier"), close),
    make("p", {}, "Type a prompt and press Generate: the small bundled model draws at once."),
    make("div", { class: "hardware" }),
    make("h4", {}, "Models"),
    models(found.checkpoints),
    found.folders ? takeOver(say) : null,
    notice,
    found.downloads && document.getElementById("tab_models-button") ? make("div", { class: "row" }, make("button", { type: "button", class: "more", onclick: openModels }, "Download a model…")) : null,
  );
  tell(panel, found);
  close.addEventListener("click", () => ask("welcome/dismiss", {}).then(() => panel.remove(), ({ message }) => say(message)));
  return panel;
}

function repairs(sentences) {
  const notice = make("p", { class: "notice", role: "status", hidden: true });
  const close = make("button", { type: "button", class: "put-away", "aria-label": "Put the notice away", title: "Put the notice away" }, "✕");
  const panel = make(
    "section",
    { class: "models repairs", role: "alert", "aria-label": "Damaged files" },
    make("div", { class: "head" }, make("h3", {}, "Damaged files"), close),
    make("ul", {}, ...sentences.map((sentence) => make("li", {}, sentence))),
    notice,
  );
  close.addEventListener("click", () => ask("welcome/repairs/forget", {}).then(() => panel.remove(), ({ message }) => sayIn(notice)(message)));
  return panel;
}

function tell(panel, { ready, hardware, uses }) {
  const lines = (texts) => make("ul", {}, ...texts.map((text) => make("li", {}, text)));
  const words = ready ? uses : ["The engine is still starting. It tells here what it computes on."];
  panel.querySelector(".hardware").replaceChildren(make("h4", {}, "Found"), lines(hardware), make("h4", {}, "Used"), lines(words));
}

// Until the engine has told what it computes on, or the panel is put away.
async function refresh(panel) {
  if (!panel.isConnected) return;
  const found = await ask("welcome?again=true").catch(() => null);
  if (found?.ready) tell(panel, found);
  else setTimeout(() => refresh(panel), WAIT);
}

function models(checkpoints) {
  if (!checkpoints.length) return make("p", {}, "There is no checkpoint yet.");
  const rows = checkpoints.slice(0, SHOWN).map(({ name, starter }) =>
    make("li", {}, make("span", { "data-plain": true }, name), starter ? make("span", { class: "facts" }, " (bundled starter)") : null));
  const rest = checkpoints.length - SHOWN;
  return make("div", {}, make("p", {}, `Checkpoints: ${checkpoints.length}`), make("ul", {}, ...rows, rest > 0 ? make("li", { class: "facts" }, `and ${rest} more`) : null));
}

function takeOver(say) {
  const box = make("input", { type: "text", "aria-label": "Folder of an A1111, Forge or ComfyUI", placeholder: "Folder of an A1111, Forge or ComfyUI", spellcheck: "false", autocomplete: "off" });
  const send = make("button", { type: "submit" }, "Use its models");
  const again = make("button", { type: "button", class: "restart primary", hidden: true }, "Restart now");
  const form = make("form", { class: "row" }, box, send, again);
  const tries = async (work) => {
    send.disabled = again.disabled = true;
    try {
      await work();
    } catch ({ message }) {
      say(message);
    }
    send.disabled = again.disabled = false;
  };
  const take = () => tries(async () => {
    const { checkpoints } = await ask("welcome/take-over", { folder: box.value });
    say(`Checkpoints found there: ${checkpoints}. They are used from the next start; nothing is written there.`, true);
    again.hidden = false;
  });
  form.addEventListener("submit", (event) => (event.preventDefault(), take()));
  again.addEventListener("click", () => tries(() => restart(() => say("Restarting…", true))));
  return form;
}

const openModels = () => document.getElementById("tab_models-button")?.click();
