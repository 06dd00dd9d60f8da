// What the user writes about a model: a dialog over the page. Kept by the server in A1111's X.json beside the file.

import { ask, bytes, make, sayIn } from "./models_dom.js";
import { tabs } from "./tabs.js";

const VERSIONS = ["Unknown", "SD1", "SD2", "SDXL"];
const LABELS = {
  description: "Description",
  notes: "Notes",
  vae: "Preferred VAE",
  "sd version": "Stable Diffusion version",
  "activation text": "Activation text",
  "preferred weight": "Preferred weight",
  "negative text": "Negative prompt",
};
const ONLY_LORA = ["sd version", "activation text", "preferred weight", "negative text"];
const HINTS = { "activation text": "Added to the prompt along with the card's tag", "preferred weight": "0: the default one", "negative text": "Added to the negative prompt", vae: "Counts while SD VAE is Automatic" };

// `whole`: its metadata are shown at once. `changed`: called after something was kept.
export async function openEditor({ kind, card, tab, whole, changed }) {
  const dialog = make("dialog", { class: "card-editor", "aria-label": `Edit ${card.stem}` });
  dialog.addEventListener("close", () => dialog.remove());
  const close = make("button", { type: "button", class: "close", "aria-label": "Close", onclick: () => dialog.close() }, "✕");
  const notice = make("p", { class: "notice", role: "status", hidden: true });
  const say = sayIn(notice);
  dialog.append(make("header", {}, make("h3", {}, card.stem), close), notice);
  document.body.append(dialog);
  dialog.showModal();
  try {
    const found = await ask(`cards/${card.id}/notes`);
    if (found.trouble) say(found.trouble);
    dialog.append(...form({ found, kind, tab, whole, say, changed }));
  } catch (error) {
    say(error.message);
  }
}

function form({ found, kind, tab, whole, say, changed }) {
  const names = Object.keys(LABELS).filter((name) => (name === "vae" ? kind === "Stable-diffusion" : kind === "Lora" || !ONLY_LORA.includes(name)));
  const choices = { "sd version": VERSIONS, vae: ["Automatic", "None", ...found.vaes] };
  const fields = Object.fromEntries(names.map((name) => [name, field(name, found.stored[name], found.known[name], choices[name])]));
  const attempt = async (path, body, done) => {
    try {
      await ask(`cards/${found.id}/${path}`, body);
      say(done, true);
      changed();
    } catch (error) {
      say(error.message);
    }
  };
  const save = () => attempt("notes", values(fields), "Saved.");
  const replace = () => {
    const picture = tabs[tab].panel?.selected();
    if (picture) attempt("preview", { image: picture.id }, "The picture shown in the gallery is the preview now.");
    else say(`No picture is shown in the gallery of ${tab}. Make one first.`);
  };
  const rows = names.map((name) => make("label", {}, LABELS[name], fields[name], HINTS[name] ? make("small", {}, HINTS[name]) : null));
  if (kind === "Lora" && found.tags.length) rows.splice(3, 0, tags(found.tags, fields["activation text"]));
  const buttons = [["Save", save, "primary admins"], ["Replace preview", replace, "admins"]].map(([text, onclick, name]) => make("button", { type: "button", class: name, onclick }, text));
  return [...rows, make("div", { class: "row" }, ...buttons), facts(found, whole)];
}

function field(name, value, known, choices) {
  if (choices) {
    const all = [...new Set([...choices, ...(value ? [String(value)] : [])])];
    const found = make("select", {}, ...all.map((choice) => make("option", { value: choice }, choice)));
    found.value = value || all[0];
    return found;
  }
  if (name === "preferred weight") {
    const found = make("input", { type: "number", min: 0, max: 2, step: 0.01 });
    found.value = typeof value === "number" ? value : 0;
    return found;
  }
  const found = make("textarea", { rows: name === "notes" || name === "description" ? 3 : 2, placeholder: known ?? "" });
  found.value = typeof value === "string" ? value : "";
  return found;
}

const values = (fields) =>
  Object.fromEntries(Object.entries(fields).map(([name, { type, value }]) => [name, type === "number" ? Number(value) : value]));

// Tags of the training pictures: a press adds one to the activation text, or takes it out. And a prompt by their frequencies.
function tags(counts, area) {
  const parts = () => area.value.split(",").map((part) => part.trim()).filter(Boolean);
  const toggle = (tag) => {
    const now = parts();
    area.value = (now.includes(tag) ? now.filter((part) => part !== tag) : [...now, tag]).join(", ");
  };
  const list = counts.map(([tag, count]) => make("button", { type: "button", class: "tag", onclick: () => toggle(tag) }, tag, make("small", {}, ` ${count}`)));
  const most = counts[0][1];
  const output = make("output", {});
  const random = () => (output.textContent = counts.filter(([, count]) => Math.random() < count / most).map(([tag]) => tag).join(", "));
  return make("div", { class: "tags", role: "group", "aria-label": "Training dataset tags" }, "Training dataset tags", make("div", { class: "row" }, ...list), make("div", { class: "row" }, make("button", { type: "button", onclick: random }, "Random prompt"), output));
}

function facts(found, whole) {
  const lines = [["Filename", found.name], ["File size", bytes(found.size)], ["Hash", found.sha256 ?? "not computed yet"], ["Family", found.family || "not known"]];
  const list = make("dl", {}, ...lines.flatMap(([name, text]) => [make("dt", {}, name), make("dd", {}, text)]));
  const text = make("pre", { tabindex: "0", "aria-label": "Metadata" }, JSON.stringify(found.metadata, null, 2));
  return make("div", {}, list, make("details", { open: whole }, make("summary", {}, "Metadata"), text));
}
