// What gradio's events call in the tab img2img: its pictures, and the sizes they come to.

import { withControl } from "./control.js";
import { listenToInterrogators } from "./interrogate.js";
import { Pictures } from "./pictures.js";
import { label } from "./tab.js";
import { tabs } from "./tabs.js";

export let pictures = null; // once gradio has drawn the tab
const size = { width: 0, height: 0, by: "", scale: 1 };

export function startPictures(element) {
  const say = (text) => tabs.img2img.panel?.say(text);
  pictures = new Pictures(element.querySelector(".pictures"), {
    say,
    resized: tellSize,
    size: () => [size.width || 512, size.height || 512],
    selected: () => tabs.img2img.panel?.selected(),
  });
  listenToInterrogators(() => pictures.current(), say);
  label("img2img_detect_image_size_btn", "Auto detect size from img2img");
}

export async function pressImg2img(tab, _memory, _answer, _pictures, ...values) {
  const [id, job] = tabs[tab].press([]);
  let said;
  try {
    said = await pictures.gather((words) => tabs[tab].panel.tell(words), id);
  } catch (error) {
    said = { refused: error.message };
  }
  return [id, job, JSON.stringify(said), ...(await withControl(tab, values))];
}

export function sized(width, height, by, scale) {
  Object.assign(size, { width, height, by, scale });
  document.body.dataset.resize = by;
  pictures?.canvas.place();
  tellSize();
}

// "from ... to ...", as A1111 says it.
function tellSize() {
  const line = document.querySelector("#img2img_scale_resolution_preview .from-to");
  const editor = pictures?.current();
  if (!line) return;
  const to = (side) => Math.floor(Math.floor(side * size.scale) / 8) * 8;
  line.textContent = editor?.blob ? `resize: from ${editor.width}x${editor.height} to ${to(editor.width)}x${to(editor.height)}` : "";
}

export function detectSize(tab, width, height) {
  const editor = pictures?.current();
  if (!editor?.blob) return [width, height];
  const sides = [editor.width, editor.height].map((side) => Math.min(2048, Math.max(64, Math.round(side / 8) * 8)));
  tabs[tab].touch({ width: sides[0], height: sides[1] });
  return sides;
}

export function chooseSource(source) {
  document.body.dataset.batchSource = source;
}
