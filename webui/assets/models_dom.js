// Small helpers of the tab Models: elements, requests, numbers. All text is set as text, never as HTML.

// make("button", { class: "x", onclick: f, "aria-label": "y" }, "text", element, null)
export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined && child !== ""));
  return element;
}

// A link to another site, if that is what it is.
export const link = (url, text) =>
  /^https?:\/\//.test(url ?? "") ? make("a", { href: url, target: "_blank", rel: "noopener noreferrer" }, text) : text;

// The JSON that the server answers; throws an Error with its sentence.
export async function ask(path, body) {
  const url = new URL(`atelier/${path}`, document.baseURI);
  const sent = body === undefined ? {} : { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
  const answer = await fetch(url, sent).catch(() => null);
  if (!answer) throw new Error("The server does not answer. Look whether it still runs.");
  const found = await answer.json().catch(() => null);
  if (answer.ok && found) return found;
  throw new Error(found?.detail ?? `The server answers with status ${answer.status}. Its log may say why.`);
}

export function bytes(count) {
  if (count === null || count === undefined) return "size unknown";
  for (const [unit, size] of [["GB", 1e9], ["MB", 1e6], ["kB", 1e3]]) {
    if (count >= size) return `${Number((count / size).toFixed(count >= 100 * size ? 0 : 1))} ${unit}`;
  }
  return `${count} bytes`;
}

export function duration(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.round(whole / 60)} min`;
  return `${Math.floor(whole / 3600)} h ${Math.round((whole % 3600) / 60)} min`;
}

// A place for one sentence: say("") hides it.
export function sayIn(element) {
  return (text, good = false) => {
    element.hidden = !text;
    element.textContent = text;
    element.classList.toggle("failed", Boolean(text) && !good);
  };
}
