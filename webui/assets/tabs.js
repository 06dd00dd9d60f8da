// The tabs that make pictures.

import { Tab } from "./tab.js";

export const tabs = Object.fromEntries(["txt2img", "img2img", "extras"].map((name) => [name, new Tab(name)]));
