"""The generation settings at the left."""

from typing import Any

import gradio as gr

from modules.requests.guidance import NAMES, flat_names, limits_of
from modules.requests.txt2img import limits
from webui.form import LABELS


def build_settings(tab: str) -> dict[str, Any]:
    """Field name -> component, and the buttons swap, random_seed and reuse_seed."""
    found: dict[str, Any] = {}
    with gr.Row(elem_id=f"{tab}_sampler_row"):
        found["sampler_name"] = gr.Dropdown(
            label=LABELS["sampler_name"], choices=[], elem_id=f"{tab}_sampling", min_width=140
        )
        found["scheduler"] = gr.Dropdown(
            label=LABELS["scheduler"], choices=[], elem_id=f"{tab}_scheduler", min_width=140
        )
    found["steps"] = slider("steps", f"{tab}_steps")
    with gr.Accordion("Refiner", open=False, elem_id=f"{tab}_refiner"):
        found["refiner_checkpoint"] = gr.Dropdown(
            label=LABELS["refiner_checkpoint"], choices=["None"], elem_id=f"{tab}_checkpoint"
        )
        found["refiner_switch_at"] = gr.Slider(
            0.01, 1, step=0.01, label=LABELS["refiner_switch_at"], elem_id=f"{tab}_switch_at", buttons=[]
        )
    with gr.Row(elem_id=f"{tab}_size_row", elem_classes="with-tool"):
        with gr.Column(scale=4, min_width=200):
            found["width"] = slider("width", f"{tab}_width")
            found["height"] = slider("height", f"{tab}_height")
        found["swap"] = tool("⇅", f"{tab}_res_switch_btn")
    with gr.Row(elem_id=f"{tab}_batch_row"):
        found["n_iter"] = count("n_iter", f"{tab}_batch_count")
        found["batch_size"] = count("batch_size", f"{tab}_batch_size")
    found["cfg_scale"] = slider("cfg_scale", f"{tab}_cfg_scale", step=0.5)
    with gr.Row(elem_id=f"{tab}_seed_row", elem_classes="with-tool"):
        found["seed"] = gr.Textbox(label=LABELS["seed"], elem_id=f"{tab}_seed", max_lines=1, min_width=120, scale=4)
        found["random_seed"] = tool("🎲", f"{tab}_random_seed")
        found["reuse_seed"] = tool("♻️", f"{tab}_reuse_seed")
    found["override_settings"] = gr.Dropdown(
        label=LABELS["override_settings"],
        choices=[],
        multiselect=True,
        allow_custom_value=True,
        elem_id=f"{tab}_override_settings",
    )
    return {**found, **build_guidance(tab)}


def build_guidance(tab: str) -> dict[str, Any]:
    """The closed accordion of what changes guidance: field name -> component."""
    found: dict[str, Any] = {}
    with gr.Accordion("Guidance", open=False, elem_id=f"{tab}_guidance"):
        found["tiling"] = gr.Checkbox(label=LABELS["tiling"], elem_id=f"{tab}_tiling")
        found["cfg_rescale"] = slider("cfg_rescale", f"{tab}_cfg_rescale", step=0.05)
        for field in NAMES:
            with gr.Group(elem_id=f"{tab}_{field}"):
                for name in (name for name, owner, _ in flat_names() if owner == field):
                    found[name] = technique_value(name, f"{tab}_{name}")
    return found


def technique_value(name: str, elem_id: str) -> gr.Slider | gr.Radio | gr.Checkbox:
    """The component for one value of a technique, by its flat name."""
    bounds, label = limits_of(name), LABELS[name]
    if "choices" in bounds:
        return gr.Radio(bounds["choices"], label=label, elem_id=elem_id)
    if not bounds:
        return gr.Checkbox(label=label, elem_id=elem_id)
    step = 1 if name == "freeu_version" else 0.01
    return gr.Slider(bounds["minimum"], bounds["maximum"], step=step, label=label, elem_id=elem_id, buttons=[])


def slider(name: str, elem_id: str, step: float = 1) -> gr.Slider:
    """A slider with the limits of that request field."""
    bounds = limits(name)
    step = bounds.get("step", step)
    return gr.Slider(bounds["minimum"], bounds["maximum"], step=step, label=LABELS[name], elem_id=elem_id, buttons=[])


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
