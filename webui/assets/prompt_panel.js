// A panel over the page below the prompts, which stay in sight: opened by its button, closed by Esc, ✕ or a press elsewhere.

export class PromptPanel {
  constructor(root, name, onopen) {
    this.root = root.querySelector(`dialog.${name}`);
    this.button = root.querySelector(`.open-${name}`);
    this.find = (selector) => this.root.querySelector(selector);
    this.button.setAttribute("aria-expanded", "false");
    this.button.onclick = () => (this.root.open ? this.close() : this.open(onopen));
    this.find(".close").onclick = () => this.close();
    document.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || !this.root.open || !this.button.isConnected) return;
      event.preventDefault();
      this.close();
    });
    document.addEventListener("pointerdown", ({ target }) => {
      if (this.root.open && target.isConnected && !this.root.contains(target) && !root.contains(target) && !target.closest(".prompts")) this.close(false);
    });
  }

  open(onopen) {
    for (const other of document.querySelectorAll("dialog.prompt-panel[open]")) other.close();
    this.root.show();
    this.button.setAttribute("aria-expanded", "true");
    this.root.onclose = () => this.button.setAttribute("aria-expanded", "false");
    onopen();
  }

  close(back = true) {
    this.root.close();
    if (back) this.button.focus();
  }
}

// The server's answer, or an error with its sentence.
export async function askPrompts(path, method = "GET", body = undefined) {
  const answer = await fetch(new URL(`atelier/prompts/${path}`, document.baseURI), {
    method,
    ...(body === undefined ? {} : { headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) }),
  }).catch(() => null);
  const told = await answer?.json().catch(() => null);
  if (!answer?.ok) throw new Error(told?.detail ?? "The server does not answer. Is it running?");
  return told;
}
