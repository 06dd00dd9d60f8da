"""The closed accordion of the detail pass: a tab a unit, its values in ADetailer's folded groups."""

from typing import Any

import gradio as gr

from modules.library.detectors import BUNDLED
from modules.requests.detail import NONE, DetailUnit
from modules.requests.generation import limits
from webui.detail_form import COUNT, GROUPS, MENUS, MODEL, TEXTS, UNIT_LABELS, UNIT_STARTS, named

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


def build_detail(tab: str) -> dict[str, Any]:
    """Field name -> component."""
    found: dict[str, Any] = {}
    with gr.Accordion("ADetailer", open=False, elem_id=f"{tab}_ad_main_accordion"), gr.Tabs():
        for n in range(COUNT):
            with gr.Tab(("1st", "2nd")[n], elem_id=f"{tab}_ad_tab_{n + 1}"):
                for title, rows in GROUPS.items():
                    if not title:
                        found |= _rows(tab, n, rows)
                        continue
                    with gr.Accordion(title, open=False, elem_id=f"{tab}_ad_{title.split()[0].lower()}_{n + 1}"):
                        found |= _rows(tab, n, rows)
    return found


def _rows(tab: str, n: int, rows: tuple[tuple[str, ...], ...]) -> dict[str, Any]:
    found = {}
    for parts in rows:
        with gr.Row():
            found |= {named(part, n): _component(part, n, f"{tab}_{named(part, n)}") for part in parts}
    return found


def _component(part: str, n: int, elem_id: str) -> gr.Dropdown | gr.Textbox | gr.Checkbox | gr.Slider | gr.Radio:
    name, field = named(part, n), DetailUnit.model_fields[part]
    given: dict[str, Any] = {"label": UNIT_LABELS[name], "elem_id": elem_id, "info": HINTS.get(part), "min_width": 140}
    if part in MENUS:
        start = UNIT_STARTS[name]
        choices = [NONE, *BUNDLED] if part == MODEL else [start]
        return gr.Dropdown(choices, value=start, allow_custom_value=True, **given)
    if field.annotation is bool:
        return gr.Checkbox(value=field.default, **given)
    if part in TEXTS:
        empty = "" if part == "ad_model_classes" else "Empty: the picture's own prompt"
        return gr.Textbox(lines=1 if part == "ad_model_classes" else 2, placeholder=empty, **given)
    bounds = limits(part, DetailUnit)
    if not bounds:
        return gr.Radio(list(field.annotation.__args__), value=field.default, **given)  # pyright: ignore[reportOptionalMemberAccess, reportAttributeAccessIssue]
    low, high = LONGEST.get(part, (bounds["minimum"], bounds["maximum"]))
    step = bounds.get("step", 1 if field.annotation is int else 0.5 if part == "ad_cfg_scale" else 0.01)
    return gr.Slider(low, high, step=step, value=field.default, buttons=[], **given)
