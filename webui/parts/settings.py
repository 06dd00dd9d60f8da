"""The generation settings at the left."""

from typing import Any

import gradio as gr

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
    with gr.Row(elem_id=f"{tab}_size_row", elem_classes="with-tool"):
        with gr.Column(scale=4, min_width=200):
            found["width"] = slider("width", f"{tab}_width")
            found["height"] = slider("height", f"{tab}_height")
        found["swap"] = tool("⇅", f"{tab}_res_switch_btn")
    with gr.Row(elem_id=f"{tab}_batch_row"):
        for name, elem_id in (("n_iter", "batch_count"), ("batch_size", "batch_size")):
            found[name] = gr.Number(
                label=LABELS[name], precision=0, step=1, elem_id=f"{tab}_{elem_id}", min_width=120, **bounds(name)
            )
    found["cfg_scale"] = slider("cfg_scale", f"{tab}_cfg_scale", step=0.5)
    with gr.Row(elem_id=f"{tab}_seed_row", elem_classes="with-tool"):
        found["seed"] = gr.Textbox(label=LABELS["seed"], elem_id=f"{tab}_seed", max_lines=1, min_width=120, scale=4)
        found["random_seed"] = tool("🎲", f"{tab}_random_seed")
        found["reuse_seed"] = tool("♻️", f"{tab}_reuse_seed")
    return found


def slider(name: str, elem_id: str, step: float = 1) -> gr.Slider:
    """A slider with the limits of that request field."""
    return gr.Slider(label=LABELS[name], elem_id=elem_id, buttons=[], **{"step": step, **limits(name)})


def tool(text: str, elem_id: str) -> gr.Button:
    """A small square button."""
    return gr.Button(text, elem_id=elem_id, elem_classes="tool", scale=0, min_width=40)


def bounds(name: str) -> dict[str, float]:
    """The field's least and greatest value."""
    return {key: value for key, value in limits(name).items() if key != "step"}
