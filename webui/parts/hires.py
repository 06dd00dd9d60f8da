"""Hires fix on txt2img's page: a box to tick, and what is shown once it is."""

from typing import Any

import gradio as gr

from modules.requests.generation import PAGE_SIDE, limits
from modules.requests.hires import LATENT_MODES
from modules.requests.txt2img import Txt2ImgRequest
from webui.hires_form import LABELS, STARTS

MOST = {"hr_scale": 4, "hr_resize_x": PAGE_SIDE, "hr_resize_y": PAGE_SIDE, "hr_cfg": 30}
STEPS = {"hr_scale": 0.05, "hr_resize_x": 8, "hr_resize_y": 8, "denoising_strength": 0.01, "hr_cfg": 0.5}
IDS = {
    "enable_hr": "enable_hr",
    "hr_upscaler": "hr_upscaler",
    "hr_second_pass_steps": "hires_steps",
    "denoising_strength": "denoising_strength",
    "hr_checkpoint_name": "hr_checkpoint",
    "hr_sampler_name": "hr_sampling",
    "hr_negative_prompt": "hires_neg_prompt",
    "hr_prompt": "hires_prompt",
}
"""What A1111 calls the elements, where that is not the field's name."""


def build_hires(tab: str) -> dict[str, Any]:
    """Field name -> component; and `hr_line`, which tells the sizes."""
    found: dict[str, Any] = {}
    with gr.Column(elem_id=f"{tab}_hr", elem_classes="hires"):
        with gr.Row(elem_classes="hires-title"):
            found["enable_hr"] = gr.Checkbox(label=LABELS["enable_hr"], elem_id=_id(tab, "enable_hr"), min_width=120)
            found["hr_line"] = gr.HTML(elem_id=f"{tab}_hr_finalres", min_width=180)
        with gr.Column(elem_id=f"{tab}_hires_fix", elem_classes="hires-values"):
            with gr.Row(elem_id=f"{tab}_hires_fix_row1"):
                found["hr_upscaler"] = _menu(tab, "hr_upscaler", [*LATENT_MODES], next(iter(LATENT_MODES)))
                found["hr_second_pass_steps"] = _slider(tab, "hr_second_pass_steps")
                found["denoising_strength"] = _slider(tab, "denoising_strength")
            with gr.Row(elem_id=f"{tab}_hires_fix_row2"):
                for name in ("hr_scale", "hr_resize_x", "hr_resize_y"):
                    found[name] = _slider(tab, name)
            with gr.Column(elem_id=f"{tab}_hires_fix_row3", elem_classes="hires-sampling"):
                found["hr_checkpoint_name"] = _same(tab, "hr_checkpoint_name")
                with gr.Row():
                    found["hr_sampler_name"] = _same(tab, "hr_sampler_name")
                    found["hr_scheduler"] = _same(tab, "hr_scheduler")
                with gr.Row():
                    for name in ("hr_cfg", "hr_distilled_cfg"):
                        found[name] = _slider(tab, name, "0: as in the first pass.")
            with gr.Row(elem_id=f"{tab}_hires_fix_row4", elem_classes="hires-prompts"):
                for name in ("hr_prompt", "hr_negative_prompt"):
                    found[name] = gr.Textbox(
                        label=LABELS[name],
                        placeholder="Leave empty to use the same prompt as in first pass.",
                        lines=3,
                        max_lines=12,
                        elem_id=_id(tab, name),
                    )
    return found


def _id(tab: str, name: str) -> str:
    return f"{tab}_{IDS.get(name, name)}"


def _menu(tab: str, name: str, choices: list[str], value: str) -> gr.Dropdown:
    """A menu whose choices are filled in when the page is loaded; what a picture's infotext names may be missing here."""
    return gr.Dropdown(
        label=LABELS[name],
        choices=choices,
        value=value,
        allow_custom_value=True,
        elem_id=_id(tab, name),
        min_width=160,
    )


def _same(tab: str, name: str) -> gr.Dropdown:
    return _menu(tab, name, [STARTS[name]], STARTS[name])


def _slider(tab: str, name: str, info: str | None = None) -> gr.Slider:
    bounds = limits(name, Txt2ImgRequest)
    return gr.Slider(
        bounds["minimum"],
        MOST.get(name, bounds["maximum"]),
        step=STEPS.get(name, 0.1 if "cfg" in name else 1),
        label=LABELS[name],
        info=info,
        elem_id=_id(tab, name),
        min_width=120,
        buttons=[],
    )
