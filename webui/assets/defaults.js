// Settings > Defaults, as A1111's: which fields differ from what the page begins with, stored as what it begins with.

import * as memory from "./memory.js";
import { ask, make, sayIn } from "./models_dom.js";

const TABS = ["txt2img", "img2img"];
const shown = (value) => (typeof value === "string" ? value || "(empty)" : JSON.stringify(value));

export function startDefaults(root) {
  const find = (selector) => root.querySelector(selector);
  const say = sayIn(find(".said"));
  const memories = () => Object.fromEntries(TABS.map((tab) => [tab, memory.text(tab)]));

  const item = ({ tab, label, before, value }, change) =>
    make("li", {}, make("code", {}, tab), " ", make("b", {}, label), change ? make("span", { "data-plain": true }, `: ${shown(before)} → ${shown(value)}`) : make("span", { "data-plain": true }, `: ${shown(value)}`));

  function show({ changes, stored, undo, trouble }) {
    find(".changes").replaceChildren(...changes.map((one) => item(one, true)));
    find(".none-changed").hidden = changes.length > 0;
    find(".stored").replaceChildren(...stored.map((one) => item(one, false)));
    find(".stored-title").hidden = stored.length === 0;
    find(".store").disabled = !changes.length;
    find(".undo").disabled = !undo;
    say(trouble);
  }

  async function act(action, told) {
    try {
      show(await ask(`defaults/${action}`, { memories: memories() }));
      if (told) say(told, true);
    } catch (error) {
      say(error.message);
    }
  }

  root.addEventListener("toggle", () => root.open && act("view"));
  find(".view").addEventListener("click", () => act("view"));
  find(".store").addEventListener("click", () => act("apply", "The page begins with these values from now on."));
  find(".undo").addEventListener("click", () => act("undo", "The defaults are as they were before."));
}
