// Zooming and panning of what lies in a frame, by wheel, drag and two fingers; and which pointer draws.

const NEAREST = 32; // times

export class View {
  // `hand` is told begin(point), extend(point), end(), cancel(); its wantsPan() says whether a drag moves the picture.
  constructor(frame, surface, hand) {
    Object.assign(this, { frame, surface, hand, width: 1, height: 1, x: 0, y: 0, scale: 1, fitted: true });
    this.pointers = new Map();
    this.mode = null; // "draw", "pan", "pinch"
    frame.addEventListener("pointerdown", (event) => this.onDown(event));
    frame.addEventListener("pointermove", (event) => this.onMove(event));
    for (const name of ["pointerup", "pointercancel"]) frame.addEventListener(name, (event) => this.onUp(event));
    frame.addEventListener("wheel", (event) => this.onWheel(event), { passive: false });
    new ResizeObserver(() => this.fitted && this.fit()).observe(frame);
  }

  show(width, height) {
    Object.assign(this, { width, height });
    Object.assign(this.surface.style, { width: `${width}px`, height: `${height}px` });
    this.fit();
  }

  fit() {
    const { clientWidth, clientHeight } = this.frame;
    if (!clientWidth || !clientHeight) return;
    this.scale = Math.min(clientWidth / this.width, clientHeight / this.height);
    this.x = (clientWidth - this.width * this.scale) / 2;
    this.y = (clientHeight - this.height * this.scale) / 2;
    this.fitted = true;
    this.place();
  }

  place() {
    this.surface.style.transform = `translate(${this.x}px, ${this.y}px) scale(${this.scale})`;
    this.hand.placed?.(this.scale);
  }

  // `centre`: the place of the frame, in its pixels, that stays where it is.
  zoom(factor, centre = [this.frame.clientWidth / 2, this.frame.clientHeight / 2]) {
    const scale = Math.min(NEAREST, Math.max(0.02, this.scale * factor));
    this.x = centre[0] - ((centre[0] - this.x) * scale) / this.scale;
    this.y = centre[1] - ((centre[1] - this.y) * scale) / this.scale;
    this.scale = scale;
    this.fitted = false;
    this.place();
  }

  move(dx, dy) {
    this.x += dx;
    this.y += dy;
    this.fitted = false;
    this.place();
  }

  inFrame({ clientX, clientY }) {
    const box = this.frame.getBoundingClientRect();
    return [clientX - box.left - this.frame.clientLeft, clientY - box.top - this.frame.clientTop];
  }

  // In pixels of the picture.
  point(event) {
    const [x, y] = this.inFrame(event);
    return { x: (x - this.x) / this.scale, y: (y - this.y) / this.scale };
  }

  // -- pointers --

  onDown(event) {
    if (event.button > 1 || event.target.closest("button, label, input")) return;
    this.frame.setPointerCapture(event.pointerId);
    this.pointers.set(event.pointerId, this.inFrame(event));
    if (this.pointers.size === 2) {
      if (this.mode === "draw") this.hand.cancel();
      this.mode = "pinch";
    } else if (this.pointers.size === 1) {
      this.mode = event.button === 1 || this.hand.wantsPan(this.point(event)) ? "pan" : "draw";
      if (this.mode === "draw") this.hand.begin(this.point(event));
    }
    if (event.pointerType !== "touch") this.frame.focus({ preventScroll: true });
    event.preventDefault();
  }

  onMove(event) {
    const before = this.pointers.get(event.pointerId);
    this.hand.hover?.(this.inFrame(event));
    if (!before) return;
    const now = this.inFrame(event);
    if (this.mode === "pinch") this.pinch(event.pointerId, before, now);
    this.pointers.set(event.pointerId, now);
    if (this.mode === "pan") this.move(now[0] - before[0], now[1] - before[1]);
    if (this.mode !== "draw") return;
    const parts = event.getCoalescedEvents?.() ?? [];
    for (const part of parts.length ? parts : [event]) this.hand.extend(this.point(part));
  }

  onUp(event) {
    if (!this.pointers.delete(event.pointerId)) return;
    if (this.mode === "draw") this.hand.end();
    if (!this.pointers.size || this.mode === "draw") this.mode = null;
  }

  pinch(id, before, now) {
    const other = [...this.pointers].find(([key]) => key !== id)?.[1];
    if (!other) return;
    const apart = ([x, y]) => Math.hypot(x - other[0], y - other[1]) || 1;
    this.zoom(apart(now) / apart(before), [(now[0] + other[0]) / 2, (now[1] + other[1]) / 2]);
    this.move((now[0] - before[0]) / 2, (now[1] - before[1]) / 2);
  }

  // As in A1111: Alt zooms, Ctrl changes the brush; without them the page scrolls.
  onWheel(event) {
    if (!event.altKey && !event.ctrlKey) return;
    const up = (event.deltaY || event.deltaX) < 0;
    if (event.altKey) this.zoom(up ? 1.15 : 1 / 1.15, this.inFrame(event));
    else this.hand.wheel?.(up);
    event.preventDefault();
  }
}
