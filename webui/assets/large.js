// One picture over the whole window: arrows move on, Esc or a click closes.

export class LargeView {
  constructor(move) {
    this.dialog = document.createElement("dialog");
    this.dialog.className = "atelier-large";
    this.dialog.setAttribute("aria-label", "Picture");
    this.image = document.createElement("img");
    const close = Object.assign(document.createElement("button"), { type: "button", textContent: "✕" });
    close.setAttribute("aria-label", "Close");
    this.dialog.append(this.image, close);
    this.dialog.addEventListener("click", () => this.dialog.close());
    this.dialog.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (step) move(step);
    });
    document.body.append(this.dialog);
  }

  isOpen = () => this.dialog.open;

  show(source, words) {
    this.image.src = source;
    this.image.alt = words;
  }

  open(source, words) {
    this.show(source, words);
    this.dialog.showModal();
  }
}
