// Where the cursor of a text box is on the screen: browsers tell it of no textarea, so its text is laid out again in a copy.

import { make } from "./dom.js";

const STYLES = [
  "boxSizing", "fontFamily", "fontSize", "fontStyle", "fontWeight", "letterSpacing", "lineHeight", "tabSize", "textIndent",
  "textTransform", "wordSpacing", "paddingTop", "paddingRight", "paddingBottom", "paddingLeft", "borderTopWidth",
  "borderRightWidth", "borderBottomWidth", "borderLeftWidth",
];

// {left, top, bottom} of the line that the letter `at` is in, in pixels of the window.
export function caretPlace(area, at) {
  const style = getComputedStyle(area);
  const copy = make("div", { ariaHidden: "true" });
  for (const name of STYLES) copy.style[name] = style[name];
  const box = area.getBoundingClientRect();
  Object.assign(copy.style, {
    position: "fixed", visibility: "hidden", left: 0, top: 0, width: `${area.clientWidth}px`, borderStyle: "solid",
    whiteSpace: "pre-wrap", overflowWrap: "break-word",
  });
  const mark = make("span", { textContent: "\u200b" });
  copy.append(area.value.slice(0, at), mark);
  document.body.append(copy);
  const { offsetLeft, offsetTop, offsetHeight } = mark;
  copy.remove();
  const top = box.top + offsetTop - area.scrollTop;
  return { left: box.left + offsetLeft - area.scrollLeft, top, bottom: Math.min(top + offsetHeight, box.bottom) };
}
