// From a gallery to another tab: the picture, and the settings it was made with.

import * as blobs from "./blobs.js";
import * as extras from "./extras.js";
import { pictures } from "./img2img.js";
import { keep, kept } from "./pictures.js";
import { sendSettings } from "./send_settings.js";

// `target`: a sub-tab of img2img, or "extras".
export async function send({ target, url, infotext, say }) {
  let blob;
  try {
    const answer = await fetch(url);
    if (!answer.ok) throw new Error("gone");
    blob = await answer.blob();
  } catch {
    say("This picture cannot be sent: its file is not there any more.");
    return;
  }
  await give(target, blob, `${decodeURIComponent(url.split("/").pop())}.png`);
  if (target === "extras") return;
  if (infotext) await sendSettings("img2img", infotext);
}

// The picture alone; its tab is shown.
export async function give(target, blob, name) {
  if (target === "extras") {
    extras.give(blob, name);
  } else if (pictures) {
    await pictures.receive(target, blob);
  } else {
    const state = kept(); // taken up when the tab is drawn
    state.slots[target] = { image: await blobs.put(blob), drawing: null };
    keep({ ...state, mode: target });
  }
  document.getElementById(`tab_${target === "extras" ? target : "img2img"}-button`)?.click();
}
