// A grid of any number of items, of which only those in sight (and a few rows around) are in the document. All cells are of
// one size. Pictures with `data-src` are asked for once scrolling pauses, so that those passed by hold nothing up. Arrow keys, Home, End and page keys move the focus between the cells' first buttons.

const AROUND = 2; // rows above and below that are kept ready
const PAUSE = 90; // milliseconds

export class VirtualGrid {
  // `draw(item, index)` makes a cell; it is called when the cell comes into sight.
  constructor(scroller, draw) {
    this.scroller = scroller;
    this.draw = draw;
    this.canvas = document.createElement("div");
    this.canvas.className = "canvas";
    scroller.append(this.canvas);
    this.items = [];
    this.size = { width: 168, height: 252, gap: 8 };
    this.cells = new Map(); // index -> element
    this.at = 0; // the cell that has the focus, or would take it
    let waiting = false;
    scroller.addEventListener("scroll", () => {
      clearTimeout(this.pause);
      this.pause = setTimeout(() => ((this.pause = null), this.load()), PAUSE);
      if (waiting) return;
      waiting = true;
      requestAnimationFrame(() => ((waiting = false), this.render()));
    }, { passive: true });
    scroller.addEventListener("keydown", (event) => this.onKey(event));
    scroller.addEventListener("focusin", ({ target }) => {
      const index = Number(target.closest("[data-index]")?.dataset.index ?? -1);
      if (index >= 0) this.mark(index);
    });
    new ResizeObserver(() => this.render(true)).observe(scroller);
  }

  // Shows these items; `keep`: from where it is scrolled to.
  set(items, size = this.size, keep = false) {
    this.items = items;
    this.size = size;
    this.at = Math.min(this.at, Math.max(0, items.length - 1));
    this.clear();
    if (!keep) {
      this.scroller.scrollTop = 0;
      this.at = 0;
    }
    this.render();
  }

  clear() {
    for (const cell of this.cells.values()) this.drop(cell);
    this.cells.clear();
  }

  layout() {
    const { width, height, gap } = this.size;
    const inside = this.scroller.clientWidth;
    const columns = Math.max(1, Math.floor((inside + gap) / (width + gap)));
    return { columns, cell: Math.min(width * 2, (inside - gap * (columns - 1)) / columns), step: height + gap };
  }

  render(again = false) {
    if (!this.scroller.clientWidth) return; // not shown
    const { columns, cell, step } = this.layout();
    if (again && columns === this.columns && cell === this.cell && this.cells.size) again = false;
    [this.columns, this.cell] = [columns, cell];
    if (again) this.clear();
    this.canvas.style.height = `${Math.max(0, Math.ceil(this.items.length / columns) * step - this.size.gap)}px`;
    const first = Math.max(0, Math.floor(this.scroller.scrollTop / step) - AROUND) * columns;
    const last = Math.min(this.items.length, (Math.ceil((this.scroller.scrollTop + this.scroller.clientHeight) / step) + AROUND) * columns);
    for (const [index, element] of this.cells) {
      if (index >= first && index < last) continue;
      if (element.contains(document.activeElement)) this.scroller.focus({ preventScroll: true });
      this.drop(element);
      this.cells.delete(index);
    }
    for (let index = first; index < last; index++) if (!this.cells.has(index)) this.add(index, columns, cell, step);
    if (!this.pause) this.load();
  }

  load() {
    for (const image of this.canvas.querySelectorAll("img[data-src]")) {
      image.src = image.dataset.src;
      delete image.dataset.src;
    }
  }

  drop(element) {
    for (const image of element.querySelectorAll("img")) if (!image.complete) image.removeAttribute("src"); // it is not asked for any more
    element.remove();
  }

  add(index, columns, cell, step) {
    const element = this.draw(this.items[index], index);
    const [row, column] = [Math.floor(index / columns), index % columns];
    Object.assign(element.style, {
      position: "absolute", top: `${row * step}px`, left: `${column * (cell + this.size.gap)}px`, width: `${cell}px`, height: `${this.size.height}px`,
    });
    element.dataset.index = index;
    element.setAttribute("aria-setsize", this.items.length);
    element.setAttribute("aria-posinset", index + 1);
    element.querySelector("button").tabIndex = index === this.at ? 0 : -1;
    this.cells.set(index, element);
    this.canvas.append(element);
  }

  // Draws the cells in sight again: something about their items has changed.
  refresh() {
    const focused = this.scroller.contains(document.activeElement);
    this.clear();
    this.render();
    if (focused) this.cells.get(this.at)?.querySelector("button").focus({ preventScroll: true });
  }

  mark(index) {
    const old = this.cells.get(this.at)?.querySelector("button");
    if (old) old.tabIndex = -1;
    this.at = index;
    const now = this.cells.get(index)?.querySelector("button");
    if (now) now.tabIndex = 0;
  }

  // Scrolls as far as is needed to see that cell, after the room for the grid has changed too.
  reveal(index) {
    this.render(true);
    const { step } = this.layout();
    const top = Math.floor(index / this.columns) * step;
    const { scrollTop, clientHeight } = this.scroller;
    if (top < scrollTop) this.scroller.scrollTop = top;
    else if (top + this.size.height > scrollTop + clientHeight) this.scroller.scrollTop = top + this.size.height - clientHeight;
    this.render();
  }

  focus(index) {
    this.reveal(index);
    this.mark(index);
    this.cells.get(index)?.querySelector("button").focus({ preventScroll: true });
  }

  onKey(event) {
    if (!this.items.length || event.ctrlKey || event.altKey || event.metaKey) return;
    const page = this.columns * Math.max(1, Math.floor(this.scroller.clientHeight / this.layout().step));
    const end = this.items.length - 1;
    const to = {
      ArrowLeft: this.at - 1, ArrowRight: this.at + 1, ArrowUp: this.at - this.columns, ArrowDown: this.at + this.columns,
      PageUp: Math.max(0, this.at - page), PageDown: Math.min(end, this.at + page), Home: 0, End: end,
    }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    if (to >= 0 && to <= end) this.focus(to);
  }
}
