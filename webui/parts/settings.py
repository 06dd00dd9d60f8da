"""The generation settings at the left."""

from collections.abc import Callable
from typing import Any

import gradio as gr

from modules.requests.generation import PAGE_SIDE, limits
from modules.requests.guidance import NAMES, flat_names, limits_of
from modules.requests.tiled import FORM
from webui.form import LABELS
from webui.parts.control import build_control
from webui.parts.detail import build_detail
from webui.parts.dynamic import build_dynamic
from webui.seed_form import SHOW

WHOLE = (  # values without a part after the point
    *("freeu_version", "deepcache_interval", "deepcache_branch"),
    *("tiled_tile_width", "tiled_tile_height", "tiled_overlap", "tiled_tile_batch_size"),
)


def build_settings(
    tab: str,
    build_sizes: Callable[[str], dict[str, Any]] | None = None,
    build_first: Callable[[str], dict[str, Any]] | None = None,
) -> dict[str, Any]:
    """Field name -> component, and the buttons swap, random_seed and reuse_seed. `build_sizes` makes what says the pictures' size,
    `build_first` what a tab has above the refiner."""
    found: dict[str, Any] = {}
    with gr.Row(elem_id=f"{tab}_sampler_row"):
        found["sampler_name"] = gr.Dropdown(
            label=LABELS["sampler_name"], choices=[], allow_custom_value=True, elem_id=f"{tab}_sampling", min_width=140
        )
        found["scheduler"] = gr.Dropdown(
            label=LABELS["scheduler"], choices=[], elem_id=f"{tab}_scheduler", min_width=140
        )
    found["steps"] = slider("steps", f"{tab}_steps")
    if build_first:
        found |= build_first(tab)
    with gr.Accordion("Refiner", open=False, elem_id=f"{tab}_refiner"):
        found["refiner_checkpoint"] = gr.Dropdown(
            label=LABELS["refiner_checkpoint"], choices=["None"], elem_id=f"{tab}_checkpoint"
        )
        found["refiner_switch_at"] = gr.Slider(
            0.01, 1, step=0.01, label=LABELS["refiner_switch_at"], elem_id=f"{tab}_switch_at", buttons=[]
        )
    found |= (build_sizes or build_plain_sizes)(tab)
    with gr.Row(elem_id=f"{tab}_batch_row"):
        found["n_iter"] = count("n_iter", f"{tab}_batch_count")
        found["batch_size"] = count("batch_size", f"{tab}_batch_size")
    with gr.Row(elem_id=f"{tab}_cfg_row"):
        found["cfg_scale"] = slider("cfg_scale", f"{tab}_cfg_scale", step=0.5)
        found["distilled_cfg_scale"] = slider("distilled_cfg_scale", f"{tab}_distilled_cfg_scale", step=0.1)
    with gr.Row(elem_id=f"{tab}_seed_row", elem_classes="with-tool"):
        found["seed"] = gr.Textbox(label=LABELS["seed"], elem_id=f"{tab}_seed", max_lines=1, min_width=120, scale=4)
        found["random_seed"] = tool("🎲", f"{tab}_random_seed")
        found["reuse_seed"] = tool("♻️", f"{tab}_reuse_seed")
        found[SHOW] = gr.Checkbox(label=LABELS[SHOW], elem_id=f"{tab}_subseed_show", min_width=80, scale=0)
    found |= build_extra_seed(tab)
    found["override_settings"] = gr.Dropdown(
        label=LABELS["override_settings"],
        choices=[],
        multiselect=True,
        allow_custom_value=True,
        elem_id=f"{tab}_override_settings",
    )
    return {**found, **build_control(tab), **build_guidance(tab), **build_detail(tab), **build_dynamic(tab)}


def build_extra_seed(tab: str) -> dict[str, Any]:
    """What is seen while the box "Extra" is ticked: field name -> component, and the buttons of the variation seed."""
    found: dict[str, Any] = {}
    with gr.Column(elem_id=f"{tab}_seed_extra", elem_classes="seed-extra"):
        with gr.Row(elem_classes="with-tool"):
            found["subseed"] = gr.Textbox(
                label=LABELS["subseed"], elem_id=f"{tab}_subseed", max_lines=1, min_width=120, scale=4
            )
            found["random_subseed"] = tool("🎲", f"{tab}_random_subseed")
            found["reuse_subseed"] = tool("♻️", f"{tab}_reuse_subseed")
            found["subseed_strength"] = slider("subseed_strength", f"{tab}_subseed_strength", step=0.01)
        with gr.Row():
            for name in ("seed_resize_from_w", "seed_resize_from_h"):
                found[name] = gr.Slider(0, PAGE_SIDE, step=8, label=LABELS[name], elem_id=f"{tab}_{name}", buttons=[])
    return found


def build_plain_sizes(tab: str) -> dict[str, Any]:
    """Width and height, and the button that swaps them."""
    found: dict[str, Any] = {}
    with gr.Row(elem_id=f"{tab}_size_row", elem_classes="with-tool"):
        with gr.Column(scale=4, min_width=200):
            found["width"] = slider("width", f"{tab}_width", most=PAGE_SIDE)
            found["height"] = slider("height", f"{tab}_height", most=PAGE_SIDE)
        found["swap"] = tool("⇅", f"{tab}_res_switch_btn")
    return found


def build_guidance(tab: str) -> dict[str, Any]:
    """The closed accordion of what changes guidance: field name -> component."""
    found: dict[str, Any] = {}
    with gr.Accordion("Guidance", open=False, elem_id=f"{tab}_guidance"):
        with gr.Row():
            for name in ("tiling", "restore_faces"):
                found[name] = gr.Checkbox(label=LABELS[name], elem_id=f"{tab}_{name}", min_width=120)
        found["cfg_rescale"] = slider("cfg_rescale", f"{tab}_cfg_rescale", step=0.05)
        for field in NAMES:
            with gr.Group(elem_id=f"{tab}_{field}"):
                for name in (name for name, owner, _ in flat_names() if owner == field):
                    found[name] = technique_value(name, f"{tab}_{name}")
    return found


def technique_value(name: str, elem_id: str) -> gr.Slider | gr.Radio | gr.Checkbox | gr.Textbox:
    """The component for one value of a technique, by its flat name."""
    bounds, label = limits_of(name), LABELS[name]
    if name == "tiled_regions":
        hint = f"One a line: {FORM}; sides are parts of the picture's."
        return gr.Textbox(label=label, info=hint, lines=2, elem_id=elem_id)
    if "choices" in bounds:
        return gr.Radio(bounds["choices"], label=label, elem_id=elem_id)
    if not bounds:
        return gr.Checkbox(label=label, elem_id=elem_id)
    step = 1 if name in WHOLE else 0.01
    return gr.Slider(bounds["minimum"], bounds["maximum"], step=step, label=label, elem_id=elem_id, buttons=[])


def slider(name: str, elem_id: str, step: float = 1, most: float | None = None) -> gr.Slider:
    """A slider with the limits of that request field, but that it ends at `most`."""
    bounds = limits(name)
    step = bounds.get("step", step)
    return gr.Slider(
        bounds["minimum"], most or bounds["maximum"], step=step, label=LABELS[name], elem_id=elem_id, buttons=[]
    )


def count(name: str, elem_id: str) -> gr.Number:
    """A whole number with the limits of that request field: a slider this long could not be set."""
    bounds = limits(name)
    return gr.Number(
        label=LABELS[name],
        minimum=bounds["minimum"],
        maximum=bounds["maximum"],
        step=1,
        precision=0,
        elem_id=elem_id,
        min_width=120,
    )


def tool(text: str, elem_id: str) -> gr.Button:
    """A small square button."""
    return gr.Button(text, elem_id=elem_id, elem_classes="tool", scale=0, min_width=40)
