// What a ControlNet unit's preprocessor makes of its picture: shown, and kept in the browser; and what it needs for that, fetched.

import * as blobs from "./blobs.js";
import { asked } from "./control.js";
import { button, make } from "./dom.js";
import { send } from "./pictures.js";

export class UnitPreview {
  constructor(unit) {
    Object.assign(this, { unit, hash: null });
    this.picture = make("img", { alt: "What the preprocessor makes of the picture", hidden: true });
    this.root = make("div", { className: "preview", hidden: true }, this.picture, make("p", { textContent: "💥 runs the preprocessor." }));
    this.fetch = button("Download", "", () => this.download(), { className: "admins fetching", hidden: true, id: `${unit.id}_download` });
  }

  async run() {
    const { control, fields, own, pictures } = this.unit;
    const { blob, layer } = pictures.editor;
    if (!blob) return control.say("There is no picture to run the preprocessor on. Drop one into the unit.");
    const { module, processor_res, threshold_a, threshold_b } = this.unit.value();
    const masks = layer.isEmpty() ? [] : [await base64(await layer.mask())];
    own.preview.value = true;
    this.unit.seen();
    try {
      const told = await asked("detect", { controlnet_module: fields.module.value ?? module, controlnet_input_images: [await base64(blob)], controlnet_masks: masks, controlnet_processor_res: processor_res, controlnet_threshold_a: threshold_a, controlnet_threshold_b: threshold_b });
      if (!told.images.length) return control.say(told.texts?.[0] ?? "This preprocessor makes no picture.");
      await this.take(await (await fetch(`data:image/png;base64,${told.images[0]}`)).blob());
    } catch (error) {
      control.say(error.message);
    }
  }

  async take(made) {
    this.show(made);
    this.hash = await send(made);
    const old = this.unit.keys.preview;
    this.unit.keep({ preview: await blobs.put(made) });
    if (old) await blobs.remove(old);
    this.unit.changed();
  }

  async restore(key) {
    const made = key && (await blobs.get(key));
    if (!made) return;
    this.show(made);
    this.hash = await send(made).catch(() => null);
  }

  show(made) {
    if (this.picture.src) URL.revokeObjectURL(this.picture.src);
    Object.assign(this.picture, { src: URL.createObjectURL(made), hidden: false });
  }

  // -- what a preprocessor lacks --

  offer(missing) {
    this.fetch.hidden = !missing.length;
    this.fetch.title = `Fetch what it needs: ${missing.map(({ file, size }) => `${file} (${Math.max(1, Math.round(size / 1e6))} MB)`).join(", ")}`;
  }

  async download() {
    const { control, fields } = this.unit;
    const { name } = control.needs[fields.module.value];
    const answer = await fetch(new URL(`atelier/preprocessors/${encodeURIComponent(name)}/download`, document.baseURI), { method: "POST" }).catch(() => null);
    const told = await answer?.json().catch(() => null);
    control.say(answer?.ok ? "It is in the list of downloads (tab Models). Run the preprocessor when it is here; 🔄 looks again." : (told?.detail ?? "The download cannot be begun. Is the server running?"));
  }
}

function base64(blob) {
  return new Promise((done) => {
    const reader = new FileReader();
    reader.onload = () => done(reader.result.split(",")[1]);
    reader.readAsDataURL(blob);
  });
}
