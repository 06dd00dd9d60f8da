// The input for one setting, by what the server tells of its values.

import { make } from "./models_dom.js";

// {field: the element, put: shows a value}; `changed` is told each value that the user gives.
export function control(setting, id, changed) {
  const shared = { id, "aria-describedby": setting.description ? `${id}_help` : null };
  if (setting.type === "boolean") {
    const box = make("input", { ...shared, type: "checkbox", onchange: () => changed(box.checked) });
    return { field: box, put: (value) => (box.checked = value) };
  }
  if (setting.enum) return choice(setting.enum, shared, changed);
  if (setting.type === "integer" || setting.type === "number") return number(setting, shared, changed);
  if (setting.type === "array") return lines(shared, (text) => changed(text.split("\n").map((line) => line.trim()).filter(Boolean)), (list) => list.join("\n"));
  if (setting.format === "lines") return lines(shared, changed, (text) => text);
  return text(setting, shared, changed);
}

function choice(names, shared, changed) {
  const menu = make("select", { ...shared, onchange: () => changed(menu.value) }, ...names.map((name) => make("option", { value: name }, name)));
  return { field: menu, put: (value) => (menu.value = value) };
}

// What is no number is sent as it was typed: the server's sentence says what is wrong with it.
function number({ minimum, maximum, multipleOf, type }, shared, changed) {
  const step = multipleOf ?? (type === "integer" ? 1 : "any");
  const given = (typed) => (typed.trim() === "" || Number.isNaN(Number(typed)) ? typed : Number(typed));
  const box = make("input", { ...shared, type: "number", min: minimum, max: maximum, step, oninput: () => changed(given(box.value)) });
  const range = minimum === undefined || maximum === undefined ? null : make("span", { class: "facts" }, `${minimum} to ${maximum}`);
  return { field: make("span", { class: "number" }, box, range), put: (value) => (box.value = value) };
}

function lines(shared, changed, shown) {
  const box = make("textarea", { ...shared, rows: 3, spellcheck: "false", oninput: () => changed(box.value) });
  return { field: box, put: (value) => (box.value = shown(value)) };
}

function text({ format, maxLength, offered }, shared, changed) {
  const list = offered.length ? make("datalist", { id: `${shared.id}_list` }, ...offered.map((name) => make("option", { value: name }))) : null;
  const box = make("input", {
    ...shared,
    type: format === "color" ? "color" : "text",
    maxlength: maxLength,
    list: list?.id,
    spellcheck: "false",
    autocomplete: "off",
    oninput: () => changed(box.value),
  });
  return { field: make("span", { class: "text" }, box, list), put: (value) => (box.value = value) };
}
