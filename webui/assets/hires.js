// Hires fix in txt2img: the line that tells to which size a picture is enlarged, the rows that are seen, and the button ✨.

import * as keep from "./memory.js";
import { tabs } from "./tabs.js";

const SAMPLING = ["hr_checkpoint_name", "hr_sampler_name", "hr_scheduler", "hr_cfg", "hr_distilled_cfg"];
let asked = [false, false]; // whether the settings want these rows to be seen: sampling, prompts

export function showRows(rows) {
  asked = rows;
}

// A1111's rule, as modules/requests/hires.py has it: to multiples of 8 pixels.
export function enlarged(width, height, scale, toWidth, toHeight) {
  const inSteps = (side) => Math.floor(side / 8) * 8;
  if (!toWidth && !toHeight) return [width * scale, height * scale].map(inSteps);
  return [toWidth || (toHeight * width) / height, toHeight || (toWidth * height) / width].map(inSteps);
}

// `same`: what fields say whose value is the first pass's.
export function hires(same, on, width, height, scale, toWidth, toHeight, ...values) {
  const says = (value, name) => value !== "" && value != null && value !== (same[name] ?? "");
  const sampling = SAMPLING.some((name, i) => says(values[i], name));
  const prompts = values.slice(SAMPLING.length).some((value) => says(value));
  document.body.toggleAttribute("data-hires-sampling", asked[0] || sampling);
  document.body.toggleAttribute("data-hires-prompts", asked[1] || prompts);
  const sides = enlarged(width, height, scale, toWidth, toHeight);
  const words = (size) => `<span class="resolution">${size.map(Number).join("x")}</span>`;
  return [on ? `from ${words([width, height])} to ${words(sides)}` : ""];
}

export function startUpscale(panel) {
  panel.querySelector(".upscale")?.addEventListener("click", () => document.getElementById("txt2img_upscale_run")?.click());
}

export function pressUpscale(tab, _memory, _answer, _picture, ...values) {
  const picture = tabs[tab].panel.selected();
  const [id, job, ...rest] = tabs[tab].press(values);
  return [id, job || keep.job(tab) || "", String(picture?.id ?? ""), ...rest];
}
