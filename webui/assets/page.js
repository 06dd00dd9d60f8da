// What gradio's events call. Every function takes the tab's name and the values of the event's inputs, and returns
// those of its outputs.

import { showAccount } from "./account.js";
import { withControl } from "./control.js";
import { adjustCompletion, listenToCompletion } from "./complete.js";
import * as extras from "./extras.js";
import * as keep from "./memory.js";
import { describeDetail } from "./detail.js";
import { listenToDrops } from "./drop.js";
import { showRows, startUpscale } from "./hires.js";
import { pressImg2img } from "./img2img.js";
import { listenToForever } from "./forever.js";
import { listenToKeys } from "./keys.js";
import { allowNotifications } from "./notify.js";
import { shown } from "./shown.js";
import { tellOfPreset } from "./presets.js";
import { adjustHelp } from "./prompt_help.js";
import { showQuick } from "./quick.js";
import { send } from "./send.js";
import { label } from "./tab.js";
import { tabs } from "./tabs.js";
import { listenToTheme } from "./theme_button.js";
import { adjust, listenToWeights } from "./weights.js";
import { showWelcome } from "./welcome.js";

export { start as startMerging, press as pressMerging, pressed as pressedMerging } from "./merging.js";
export { chooseSource, detectSize, pressImg2img, sized, startPictures } from "./img2img.js";
export { hires, pressUpscale } from "./hires.js";
export { showControl, startControl } from "./control.js";
export { showDetail, startDetail } from "./detail.js";
export { start as startModels } from "./models.js";
export { choose as chooseExtras, startDrop } from "./extras.js";
export { start as startPngInfo } from "./png_info.js";
export { start as startQueue } from "./queue.js";
export { start as startExtensions } from "./extensions.js";
export { start as startSettings } from "./settings.js";
export { start as startAlbum } from "./album.js";
export { startCards } from "./cards.js";
export { startPromptHelp } from "./prompt_help.js";
export { receiving } from "./send_settings.js";

export function start(tab, element) {
  if (document.body.dataset.started === undefined) {
    listenToKeys();
    listenToWeights();
    listenToCompletion();
    tabs.txt2img.settled.then(showAccount).then(() => showWelcome());
    listenToTheme();
  }
  document.body.dataset.started = "";
  label("refresh_sd_model_checkpoint", "Look for checkpoints again");
  tabs[tab].start(element);
  startUpscale(element);
  if (tab === "extras") tabs[tab].resume(); // it has no form to be filled before
  element.addEventListener("send", ({ detail }) => send(detail));
  if (tab !== "extras") listenToForever(tab);
  if (tab !== "extras") listenToDrops(tab, (text) => tabs[tab].panel.say(text));
}

// -- jobs --

export const press = async (tab, _memory, _answer, ...values) => withControl(tab, tabs[tab].press(values));

// The pictures are sent first; what goes wrong with that is told to the server, which refuses the press with it.
export async function pressExtras(_job, _current, _told, ...values) {
  const told = await extras.gather((words) => tabs.extras.panel.say(words)).catch(({ message }) => ({ trouble: message }));
  const [job, current, ...rest] = tabs.extras.press(values);
  return [job, current, JSON.stringify(told), ...rest];
}

// As the tab's own press (a function of this file, by its name), for a job that this page does not follow.
export async function enqueue(press, tab, ...values) {
  const found = await presses[press](tab, ...values);
  tabs[tab].panel.sent();
  return found;
}

const presses = { press: (...values) => press(...values), pressImg2img };

export const enqueued = (tab, job) => tabs[tab].enqueued(job);
export const pressed = (tab, job) => tabs[tab].pressed(job);
export const stopping = (tab, wish) => tabs[tab].stopping(wish);

export async function resume(tab) {
  await tabs[tab].resume();
  tellOfPreset(tab, (words) => tabs[tab].panel?.say(words));
  if (tab === "txt2img") document.body.dataset.atelier ??= "idle"; // from now on the page may be used
}

// -- values --

export const memory = (tab) => tabs[tab].memory();

export function choose(tab, checkpoint) {
  keep.touch(tab, { sd_model_checkpoint: checkpoint });
  return memory(tab);
}

export function apply(tab, fields, values, ...current) {
  const { hires_rows: rows, notify, keyedit, completion, detail_fields: detail, quick, shown: show } = JSON.parse(values);
  if (show) Object.assign(shown, show);
  if (quick) showQuick(quick);
  if (detail) describeDetail(tab, detail);
  if (rows) showRows(rows);
  if (notify) allowNotifications(notify);
  if (keyedit) adjust(keyedit);
  if (keyedit) adjustHelp(keyedit);
  if (completion) adjustCompletion(completion);
  return tabs[tab].apply(fields, values, current);
}

export const drawn = (tab, fields, mark) => tabs[tab].drawn(fields, mark);

export const touch = (tab, field, value) => tabs[tab].touch({ [field]: value });

// `change` is also told while the form is filled for the first time: that is no touch.
export function changed(tab, field, value) {
  if (tabs[tab].filled) touch(tab, field, value);
}

export function swap(tab, width, height) {
  tabs[tab].touch({ width: height, height: width });
  return [height, width];
}

export function randomSeed(tab) {
  tabs[tab].touch({ seed: "-1" });
  return ["-1"];
}

export function reuseSeed(tab, seed) {
  const reused = tabs[tab].panel.selected()?.seed ?? seed;
  tabs[tab].touch({ seed: reused });
  return [reused];
}

export function randomSubseed(tab) {
  tabs[tab].touch({ subseed: "-1" });
  return ["-1"];
}

// Of a picture that tells none, as it was not varied, what stands there stays.
export function reuseSubseed(tab, subseed) {
  const reused = tabs[tab].panel.selected()?.infotext.match(/\bVariation seed: (\d+)/)?.[1] ?? subseed;
  tabs[tab].touch({ subseed: reused });
  return [reused];
}

export const infotext = (tab, prompt, checkpoint) => [tabs[tab].infotext(prompt), checkpoint];

export function pasted(tab, fields, names, ...values) {
  const set = JSON.parse(names || "[]");
  tabs[tab].touch(Object.fromEntries(fields.map((name, i) => [name, values[i]]).filter(([name]) => set.includes(name))));
}
