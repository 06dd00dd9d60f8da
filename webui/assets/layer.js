// What is drawn over a picture: strokes, fills, undo and redo. A canvas of our own because gradio's ImageEditor can
// neither be kept over a reload nor load, save, fill or fade a mask.

const STEPS = 60; // that can be undone
const LARGEST = 16_000_000; // pixels: more than that some browsers refuse; the server enlarges what is smaller

const canvasOf = (width, height) => Object.assign(document.createElement("canvas"), { width, height });
const blobOf = (canvas) => new Promise((resolve) => canvas.toBlob(resolve, "image/png"));

export class Layer {
  constructor() {
    this.canvas = canvasOf(1, 1);
    this.scale = 1; // canvas pixels a picture pixel
    this.forget();
  }

  forget() {
    this.past = [];
    this.future = [];
    this.stroke = null;
  }

  get context() {
    return this.canvas.getContext("2d", { willReadFrequently: true });
  }

  resize(width, height) {
    this.scale = Math.min(1, Math.sqrt(LARGEST / (width * height)));
    this.canvas.width = Math.max(1, Math.round(width * this.scale)); // setting it clears it
    this.canvas.height = Math.max(1, Math.round(height * this.scale));
    this.before = canvasOf(this.canvas.width, this.canvas.height);
    this.before.getContext("2d", { willReadFrequently: true });
    this.forget();
  }

  // -- strokes; points are in picture pixels --

  begin(point, style) {
    const copy = this.before.getContext("2d");
    copy.globalCompositeOperation = "copy";
    copy.drawImage(this.canvas, 0, 0);
    this.stroke = { ...style, width: style.width * this.scale, points: [], box: null };
    this.extend(point);
  }

  extend({ x, y }) {
    const { points, width } = this.stroke;
    points.push([x * this.scale, y * this.scale]);
    const [left, top] = points.at(-1);
    const reach = width / 2 + 2;
    this.stroke.box = joined(this.stroke.box, [left - reach, top - reach, left + reach, top + reach]);
    this.draw();
  }

  // The whole path anew at every point: where a stroke crosses itself its opacity does not add up.
  draw() {
    const { points, width, colour, opacity, erase } = this.stroke;
    const [x, y, w, h] = this.clipped(this.stroke.box);
    const { context } = this;
    if (!w || !h) return;
    context.clearRect(x, y, w, h);
    context.drawImage(this.before, x, y, w, h, x, y, w, h);
    context.save();
    context.globalCompositeOperation = erase ? "destination-out" : "source-over";
    context.globalAlpha = erase ? 1 : opacity;
    Object.assign(context, { strokeStyle: colour, lineWidth: width, lineCap: "round", lineJoin: "round" });
    context.beginPath();
    context.moveTo(...points[0]);
    for (const point of points) context.lineTo(...point);
    context.stroke();
    context.restore();
  }

  end() {
    if (this.stroke) this.record(this.clipped(this.stroke.box));
    this.stroke = null;
  }

  // A second finger came: it was no stroke but the beginning of a pinch.
  cancel() {
    if (!this.stroke) return;
    this.stroke = null;
    this.context.clearRect(0, 0, this.canvas.width, this.canvas.height);
    this.context.drawImage(this.before, 0, 0);
  }

  clipped([left, top, right, bottom]) {
    const [x, y] = [Math.max(0, Math.floor(left)), Math.max(0, Math.floor(top))];
    return [x, y, Math.min(this.canvas.width, Math.ceil(right)) - x, Math.min(this.canvas.height, Math.ceil(bottom)) - y].map(
      (side) => Math.max(0, side),
    );
  }

  // -- everything at once --

  change(draw) {
    const copy = this.before.getContext("2d");
    copy.globalCompositeOperation = "copy";
    copy.drawImage(this.canvas, 0, 0);
    draw(this.context, this.canvas);
    this.record([0, 0, this.canvas.width, this.canvas.height]);
  }

  clear() {
    this.change((context, { width, height }) => context.clearRect(0, 0, width, height));
  }

  show(image) {
    this.change((context, { width, height }) => {
      context.clearRect(0, 0, width, height);
      context.drawImage(image, 0, 0, width, height);
    });
  }

  // A file as a mask: what is bright is masked.
  showMask(image, colour) {
    this.change((context, { width, height }) => {
      context.clearRect(0, 0, width, height);
      context.drawImage(image, 0, 0, width, height);
      const pixels = context.getImageData(0, 0, width, height);
      const { data } = pixels;
      const [red, green, blue] = channels(colour);
      for (let i = 0; i < data.length; i += 4) {
        const grey = 0.299 * data[i] + 0.587 * data[i + 1] + 0.114 * data[i + 2];
        data.set([red, green, blue, (grey * data[i + 3]) / 255], i);
      }
      context.putImageData(pixels, 0, 0);
    });
  }

  // A mask of the picture's size, white where it is, added in that colour or rubbed out; what is drawn elsewhere stays.
  lay(image, colour, erase) {
    this.change((context, { width, height }) => {
      const mask = canvasOf(width, height);
      const part = mask.getContext("2d", { willReadFrequently: true });
      part.drawImage(image, 0, 0, width, height);
      const pixels = part.getImageData(0, 0, width, height);
      const { data } = pixels;
      for (let i = 0; i < data.length; i += 4) data.set([...channels(colour), data[i]], i);
      part.putImageData(pixels, 0, 0);
      context.save();
      context.globalCompositeOperation = erase ? "destination-out" : "source-over";
      context.drawImage(mask, 0, 0);
      context.restore();
    });
  }

  // What is joined to that point and as free (or as painted) as it is takes the colour.
  fill({ x, y }, colour, opacity) {
    const [left, top] = [Math.floor(x * this.scale), Math.floor(y * this.scale)];
    const { width, height } = this.canvas;
    if (left < 0 || top < 0 || left >= width || top >= height) return;
    this.change((context) => {
      const pixels = context.getImageData(0, 0, width, height);
      flood(pixels, left, top, [...channels(colour), Math.round(opacity * 255)]);
      context.putImageData(pixels, 0, 0);
    });
  }

  // -- undo and redo --

  record([x, y, w, h]) {
    if (!w || !h) return;
    const take = (canvas) => canvas.getContext("2d").getImageData(x, y, w, h);
    this.past.push({ x, y, before: take(this.before), after: take(this.canvas) });
    if (this.past.length > STEPS) this.past.shift();
    this.future = [];
  }

  undo() {
    const step = this.past.pop();
    if (!step) return;
    this.context.putImageData(step.before, step.x, step.y);
    this.future.push(step);
  }

  redo() {
    const step = this.future.pop();
    if (!step) return;
    this.context.putImageData(step.after, step.x, step.y);
    this.past.push(step);
  }

  // -- what is there --

  isEmpty() {
    const { data } = this.context.getImageData(0, 0, this.canvas.width, this.canvas.height);
    for (let i = 3; i < data.length; i += 4) if (data[i]) return false;
    return true;
  }

  picture = () => blobOf(this.canvas);

  // White where something is drawn, black elsewhere.
  mask() {
    const found = canvasOf(this.canvas.width, this.canvas.height);
    const context = found.getContext("2d");
    context.drawImage(this.canvas, 0, 0);
    for (const [mode, colour] of [["source-in", "#fff"], ["destination-over", "#000"]]) {
      context.globalCompositeOperation = mode;
      context.fillStyle = colour;
      context.fillRect(0, 0, found.width, found.height);
    }
    return blobOf(found);
  }
}

const joined = (box, more) =>
  box ? [...box.slice(0, 2).map((v, i) => Math.min(v, more[i])), ...box.slice(2).map((v, i) => Math.max(v, more[i + 2]))] : more;

const channels = (colour) => [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));

function flood({ data, width, height }, x, y, paint) {
  const seen = new Uint8Array(width * height);
  const painted = data[(y * width + x) * 4 + 3] >= 128;
  const open = (at) => !seen[at] && data[at * 4 + 3] >= 128 === painted;
  const waiting = [y * width + x];
  while (waiting.length) {
    const at = waiting.pop();
    if (!open(at)) continue;
    const row = at - (at % width);
    let from = at;
    let to = at;
    while (from > row && open(from - 1)) from -= 1;
    while (to < row + width - 1 && open(to + 1)) to += 1;
    for (let i = from; i <= to; i += 1) {
      seen[i] = 1;
      data.set(paint, i * 4);
      if (i >= width && open(i - width)) waiting.push(i - width);
      if (i + width < width * height && open(i + width)) waiting.push(i + width);
    }
  }
}
