// Settings of a picture on their way to the form of a tab: they wait here until gradio asks for them.

const PATIENCE = 15_000; // milliseconds for gradio to draw a tab that was not shown before
const waiting = new Map(); // tab -> {infotext, groups}

// Opens the tab and has its form take the infotext: `groups` of its settings, or all; `pasted`: it comes from outside.
export async function sendSettings(tab, infotext, groups = null, pasted = false) {
  waiting.set(tab, { infotext, groups, pasted });
  document.querySelector(`#tab_${tab}-button`)?.click();
  (await drawn(`${tab}_receive`))?.click();
}

// What the tab's hidden button asks for: the message, and what the form holds now.
export function receiving(tab, _message, entries, prompt, checkpoint) {
  const sent = waiting.get(tab) ?? { infotext: "" };
  waiting.delete(tab);
  return [JSON.stringify({ ...sent, prompt }), entries, prompt, checkpoint];
}

async function drawn(id) {
  const end = performance.now() + PATIENCE;
  while (performance.now() < end) {
    const found = document.getElementById(id);
    if (found) return found;
    await new Promise(requestAnimationFrame);
  }
  return null;
}
