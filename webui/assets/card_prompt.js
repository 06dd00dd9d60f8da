// What pressing a card does to a prompt: its tag and trigger words are added; a second press takes them out again.

const last = new Map(); // tab -> the prompt that was typed in last

document.addEventListener("focusin", ({ target }) => {
  const found = target.closest?.("[id$=_prompt]")?.id.match(/^(txt2img|img2img)_(prompt|neg_prompt)$/);
  if (found) last.set(found[1], found[2]);
});

const plain = (text) => text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
const KINDS = { Lora: "lora|lyco", hypernetworks: "hypernet" };

// Where the card stands in a prompt: [from, to], or null.
export function found(prompt, kind, card) {
  const pattern = KINDS[kind]
    ? `<(?:${KINDS[kind]}):${plain(card.tag ?? "")}(?::[^<>]*)?>`
    : `(?<![^\\s,()\\[\\]|])${plain(card.stem)}(?![^\\s,()\\[\\]|:])`;
  const match = new RegExp(pattern, "i").exec(prompt);
  return match && [match.index, match.index + match[0].length];
}

// The prompt without what the card added, or null if it is not there.
export function without(prompt, kind, card, separator) {
  const place = found(prompt, kind, card);
  if (!place) return null;
  let [from, to] = place;
  const rest = prompt.slice(to);
  const gap = rest.match(/^[\s,]*/)[0].length;
  if (card.activation && rest.slice(gap).startsWith(card.activation)) to += gap + card.activation.length;
  if (separator && prompt.slice(0, from).endsWith(separator)) from -= separator.length;
  else if (separator && prompt.slice(to).startsWith(separator)) to += separator.length;
  return prompt.slice(0, from) + prompt.slice(to);
}

// What the card adds.
export function added(kind, card, { default_multiplier: multiplier, add_text_separator: separator }) {
  if (!KINDS[kind]) return card.stem;
  const tag = `<${KINDS[kind].split("|")[0]}:${card.tag}:${card.weight ?? multiplier}>`;
  return card.activation ? tag + (separator || " ") + card.activation : tag;
}

const box = (tab, name) => document.querySelector(`#${tab}_${name} textarea`);
export const prompts = (tab) => ["prompt", "neg_prompt"].map((name) => box(tab, name)?.value ?? "");

// Adds the card to the tab's prompt (an embedding: to the one that was typed in last), or takes it out; what was done.
export function press(tab, kind, card, options) {
  const separator = options.add_text_separator;
  const join = (text, more) => (text && !text.endsWith(separator || " ") ? text + separator : text) + more;
  for (const name of KINDS[kind] ? ["prompt"] : ["prompt", "neg_prompt"]) {
    const left = without(box(tab, name).value, kind, card, separator);
    if (left === null) continue;
    put(box(tab, name), left);
    if (card.negative) put(box(tab, "neg_prompt"), box(tab, "neg_prompt").value.replace(separator + card.negative, "").replace(card.negative, ""));
    return "removed";
  }
  const name = KINDS[kind] ? "prompt" : (last.get(tab) ?? "prompt");
  put(box(tab, name), join(box(tab, name).value, added(kind, card, options)));
  if (card.negative && KINDS[kind]) put(box(tab, "neg_prompt"), join(box(tab, "neg_prompt").value, card.negative));
  return "added";
}

export function put(area, text) {
  if (area.value === text) return;
  area.value = text;
  area.dispatchEvent(new Event("input", { bubbles: true })); // gradio, and the form's memory
}
