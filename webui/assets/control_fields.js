// Fields of ControlNet's and the detail pass's units: each has a `root` to show, and a `value`; and those of one ControlNet unit.

import { make } from "./dom.js";

export function check(label, id, changed) {
  const input = make("input", { type: "checkbox", id, onchange: changed });
  return {
    root: make("label", { className: "check" }, input, label),
    get value() { return input.checked; },
    set value(on) { input.checked = on === true || on === "True" || on === "true"; },
  };
}

export function choice(label, id, changed) {
  const input = make("select", { id, onchange: changed });
  return {
    root: make("label", { className: "choice" }, make("span", { textContent: label }), input),
    // Names, or pairs of what is shown and what is meant.
    fill(names) {
      const before = input.value;
      const pairs = names.map((name) => [name].flat());
      input.replaceChildren(...pairs.map((pair) => make("option", { value: pair.at(-1), textContent: pair[0] })));
      if (pairs.some((pair) => pair.at(-1) === before)) input.value = before;
    },
    get value() { return input.value; },
    set value(name) {
      if (![...input.options].some((option) => option.value === name)) input.append(make("option", { value: name, textContent: name }));
      input.value = name;
    },
  };
}

export function radio(label, names, id, changed) {
  const inputs = names.map((name) => make("input", { type: "radio", name: id, value: name, onchange: changed }));
  return {
    root: make("fieldset", { id }, make("legend", { textContent: label }), ...inputs.map((input, i) => make("label", {}, input, names[i]))),
    get value() { return inputs.find((input) => input.checked)?.value ?? names[0]; },
    set value(name) { for (const input of inputs) input.checked = input.value === name; },
  };
}

export function text(label, id, changed, lines = 1, placeholder = "") {
  const input = make(lines > 1 ? "textarea" : "input", { id, placeholder, oninput: changed, ...(lines > 1 ? { rows: lines } : { type: "text" }) });
  return {
    root: make("label", { className: "choice" }, make("span", { textContent: label }), input),
    get value() { return input.value; },
    set value(words) { if (input.value !== words) input.value = words ?? ""; },
  };
}

export function slider(label, min, max, step, id, changed) {
  const range = make("input", { type: "range", min, max, step, "aria-label": label, oninput: () => set(range.value) });
  const number = make("input", { type: "number", min, max, step, id, onchange: () => set(number.value) });
  const words = make("span", { textContent: label });
  const show = (value) => (range.value = number.value = value);
  function set(value) {
    show(value);
    changed();
  }
  const root = make("label", { className: "slider" }, words, number, range);
  let shown = null; // whose limits it has
  return {
    root,
    // With these limits, or not at all.
    limit(given) {
      root.hidden = !given;
      if (!given || JSON.stringify(given) === shown) return;
      shown = JSON.stringify(given);
      words.textContent = given.name;
      range.setAttribute("aria-label", given.name);
      for (const input of [range, number]) Object.assign(input, { min: given.min, max: given.max, step: given.step });
      show(given.value);
    },
    get value() { return Number(number.value); },
    set value(value) { show(Number(value)); },
  };
}

export function row(...fields) {
  const root = make("div", { className: "row" }, ...fields.map((field) => field.root));
  return { root };
}

const UNION = ["Unknown", "OpenPose", "Depth", "Soft Edge", "Hard Edge", "Normal Map", "Segmentation", "Tile", "Inpaint", "Blur", "Gray", "Low Quality"];
const WEIGHTS = ["normal", "ease in", "ease out", "ease in-out", "reverse in-out", "weak input", "weak output", "weak middle", "strong middle", "style transfer", "composition", "strong style transfer", "style and composition", "strong style and composition"];

// The fields that a request knows, and the filter `control_type`.
export function unitFields(id, types, { changed, chooseType, chooseModule }) {
  const fields = {
    enabled: check("Enable", `${id}_enable_checkbox`, changed),
    low_vram: check("Low VRAM", `${id}_low_vram`, changed),
    pixel_perfect: check("Pixel Perfect", `${id}_pixel_perfect`, changed),
    control_type: radio("Control Type", types, `${id}_type_filter`, chooseType),
    module: choice("Preprocessor", `${id}_preprocessor`, chooseModule),
    model: choice("Model", `${id}_model`, changed),
    union_control_type: choice("Union Control Type", `${id}_union`, changed),
    weight: slider("Control Weight", 0, 2, 0.05, `${id}_control_weight`, changed),
    guidance_start: slider("Starting Control Step", 0, 1, 0.01, `${id}_start`, changed),
    guidance_end: slider("Ending Control Step", 0, 1, 0.01, `${id}_end`, changed),
    processor_res: slider("Preprocessor resolution", 64, 2048, 8, `${id}_resolution`, changed),
    threshold_a: slider("Threshold A", 0, 1, 0.01, `${id}_a`, changed),
    threshold_b: slider("Threshold B", 0, 1, 0.01, `${id}_b`, changed),
    control_mode: radio("Control Mode", ["Balanced", "My prompt is more important", "ControlNet is more important"], `${id}_mode`, changed),
    resize_mode: radio("Resize Mode", ["Just Resize", "Crop and Resize", "Resize and Fill"], `${id}_resize`, changed),
    hr_option: radio("Hires-Fix Option", ["Both", "Low res only", "High res only"], `${id}_hr`, changed),
    weight_type: choice("Weight Type", `${id}_weight_type`, changed),
    composition_weight: slider("Composition Weight", 0, 2, 0.05, `${id}_composition`, changed),
    inpaint_crop_input_image: check("Crop input image based on A1111 mask", `${id}_crop`, changed),
  };
  fields.union_control_type.fill(UNION);
  fields.weight_type.fill(WEIGHTS);
  return fields;
}

// Those that only the page knows.
export function ownFields(id, changed) {
  return {
    preview: check("Allow Preview", `${id}_preview`, changed),
    region: check("Effective Region Mask", `${id}_region`, changed),
    asInput: check("Preview as Input", `${id}_as_input`, changed),
    independent: check("Upload independent control image", `${id}_upload_independent`, changed),
  };
}
