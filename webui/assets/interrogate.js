// The buttons 📎 and 📦 of img2img: what the picture shows is written into the prompt.

import { send } from "./pictures.js";
import { label } from "./tab.js";

const MODELS = { interrogate: "clip", deepbooru: "deepdanbooru" };
const HINTS = {
  interrogate: "Interrogate CLIP - use CLIP neural network to create a text describing the image, and put it into the prompt field",
  deepbooru: "Interrogate DeepBooru - use DeepBooru neural network to create a text describing the image, and put it into the prompt field",
};

// `current` gives the editor whose picture is meant, `say` tells a sentence.
export function listenToInterrogators(current, say) {
  for (const [id, hint] of Object.entries(HINTS)) label(id, hint);
  document.addEventListener("click", async ({ target }) => {
    const button = target.closest?.("button");
    const model = MODELS[button?.id];
    if (!model || button.disabled) return;
    button.disabled = true;
    say("The picture is being looked at …");
    try {
      write(await told(current()?.blob, model));
      say("");
    } catch ({ message }) {
      say(message);
    }
    button.disabled = false;
  });
}

async function told(blob, model) {
  if (!blob) throw new Error("There is no picture to describe. Drop one into the field above.");
  const body = JSON.stringify({ upload: await send(blob), model });
  const options = { method: "POST", headers: { "Content-Type": "application/json" }, body };
  const answer = await fetch(new URL("atelier/interrogate", document.baseURI), options).catch(() => null);
  const found = await answer?.json().catch(() => null);
  if (!answer?.ok) throw new Error(found?.detail ?? "The server does not answer. Look whether it still runs.");
  return found.caption;
}

function write(text) {
  const area = document.querySelector("#img2img_prompt textarea");
  area.value = text;
  area.dispatchEvent(new Event("input", { bubbles: true })); // gradio, and the form's memory
}
