// The page's texts in another language, by A1111's rule: an element's whole text, placeholder or title that stands in
// the localisation is replaced. Loaded before anything is drawn, and told of every change before it is painted.
// {name} in a text stands for whatever is there (or nothing), which is translated in turn; a single letter for a number:
// "Page {n}" -> "第{n}页". So the server's sentences are translated too, several in a row each by itself.
// "{list} and {last}", "{list} or {last}": what stands in a hole may be such a list, but not of plain words: those may be a
// name ("Beauty and Beast").
// What is the user's own (prompts, names of files and styles) stays as it is.

(() => {
  const { name, rtl, texts } = window.localization;
  const ATTRIBUTES = ["placeholder", "title", "aria-label", "alt", "aria-valuetext"];
  const KEPT = "script, style, textarea, code, pre, .infotext, .token, ul.options, .completions, button.pair, .thumbnail, .words[role=tabpanel], [contenteditable], [data-plain]";
  const HOLE = /\{([a-z]+)\}/g;
  const NUMBER = /^[-+\d.,]+$/;
  const GAP = /(?<=[\u3000-\u9fff\uff00-\uffef]) (?=[\u3000-\u9fff\uff00-\uffef])/g; // between signs that want none
  const END = /[.!?…]["”)]?\s+(?=\S)/g; // of a sentence that another one follows
  const LONGEST = 2000; // characters, and
  const MOST = 12; // sentences: what has more is somebody's own
  const FEW = 5; // characters: patterns that say less count in holes alone
  const JOINS = ["{list} and {last}", "{list} or {last}"];
  // In quotes or angles, with something in brackets behind it, or with a digit, a mark or two capitals in a word.
  const THING = /^(["“][^"“”]*["”]|<[^<>]*>|.+ \([^()]*\)|(?=.*(\d|_|\S\.\S|[A-Z]\S*[A-Z]))[^"“”<>]+)$/;
  const known = new Map(Object.entries(texts));
  const patterns = Object.keys(texts).filter((text) => isPattern(text) && !JOINS.includes(text)).map(pattern);
  const cached = { true: new Map(), false: new Map() };

  function isPattern(text) {
    const holes = text.match(HOLE);
    return holes && holes.every((hole) => texts[text].includes(hole));
  }

  function pattern(text) {
    const parts = text.split(HOLE);
    return { text, into: texts[text], parts: parts.filter((_, i) => i % 2 === 0), names: parts.filter((_, i) => i % 2), weight: text.replace(HOLE, "").length };
  }
  patterns.sort((a, b) => b.weight - a.weight); // the longer words first
  const byFirst = new Map(); // letter of a text -> the patterns that it may fit

  function candidates(text) {
    const first = text[0];
    if (!byFirst.has(first)) byFirst.set(first, patterns.filter(({ parts }) => [undefined, first].includes(parts[0][0])));
    return byFirst.get(first);
  }

  // What stands in the holes, or null: each goes on to the first place where the words behind it are. Before a full stop no
  // further sentence is taken into one, unless it is `loose`.
  function holes({ parts, names }, text, loose) {
    const end = text.length - parts.at(-1).length;
    let at = parts[0].length;
    if (!text.startsWith(parts[0]) || !text.endsWith(parts.at(-1)) || end < at) return null;
    const given = [];
    for (let i = 1; i < parts.length; i++) {
      const next = i === parts.length - 1 ? end : parts[i] ? text.indexOf(parts[i], at) : between(text, at, text.indexOf(parts[i + 1], at));
      if (next < at || next > end) return null;
      const words = text.slice(at, next);
      if (names[i - 1].length === 1 && !NUMBER.test(words)) return null;
      if (!loose && /^["”)]?\./.test(parts[i]) && words.search(END) >= 0) return null;
      given.push(words);
      at = next + parts[i].length;
    }
    return given;
  }

  // Where the second of two holes without words between them begins: with a space, comma or bracket, if it is not empty.
  function between(text, at, end) {
    const first = text.slice(at + 1, end).search(/[\s,(]/);
    return first < 0 ? end : at + 1 + first;
  }

  function whole(text, inside, loose = false) {
    if (known.has(text)) return known.get(text);
    for (const pattern of candidates(text)) {
      const given = inside || pattern.weight >= FEW || pattern.names.some((name) => name.length === 1) ? holes(pattern, text, loose) : null;
      if (given) return pattern.into.replace(HOLE, (_, hole) => translated(given[pattern.names.indexOf(hole)], true)).replace(GAP, "");
    }
    return inside ? joined(text) : null;
  }

  function joined(text) {
    for (const join of JOINS.filter((join) => known.has(join))) {
      const things = text.split(join.replace(HOLE, ""));
      if (things.length < 2 || !things.every(isThing)) continue;
      const said = things.map((thing) => translated(thing, true));
      const last = said.pop();
      return said.reduceRight((after, before) => known.get(join).replace(HOLE, (hole) => (hole === "{list}" ? before : after)), last).replace(GAP, "");
    }
    return null;
  }

  const isThing = (text) => text.split(", ").every((part) => THING.test(part) || known.has(part));

  // As many sentences at the beginning as are known together, and the rest.
  function inRow(text, inside) {
    const ends = [...text.matchAll(END)].map(({ 0: end, index }) => index + end.length);
    if (!ends.length || ends.length > MOST) return text;
    for (const end of ends.toReversed()) {
      const first = whole(text.slice(0, end).trimEnd(), false);
      if (first !== null) return first + (/[\u3000-\u303f\uff00-\uffef]$/.test(first) ? "" : " ") + translated(text.slice(end));
    }
    return whole(text, inside, true) ?? text.slice(0, ends[0]) + translated(text.slice(ends[0]));
  }

  function found(text, inside) {
    if (text.length > LONGEST) return known.get(text) ?? text;
    const all = whole(text, inside);
    if (all !== null) return all;
    if (text.includes(" · ")) return text.split(" · ").map((part) => translated(part)).join(" · ");
    return inRow(text, inside);
  }

  // `inside`: it stood in a hole.
  function translated(text, inside = false) {
    const words = text.trim();
    if (!/[A-Za-z]/.test(words)) return text;
    const kept = cached[inside];
    if (!kept.has(words)) {
      if (kept.size > 5000) kept.clear();
      kept.set(words, found(words, inside));
    }
    const other = kept.get(words);
    return other === words ? text : text.replace(words, () => other);
  }
  window.localization.translated = translated;

  function text(node) {
    const other = translated(node.data);
    if (other === node.data || node.parentElement?.closest(KEPT)) return;
    const option = node.parentElement?.closest("option");
    if (option && !option.hasAttribute("value")) option.value = option.textContent; // else its value would change
    node.data = other;
  }

  function attribute(element, attribute) {
    const value = element.getAttribute(attribute);
    if (!value || element.matches("[data-plain], [data-plain] *")) return;
    const other = translated(value);
    if (other !== value) element.setAttribute(attribute, other);
  }

  function all(node) {
    if (node.nodeType === Node.TEXT_NODE) return text(node);
    if (node.nodeType !== Node.ELEMENT_NODE) return;
    const walker = document.createTreeWalker(node, NodeFilter.SHOW_TEXT | NodeFilter.SHOW_ELEMENT);
    for (let at = node; at; at = walker.nextNode()) {
      if (at.nodeType === Node.TEXT_NODE) text(at);
      else for (const name of ATTRIBUTES) attribute(at, name);
    }
  }

  new MutationObserver((changes) => {
    for (const { type, target, attributeName, addedNodes } of changes) {
      if (type === "attributes") attribute(target, attributeName);
      else if (type === "characterData") text(target);
      else addedNodes.forEach(all);
    }
  }).observe(document, { subtree: true, childList: true, characterData: true, attributes: true, attributeFilter: ATTRIBUTES });

  const root = document.documentElement;
  const speak = (lang) => root.lang !== lang && (root.lang = lang);
  if (/^[a-z]{2,3}([_-][A-Za-z]{2,8})*$/.test(name)) {
    const lang = name.replaceAll("_", "-");
    speak(lang); // gradio writes the browser's own language there later
    new MutationObserver(() => speak(lang)).observe(root, { attributes: true, attributeFilter: ["lang"] });
  }
  if (rtl) root.dir = "rtl";
})();
