// Settings > Presets. Applying one writes its values into the page's memory and loads the page again: the server then fills the
// form, as after every reload, with all that belongs to another checkpoint.

import { download, pickFiles } from "./dom.js";
import * as memory from "./memory.js";
import { ask, make, sayIn } from "./models_dom.js";

const TOLD = "atelier.preset"; // {tab, words}: what is to be said once the page is there again

export function startPresets(root) {
  const find = (selector) => root.querySelector(selector);
  const say = sayIn(find(".said"));
  const tab = () => find(".tab").value;

  const facts = ({ family, checkpoint, values, networks }) =>
    [family, checkpoint, values.sampler_name, values.width && `${values.width}×${values.height}`, networks.join(" "), "prompt" in values && `“${values.prompt}”`].filter(Boolean).join(" · ");

  function row(preset) {
    const { name } = preset;
    const remove = make("button", { type: "button", "aria-label": `Delete preset`, title: "Delete preset", onclick: () => act("delete", { name }, `The preset ${name} is deleted.`) }, "✕");
    return make("li", {}, make("b", { "data-plain": true }, name), make("span", { class: "facts", "data-plain": true }, facts(preset)), make("button", { type: "button", class: "use", onclick: () => apply(name) }, "Apply preset"), remove);
  }

  function show({ presets, notes }, told = "") {
    find(".list").replaceChildren(...presets.map(row));
    say([...notes, told].filter(Boolean).join(" "), !notes.length);
  }

  async function act(path, body, told) {
    try {
      show(await ask(path ? `presets/${path}` : "presets", body), told);
    } catch (error) {
      say(error.message);
    }
  }

  async function apply(name) {
    try {
      const { values, notes } = await ask("presets/apply", { name, tab: tab(), memory: memory.text(tab()) });
      memory.touch(tab(), values);
      sessionStorage.setItem(TOLD, JSON.stringify({ tab: tab(), words: ["The preset is applied.", ...notes].join(" ") }));
      location.reload();
    } catch (error) {
      say(error.message);
    }
  }

  root.addEventListener("toggle", () => root.open && act(""));
  find(".keep").addEventListener("click", () => {
    const name = find(".name").value.trim();
    act("keep", { name, tab: tab(), memory: memory.text(tab()), prompts: find(".prompts").checked }, `The preset ${name} is kept.`);
  });
  find(".share").addEventListener("click", async () => {
    const answer = await fetch(new URL("atelier/presets/file", document.baseURI)).catch(() => null);
    if (answer?.ok) download(await answer.blob(), "atelier-presets.json");
    else say((await answer?.json().catch(() => null))?.detail ?? "The server does not answer. Look whether it still runs.");
  });
  find(".take").addEventListener("click", async () => {
    const [file] = await pickFiles(".json,application/json");
    if (file) act("file", { file: file.name, text: await file.text() }, "The presets of the file are taken.");
  });
}

export function tellOfPreset(tab, say) {
  const { tab: meant, words } = JSON.parse(sessionStorage.getItem(TOLD) ?? "{}");
  if (meant !== tab) return;
  sessionStorage.removeItem(TOLD);
  say(words);
}
