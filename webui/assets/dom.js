// Building the page's own elements: text is set as text, never as HTML.

export function make(name, values = {}, ...children) {
  const found = document.createElement(name);
  for (const [key, value] of Object.entries(values)) {
    if (key.startsWith("on")) found.addEventListener(key.slice(2), value);
    else if (key in found && key !== "list" && key !== "role") found[key] = value;
    else found.setAttribute(key, value);
  }
  found.append(...children);
  return found;
}

// A sign alone is called by its title.
export const button = (text, title, onclick, values = {}) =>
  make("button", { type: "button", textContent: text, title, onclick, ...(/[a-z]/i.test(text) ? {} : { "aria-label": title }), ...values });

// The files that the user picks; none if the dialog is closed.
export function pickFiles(accept, multiple = false, folder = false) {
  return new Promise((resolve) => {
    const input = make("input", { type: "file", accept, multiple, webkitdirectory: folder });
    input.addEventListener("change", () => resolve([...input.files]));
    input.addEventListener("cancel", () => resolve([]));
    input.click();
  });
}

export const filesOf = (transfer) => [...(transfer?.files ?? [])];

// As an image element, once it is decoded; raises an error for what is no picture.
export async function imageOf(blob) {
  const image = new Image();
  image.src = URL.createObjectURL(blob);
  await image.decode();
  return image;
}

export function download(blob, name) {
  const link = make("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
