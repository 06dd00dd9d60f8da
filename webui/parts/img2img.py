"""What the img2img tab has at the left beside txt2img's settings: pictures, resizing, inpainting, batches."""

from typing import Any

import gradio as gr

from modules.requests.generation import PAGE_SIDE
from modules.requests.img2img import INPAINT_AREAS, MASK_MODES, MASKED_CONTENT, RESIZE_MODES
from webui.img2img_form import DIRECTORY, LABELS, PNG_INFO, RESIZE_BY, RESIZE_TO, SOFT, UPLOAD
from webui.parts.script import call
from webui.parts.settings import slider, tool

PICTURES = '<section class="pictures" aria-label="Pictures to begin with"></section>'


def build_pictures() -> dict[str, Any]:
    """The sub-tabs with their pictures, and the fields of batches and inpainting that stand under them."""
    start = f"({call('startPictures')})(element)"
    gr.HTML(html_template=PICTURES, js_on_load=start, elem_id="mode_img2img", apply_default_css=False)
    found = _build_batch()
    found |= _build_inpainting()
    found["resize_mode"] = gr.Radio(RESIZE_MODES, label=LABELS["resize_mode"], elem_id="resize_mode")
    return found


def build_sizes(tab: str) -> dict[str, Any]:
    """To which size, or by how much, with the line that says what it comes to; and the denoising strength."""
    found: dict[str, Any] = {}
    found["resize_by"] = gr.Radio(
        [RESIZE_TO, RESIZE_BY], show_label=False, container=False, elem_id="img2img_tabs_resize"
    )
    with gr.Row(elem_id=f"{tab}_size_row", elem_classes="with-tool"):
        with gr.Column(scale=4, min_width=200):
            found["width"] = slider("width", f"{tab}_width", most=PAGE_SIDE)
            found["height"] = slider("height", f"{tab}_height", most=PAGE_SIDE)
        with gr.Column(scale=0, min_width=40):
            found["swap"] = tool("⇅", f"{tab}_res_switch_btn")
            found["detect"] = tool("📐", f"{tab}_detect_image_size_btn")
    with gr.Column(elem_id=f"{tab}_scale_row"):
        found["scale"] = _slider("scale", 0.05, 4, 0.05, f"{tab}_scale")
        gr.HTML('<p class="from-to"></p>', elem_id=f"{tab}_scale_resolution_preview", apply_default_css=False)
    found["denoising_strength"] = _slider("denoising_strength", 0, 1, 0.01, f"{tab}_denoising_strength")
    found["image_cfg_scale"] = _slider("image_cfg_scale", 0, 3, 0.05, f"{tab}_image_cfg_scale")
    return found


def _build_batch() -> dict[str, Any]:
    found: dict[str, Any] = {}
    with gr.Column(elem_id="img2img_batch_fields"):
        found["batch_source"] = gr.Radio(
            [UPLOAD, DIRECTORY],
            show_label=False,
            container=False,
            elem_id="img2img_batch_source",
            elem_classes="admins",
        )
        for name in ("batch_input_dir", "batch_output_dir", "batch_mask_dir"):
            elem_id = "img2img_batch_inpaint_mask_dir" if name == "batch_mask_dir" else f"img2img_{name}"
            found[name] = gr.Textbox(label=LABELS[name], max_lines=1, elem_id=elem_id, elem_classes="admins")
        with gr.Accordion("PNG info", open=False, elem_id="img2img_batch_png_info"):
            found["batch_use_png_info"] = gr.Checkbox(
                label=LABELS["batch_use_png_info"], elem_id="img2img_batch_use_png_info"
            )
            found["batch_png_info_dir"] = gr.Textbox(
                label=LABELS["batch_png_info_dir"],
                placeholder="Leave empty to use the pictures themselves",
                max_lines=1,
                elem_id="img2img_batch_png_info_dir",
                elem_classes="admins",
            )
            found["batch_png_info_props"] = gr.CheckboxGroup(
                PNG_INFO, label=LABELS["batch_png_info_props"], elem_id="img2img_batch_png_info_props"
            )
    return found


def _build_inpainting() -> dict[str, Any]:
    found: dict[str, Any] = {}
    with gr.Column(elem_id="img2img_inpaint_controls"):
        with gr.Row():
            found["mask_blur"] = _slider("mask_blur", 0, 64, 1, "img2img_mask_blur")
            found["mask_alpha"] = _slider("mask_alpha", 0, 100, 1, "img2img_mask_alpha")
        with gr.Row():
            for name, choices, elem_id in (
                ("inpainting_mask_invert", MASK_MODES, "img2img_mask_mode"),
                ("inpaint_full_res", INPAINT_AREAS, "img2img_inpaint_full_res"),
            ):
                found[name] = gr.Radio(choices, label=LABELS[name], elem_id=elem_id, min_width=200)
        found["inpainting_fill"] = gr.Radio(
            MASKED_CONTENT, label=LABELS["inpainting_fill"], elem_id="img2img_inpainting_fill"
        )
        found["inpaint_full_res_padding"] = _slider(
            "inpaint_full_res_padding", 0, 256, 4, "img2img_inpaint_full_res_padding"
        )
        with gr.Accordion("Soft inpainting", open=False, elem_id="soft_inpainting"):
            found["soft_inpainting"] = gr.Checkbox(label="Enable soft inpainting", elem_id="soft_inpainting_enabled")
            for name, (_, most, step) in SOFT.items():
                least = 1 if name == "inpaint_detail_preservation" else 0
                found[name] = _slider(name, least, most, step, f"img2img_{name}")
    return found


def _slider(name: str, low: float, high: float, step: float, elem_id: str) -> gr.Slider:
    return gr.Slider(low, high, step=step, label=LABELS[name], elem_id=elem_id, buttons=[], min_width=160)
