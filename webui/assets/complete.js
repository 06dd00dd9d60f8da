// Completion while typing in prompts: the server is asked for what the word at the cursor may become, and a list shows it.
// Nothing in it is chosen until the arrows say so: Enter stays a line break, and Tab takes the first.

import { CompletionList } from "./complete_list.js";
import { PROMPTS } from "./weights.js";

const PAUSE = 70; // milliseconds after the last key
const list = new CompletionList((completion) => put(completion));
const state = { active: true, area: null, timer: 0, asked: null, length: 0, putting: false };

// What the server says of the settings.
export function adjustCompletion({ tac_active: active }) {
  state.active = active;
  if (!active) close();
}

export function listenToCompletion() {
  document.addEventListener("input", ({ target, isComposing, isTrusted }) => isComposing || typed(target, isTrusted));
  document.addEventListener("compositionend", ({ target }) => typed(target, true)); // of Chinese, Japanese, Korean
  window.addEventListener("keydown", press, { capture: true }); // before those that interrupt, weigh and generate
  document.addEventListener("focusout", ({ target }) => target === state.area && close());
  document.addEventListener("selectionchange", () => {
    if (list.open && document.activeElement === state.area && state.area.selectionEnd !== list.at) close();
  });
  window.addEventListener("resize", () => list.follow()); // the prompt grows with its text, a telephone's keyboard opens
  document.addEventListener("scroll", ({ target }) => list.root.contains(target) || list.follow(), { capture: true, passive: true });
}

// `really`: by the user, not by a script that weighs a word or fills the form.
function typed(target, really) {
  if (!target.matches?.(PROMPTS) || state.putting) return;
  if (!state.active || !really || document.activeElement !== target) return close();
  state.area = target;
  clearTimeout(state.timer);
  state.timer = setTimeout(ask, PAUSE);
}

function close() {
  clearTimeout(state.timer);
  state.asked?.abort();
  list.hide();
}

async function ask() {
  const { area } = state;
  state.asked?.abort();
  state.asked = new AbortController();
  const at = area.selectionEnd;
  if (at !== area.selectionStart) return close();
  const before = area.value.slice(Math.max(at - 300, 0), at);
  try {
    const answer = await fetch(new URL("atelier/prompts/complete", document.baseURI), {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ before: before.toWellFormed?.() ?? before, negative: /neg/.test(area.closest("[id]").id) }),
      signal: state.asked.signal,
    });
    const told = answer.ok ? await answer.json() : { completions: [] };
    if (document.activeElement !== area || area.selectionEnd !== at) return;
    state.length = told.length;
    list.show(area, at, at - told.length, told.completions);
  } catch {
    list.hide(); // another question was asked, or the server is away
  }
}

function press(event) {
  const { key, target } = event;
  if (!list.open || target !== state.area || event.isComposing) return;
  const plain = !(event.ctrlKey || event.metaKey || event.altKey || event.shiftKey);
  if (!plain) {
    if (key === "Enter" || key === "Tab") close();
    return;
  }
  if (key === "ArrowDown" || key === "ArrowUp") list.move(key === "ArrowDown" ? 1 : -1);
  else if (key === "Tab" || (key === "Enter" && list.chosen)) put(list.chosen ?? list.completions[0]);
  else if (key === "Escape") close();
  else return;
  event.preventDefault();
  event.stopImmediatePropagation();
}

// Writes it as if it had been typed, so that the browser can undo it.
function put({ insert }) {
  const { area, length } = state;
  const at = list.at;
  const after = area.value.slice(at);
  let text = insert;
  let end = at;
  if (text.startsWith("<")) end += after.match(/^[^<>,\n]*>/)?.[0].length ?? 0;
  if (text.startsWith("__")) end += after.match(/^[^\s,]*?__/)?.[0].length ?? 0;
  if (text.endsWith(", ") && /^\s*,/.test(after)) text = text.slice(0, -2);
  close();
  state.putting = true;
  area.focus();
  area.setSelectionRange(at - length, end);
  if (!document.execCommand("insertText", false, text)) {
    area.setRangeText(text, at - length, end, "end");
    area.dispatchEvent(new Event("input", { bubbles: true }));
  }
  state.putting = false;
}
