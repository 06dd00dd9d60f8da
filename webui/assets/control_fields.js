// Fields of ControlNet units: each has a `root` to show, and a `value`.

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
    fill(names) {
      const before = input.value;
      input.replaceChildren(...names.map((name) => make("option", { value: name, textContent: name })));
      if (names.includes(before)) input.value = before;
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
