"""The closed accordion of templates in prompts."""

from typing import Any

import gradio as gr

from modules.requests.generation import limits
from webui.form import LABELS

HINTS = {
    "dynamic_prompts": "{red|blue}, __wildcard__ and ${name=value} in any prompt are filled in, by the picture's seed.",
    "dp_combinatorial": "A picture for every combination; the batch count is ignored.",
    "dp_fixed_seed": "One seed for all pictures.",
    "dp_unlink_seed": "Prompts are chosen anew in each job, whatever the seed.",
}


def build_dynamic(tab: str) -> dict[str, Any]:
    """Field name -> component."""
    found: dict[str, Any] = {}
    with gr.Accordion("Dynamic Prompts", open=False, elem_id=f"{tab}_dynamic_prompts"):
        for name in ("dynamic_prompts", "dp_combinatorial"):
            found[name] = _switch(tab, name)
        with gr.Row():
            for name in ("dp_max_generations", "dp_combinatorial_batches"):
                bounds = limits(name)
                found[name] = gr.Slider(
                    bounds["minimum"],
                    bounds["maximum"],
                    step=1,
                    label=LABELS[name],
                    elem_id=f"{tab}_{name}",
                    buttons=[],
                )
        for name in ("dp_fixed_seed", "dp_unlink_seed"):
            found[name] = _switch(tab, name)
    return found


def _switch(tab: str, name: str) -> gr.Checkbox:
    return gr.Checkbox(label=LABELS[name], info=HINTS[name], value=name == "dynamic_prompts", elem_id=f"{tab}_{name}")
