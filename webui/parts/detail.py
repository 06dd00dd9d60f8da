"""Where the page's own scripts build the units of the detail pass: a place, the hidden field of what they say, and of what they are made."""

from collections.abc import Mapping, Sequence
from typing import Any

import gradio as gr

from modules.requests.detail import NONE, PASSTHROUGH, DetailUnit
from modules.requests.generation import limits
from webui.detail_form import COUNT, DETAIL, GROUPS, LABEL, MENUS, MODEL, PARTS, SAME, TEXTS, UNIT_STARTS, named
from webui.parts.script import call

PLACE = f'<details class="control detail"><summary>{LABEL}</summary><div class="units"></div></details>'
HINTS = {
    MODEL: "Your own: YOLO files (.onnx) in models/adetailer, by their names.",
    "ad_model_classes": "Of a detector that knows several kinds: which count, with commas. Empty: all.",
    "ad_prompt": "[SEP] parts prompts of one thing after another, [SKIP] leaves one as it is, [PROMPT] is the picture's.",
    "ad_restore_face": "By the model of the setting face_restoration_model.",
    "ad_controlnet_model": "Passthrough: the units above.",
}
LONGEST = {
    "ad_dilate_erode": (-128, 128),
    "ad_x_offset": (-200, 200),
    "ad_y_offset": (-200, 200),
    "ad_mask_k": (0, 10),
    "ad_inpaint_only_masked_padding": (0, 256),
    "ad_inpaint_width": (64, 2048),
    "ad_inpaint_height": (64, 2048),
    "ad_cfg_scale": (0, 30),
    "ad_noise_multiplier": (0.5, 1.5),
}
"""How far the page's sliders go, as ADetailer's do, where a request may go further."""

WORDS = [NONE, PASSTHROUGH, "Automatic", *SAME.values(), "Use same sampler", "Use same scheduler"]
"""What of the menus is no name of a file or sampler, but the page's own words."""


def build_detail(tab: str) -> dict[str, Any]:
    """Field name -> component."""
    start = f"({call('startDetail', tab)})(element)"
    gr.HTML(html_template=PLACE, js_on_load=start, elem_id=f"{tab}_adetailer", apply_default_css=False)
    text = gr.Textbox(label=LABEL, elem_id=f"{tab}_detail", elem_classes="unseen", max_lines=1)
    told: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
    text.change(None, inputs=[text], js=call("showDetail", tab), **told)
    return {DETAIL: text}


def described(menus: Mapping[str, Sequence[Any]]) -> dict[str, Any]:
    """What assets/detail.js builds the units of. `menus`: what there is to choose from, by the parts that are menus."""
    return {
        "count": COUNT,
        "groups": [[title, rows] for title, rows in GROUPS.items()],
        "parts": {part: _described(part, menus) for part in PARTS},
        "words": WORDS,
        "starts": {part: UNIT_STARTS[named(part, 0)] for part in PARTS},
    }


def _described(part: str, menus: Mapping[str, Sequence[Any]]) -> dict[str, Any]:
    field = DetailUnit.model_fields[part]
    found: dict[str, Any] = {"label": field.title, "hint": HINTS.get(part, "")}
    if part in MENUS:
        return {**found, "kind": "menu", "choices": menus[part]}
    if field.annotation is bool:
        return {**found, "kind": "switch"}
    if part in TEXTS:
        return {**found, "kind": "text" if part == "ad_model_classes" else "prompt"}
    bounds = limits(part, DetailUnit)
    if not bounds:
        return {**found, "kind": "radio", "choices": list(field.annotation.__args__)}  # pyright: ignore[reportOptionalMemberAccess, reportAttributeAccessIssue]
    low, high = LONGEST.get(part, (bounds["minimum"], bounds["maximum"]))
    step = bounds.get("step", 1 if field.annotation is int else 0.5 if part == "ad_cfg_scale" else 0.01)
    return {**found, "kind": "slider", "minimum": low, "maximum": high, "step": step}
