// A picture, or a text file, dropped on a tab's prompts: the form takes its settings.

import { pictureOf, readPicture } from "./png_info.js";
import { sendSettings } from "./send_settings.js";

const LONGEST = 10_000; // letters of a text file, as in A1111

export function listenToDrops(tab, say) {
  const prompts = document.querySelector(`#${tab}_toprow .prompts`);
  if (!prompts || prompts.dataset.drops) return;
  prompts.dataset.drops = "";
  prompts.addEventListener("dragover", (event) => {
    if (event.dataTransfer?.types.includes("Files")) event.preventDefault();
  });
  prompts.addEventListener("drop", async (event) => {
    const { dataTransfer } = event;
    if (!dataTransfer?.files.length) return; // words that are dragged: the field takes them by itself
    event.preventDefault();
    event.stopPropagation();
    say("");
    try {
      await sendSettings(tab, await settingsIn(dataTransfer), null, true);
    } catch (error) {
      say(error.message);
    }
  });
}

async function settingsIn(transfer) {
  const picture = pictureOf(transfer);
  if (picture) {
    const { infotext } = await readPicture(picture);
    if (infotext) return infotext;
    throw new Error("This picture tells of no settings. The tab PNG Info shows all that it holds.");
  }
  const file = transfer.files[0];
  if (file.type === "text/plain" && file.size < LONGEST * 4) {
    const text = await file.text();
    if (text.trim() && text.length < LONGEST) return text;
  }
  throw new Error(`${file.name} is no picture, and no text file of less than ${LONGEST} letters.`);
}
