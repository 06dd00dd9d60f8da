// What the tab Extras works on: the pictures that were dropped, sent when Generate is pressed. All text is set as text.

import { make } from "./models_dom.js";
import { upload } from "./uploads.js";

const SINGLE = "extras_image";
const BATCH = "extras_image_batch";

const chosen = { mode: "Single Image", resize_mode: 0 };
const files = { [SINGLE]: [], [BATCH]: [] };
const fields = {}; // as far as gradio has drawn them

export function choose(what, value) {
  chosen[what] = value;
  return [];
}

// A field to drop pictures into; gradio may draw it again whenever its tab is shown.
export function startDrop(id, element) {
  const field = (fields[id] = element.querySelector(".drop"));
  const take = (found) => {
    const pictures = [...found].filter(({ type }) => type.startsWith("image/"));
    if (!pictures.length) return;
    files[id] = id === SINGLE ? pictures.slice(0, 1) : [...files[id], ...pictures];
    draw(id, field);
  };
  const pick = () => {
    const input = make("input", { type: "file", accept: "image/*", multiple: id === BATCH });
    input.addEventListener("change", () => take(input.files));
    input.click();
  };
  field.addEventListener("click", ({ target }) => target.closest("button") || pick());
  field.addEventListener("keydown", (event) => {
    if (event.target !== field || !["Enter", " "].includes(event.key)) return;
    event.preventDefault();
    pick();
  });
  field.addEventListener("dragover", (event) => {
    event.preventDefault();
    field.classList.add("over");
  });
  field.addEventListener("dragleave", () => field.classList.remove("over"));
  field.addEventListener("drop", (event) => {
    event.preventDefault();
    field.classList.remove("over");
    take(event.dataTransfer.files);
  });
  field.addEventListener("paste", (event) => take(event.clipboardData.files));
  draw(id, field);
}

function draw(id, field) {
  const place = field.querySelector(".chosen");
  for (const image of place.querySelectorAll("img")) URL.revokeObjectURL(image.src);
  const cards = files[id].map((file, i) => {
    const remove = make("button", { type: "button", "aria-label": `Leave out ${file.name}`, title: "Leave it out" }, "✕");
    remove.addEventListener("click", () => {
      files[id].splice(i, 1);
      draw(id, field);
      field.focus();
    });
    return make("figure", {}, make("img", { src: URL.createObjectURL(file), alt: file.name }), make("figcaption", {}, file.name), remove);
  });
  place.replaceChildren(...cards);
  field.classList.toggle("filled", cards.length > 0);
}

// A picture from elsewhere on the page becomes the single one; what is not drawn yet is drawn with it.
export function give(blob, name) {
  files[SINGLE] = [new File([blob], name, { type: blob.type })];
  chosen.mode = "Single Image";
  document.getElementById("extras_single_tab-button")?.click();
  const field = document.querySelector(`#${SINGLE} .drop`);
  if (field) draw(SINGLE, field);
}

// What the server is told; `tell` hears how far the sending is. Throws an Error with a sentence.
export async function gather(tell) {
  const found = { ...chosen, files: [] };
  if (chosen.mode === "Batch from Directory") return found;
  const wanted = files[chosen.mode === "Single Image" ? SINGLE : BATCH];
  for (const [i, file] of wanted.entries()) {
    if (wanted.length > 1) tell(`Sending picture ${i + 1} of ${wanted.length} …`);
    found.files.push([file.name, await send(file)]);
  }
  return found;
}

async function send(file) {
  const answer = await upload(file).catch(() => null);
  if (!answer) throw new Error("The server does not answer. Press Generate again when it does.");
  const told = await answer.json().catch(() => null);
  if (!answer.ok || !told) throw new Error(`${file.name}: ${told?.detail ?? "the server did not take it."}`);
  return told.sha256;
}
