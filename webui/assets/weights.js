// Ctrl+Up and Ctrl+Down change the weight of what is selected in a prompt, or of the word at the cursor; Alt+Left and Alt+Right move
// what stands between two commas. As in A1111; gradio's text boxes know no such keys.

export const PROMPTS = "[id$=_prompt] textarea, [id*=ad_prompt_] textarea, [id*=ad_negative_prompt_] textarea";
const WHITE = { Tab: "\t", "Carriage Return": "\r", "Line Feed": "\n" };
const BRACKETS = { "(": ")", "<": ">" };
const settings = { attention: 0.1, extra: 0.05, delimiters: ".,\\/!?%^*;:{}=`~() \t\r\n", move: true };

// What the server says of them.
export function adjust(told) {
  settings.attention = told.keyedit_precision_attention;
  settings.extra = told.keyedit_precision_extra;
  settings.delimiters = told.keyedit_delimiters + told.keyedit_delimiters_whitespace.map((name) => WHITE[name]).join("");
  settings.move = told.keyedit_move;
}

export function listenToWeights() {
  document.addEventListener("keydown", (event) => {
    const { key, ctrlKey, metaKey, altKey, target } = event;
    if (!target.matches?.(PROMPTS)) return;
    const given = [target.value, target.selectionStart, target.selectionEnd];
    let found = null;
    if ((ctrlKey || metaKey) && (key === "ArrowUp" || key === "ArrowDown")) {
      event.preventDefault();
      found = weighted(...given, key === "ArrowUp" ? 1 : -1);
    } else if (altKey && settings.move && (key === "ArrowLeft" || key === "ArrowRight")) {
      event.preventDefault();
      found = moved(...given, key === "ArrowLeft" ? -1 : 1);
    }
    if (!found) return;
    [target.value] = found;
    target.setSelectionRange(found[1], found[2]);
    target.dispatchEvent(new Event("input", { bubbles: true }));
  });
}

// [text, start and end of the selection] with the weight one step up or down; null if there is nothing to weigh.
export function weighted(text, start, end, direction) {
  if (start === end) [start, end] = block(text, start, "(") ?? block(text, start, "<") ?? word(text, start);
  while (end > start && text[end - 1] === " ") end--;
  if (start === end) return null;
  const network = text[start - 1] === "<";
  const close = BRACKETS[text[start - 1]];
  const said = close && weightAfter(text, end, close);
  const before = said ? text.slice(0, start) : `${text.slice(0, start)}(`;
  const after = said ? text.slice(said.end) : text.slice(end);
  const inside = text.slice(start, end);
  const step = network ? settings.extra : settings.attention;
  const weight = Number(((said?.weight ?? 1) + direction * step).toPrecision(12));
  if (weight === 1 && !network) {
    const from = before.length - 1;
    return [before.slice(0, -1) + inside + after, from, from + inside.length];
  }
  const shown = Number.isInteger(weight) && !network ? `${weight}.0` : `${weight}`;
  return [`${before}${inside}:${shown}${close && said ? close : ")"}${after}`, before.length, before.length + inside.length];
}

// The inside, without its weight, of the brackets that the cursor is in.
function block(text, at, open) {
  const close = BRACKETS[open];
  const from = text.lastIndexOf(open, at - 1);
  if (at === 0 || from < 0 || text.lastIndexOf(close, at - 1) > from) return null;
  const to = text.indexOf(close, at);
  const next = text.indexOf(open, at);
  if (to < 0 || (next >= 0 && next < to)) return null;
  const colon = text.lastIndexOf(":", to);
  return [from + 1, colon > from && /^:\s*[-+]?[\d.]+\s*$/.test(text.slice(colon, to)) ? colon : to];
}

function word(text, at) {
  const parts = (i) => settings.delimiters.includes(text[i]);
  let [start, end] = [at, at];
  while (start > 0 && !parts(start - 1)) start--;
  while (end < text.length && !parts(end)) end++;
  return [start, end];
}

// The weight that stands behind, up to its bracket; brackets without one weigh 1.1.
function weightAfter(text, end, close) {
  if (text[end] === close) return { weight: close === ")" ? 1.1 : 1, end: end + 1 };
  const found = /^:\s*([-+]?\d*\.?\d+)\s*([)>])/.exec(text.slice(end, end + 40));
  return found && found[2] === close ? { weight: Number(found[1]), end: end + found[0].length } : null;
}

// The text with the element at the cursor one place further; null at the ends.
export function moved(text, start, end, direction) {
  const parts = text.split(",");
  const ends = [];
  parts.reduce((sum, part, i) => (ends[i] = sum + part.length + 1), 0);
  const first = ends.findIndex((at) => start < at);
  const other = first + direction;
  if (first < 0 || other < 0 || other >= parts.length) return null;
  const trimmed = parts.map((part) => part.trim());
  const gaps = parts.map((part) => [part.slice(0, part.length - part.trimStart().length), part.slice(part.trimEnd().length)]);
  const offset = start - (ends[first] - parts[first].length - 1) - gaps[first][0].length;
  [trimmed[first], trimmed[other]] = [trimmed[other], trimmed[first]];
  const made = trimmed.map((part, i) => gaps[i][0] + part + gaps[i][1]);
  const at = made.slice(0, other).reduce((sum, part) => sum + part.length + 1, 0) + gaps[other][0].length;
  const cursor = at + Math.max(Math.min(offset, trimmed[other].length), 0);
  return [made.join(","), cursor, cursor + Math.min(end - start, trimmed[other].length)];
}
