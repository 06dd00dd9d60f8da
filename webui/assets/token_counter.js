// The counters in the upper right corners of the prompts: tokens of so many, under A1111's ids.

import { make } from "./dom.js";

const BOXES = {
  prompt: ["prompt", "token_counter"],
  negative_prompt: ["neg_prompt", "negative_token_counter"],
};

export function showCounts(tab, counts) {
  for (const [field, [box, name]] of Object.entries(BOXES)) {
    const counter = at(tab, box, name);
    const count = counts?.[field];
    if (counter) counter.hidden = !count;
    if (!counter || !count) continue;
    const text = `${count.exact ? "" : "≈"}${count.tokens}/${count.room}`;
    if (counter.textContent !== text) counter.textContent = text;
    counter.title = words(count);
    counter.classList.toggle("over", count.tokens > count.room);
  }
}

function words({ tokens, room, exact, varies }) {
  const said = [`${tokens} of ${room} tokens.`];
  if (room > 75 && room % 75 === 0) said.push(`${room / 75} chunks of 75 are read one by one.`);
  if (varies) said.push("Of the first of the template's variants.");
  if (!exact) said.push("Counted by CLIP's tokenizer, for the checkpoint's own is not in models/tokenizers yet.");
  return said.join(" ");
}

function at(tab, box, name) {
  const id = `${tab}_${name}`;
  const block = document.getElementById(`${tab}_${box}`);
  if (!block) return null;
  return document.getElementById(id) ?? block.appendChild(make("span", { id, className: "token-counter", hidden: true }));
}
