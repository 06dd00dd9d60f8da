// The page's texts in another language, by A1111's rule: an element's whole text, placeholder or title that stands in
// the localisation is replaced. Loaded before anything is drawn, and told of every change before it is painted.
// {name} in a text stands for whatever is there, a single letter for a number: "Page {n}" -> "第{n}页".
// What is the user's own (prompts, names of files and styles) stays as it is.

(() => {
  const { name, rtl, texts } = window.localization;
  const ATTRIBUTES = ["placeholder", "title", "aria-label", "alt", "aria-valuetext"];
  const KEPT = "script, style, textarea, code, pre, .infotext, .token, ul.options, .completions, button.pair, .thumbnail, .words[role=tabpanel], [contenteditable], [data-plain]";
  const HOLE = /\{([a-z]+)\}/g;
  const known = new Map(Object.entries(texts));
  const patterns = Object.keys(texts).filter(isPattern).map(pattern);
  const cached = new Map();

  function isPattern(text) {
    const holes = text.match(HOLE);
    return holes && holes.every((hole) => texts[text].includes(hole));
  }

  function pattern(text) {
    const names = [];
    const literal = (part) => part.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
    const source = text.split(HOLE).map((part, i) => (i % 2 ? (names.push(part), part.length > 1 ? "([^]+?)" : "([-+\\d.,]+)") : literal(part))).join("");
    return { match: new RegExp(`^${source}$`), names, into: texts[text], weight: text.replace(HOLE, "").length };
  }
  patterns.sort((a, b) => b.weight - a.weight); // the longer words first

  function found(text) {
    if (known.has(text)) return known.get(text);
    for (const { match, names, into } of patterns) {
      const parts = text.match(match);
      if (parts) return into.replace(HOLE, (_, hole) => translated(parts[names.indexOf(hole) + 1]));
    }
    if (text.includes(" · ")) return text.split(" · ").map(translated).join(" · ");
    return text;
  }

  function translated(text) {
    const words = text.trim();
    if (!/[A-Za-z]/.test(words)) return text;
    if (!cached.has(words)) {
      if (cached.size > 5000) cached.clear();
      cached.set(words, found(words));
    }
    const other = cached.get(words);
    return other === words ? text : text.replace(words, () => other);
  }

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
