"""The form of the tab Extras, in A1111's labels and ids."""

from collections.abc import Collection
from typing import Any

import gradio as gr

from modules.requests.extras import FLIPS, OBJECTIVES
from webui.extras_form import BATCH, DIRECTORY, LABELS, SINGLE
from webui.parts.script import call

DROP = """
<div class="drop" role="button" tabindex="0" aria-label="{label}">
  <p class="words">{words}</p><div class="chosen"></div>
</div>
"""


def build_sources() -> dict[str, Any]:
    """The three tabs of what to work on; and modes, the tabs by their names."""
    found: dict[str, Any] = {"modes": {}}
    with gr.Tabs(elem_id="mode_extras"):
        with gr.Tab(SINGLE, id="single_image", elem_id="extras_single_tab") as found["modes"][SINGLE]:
            _drop("extras_image", "Source", "Drop a picture here, or click to choose one")
        with gr.Tab(BATCH, id="batch_process", elem_id="extras_batch_process_tab") as found["modes"][BATCH]:
            _drop("extras_image_batch", "Batch Process", "Drop pictures here, or click to choose them")
        with gr.Tab(
            DIRECTORY, id="batch_from_directory", elem_id="extras_batch_directory_tab", elem_classes="admins"
        ) as tab:
            found["modes"][DIRECTORY] = tab
            for name, hint in (
                ("input_dir", "A directory on the same machine where the server is running."),
                ("output_dir", "Leave blank to save images to the default path."),
            ):
                found[name] = gr.Textbox(
                    label=LABELS[name], placeholder=hint, max_lines=1, elem_id=f"extras_batch_{name}"
                )
    return found


def build_upscaling(hidden: Collection[str] = ()) -> dict[str, Any]:
    """Field name -> component; and scales (the tabs), swap, refresh. `hidden`: operations that are not seen, as in all of these."""
    found: dict[str, Any] = {}
    with gr.Accordion("Upscale", open=True, visible="Upscale" not in hidden, elem_id="extras_upscale"):
        found["upscale"] = _check("upscale", "extras_upscale_enabled", value=True)
        with gr.Row(elem_classes="with-tool"):
            found["upscaler_1"] = gr.Dropdown(
                ["None"], value="None", label=LABELS["upscaler_1"], elem_id="extras_upscaler_1", min_width=140
            )
            found["refresh"] = gr.Button(
                "🔄", elem_id="extras_refresh_upscalers", elem_classes="tool", scale=0, min_width=40
            )
        with gr.Row():
            found["upscaler_2"] = gr.Dropdown(
                ["None"], value="None", label=LABELS["upscaler_2"], elem_id="extras_upscaler_2", min_width=140
            )
            found["extras_upscaler_2_visibility"] = _part("extras_upscaler_2_visibility", 0, 0.001)
        with gr.Tabs(elem_id="extras_resize_mode"):
            with gr.Tab("Scale by", id="scale_by", elem_id="extras_scale_by_tab") as by, gr.Row():
                found["upscaling_resize"] = gr.Slider(
                    *(1, 8, 4),
                    step=0.05,
                    label=LABELS["upscaling_resize"],
                    elem_id="extras_upscaling_resize",
                    min_width=160,
                    buttons=[],
                )
                found["max_side_length"] = _number("max_side_length", 0, 0, 16384)
            with (
                gr.Tab("Scale to", id="scale_to", elem_id="extras_scale_to_tab") as to,
                gr.Row(elem_classes="with-tool"),
            ):
                with gr.Column(scale=4, min_width=200):
                    for name in ("upscaling_resize_w", "upscaling_resize_h"):
                        found[name] = gr.Slider(
                            *(64, 8192, 512), step=8, label=LABELS[name], elem_id=f"extras_{name}", buttons=[]
                        )
                found["swap"] = gr.Button(
                    "⇅", elem_id="upscaling_res_switch_btn", elem_classes="tool", scale=0, min_width=40
                )
                found["upscaling_crop"] = _check("upscaling_crop", "extras_upscaling_crop", value=True)
        found["scales"] = (by, to)
    return found


def build_faces(hidden: Collection[str] = ()) -> dict[str, Any]:
    """Field name -> component."""
    found: dict[str, Any] = {}
    left = [name for name in ("GFPGAN", "CodeFormer") if name not in hidden]
    with gr.Accordion("Restore faces", open=False, visible=bool(left), elem_id="extras_faces"):
        with gr.Row():
            found["gfpgan_visibility"] = _part("gfpgan_visibility", 0, 0.001)
            found["codeformer_visibility"] = _part("codeformer_visibility", 0, 0.001)
        found["codeformer_weight"] = _part("codeformer_weight", 0, 0.001)
        found["gfpgan_visibility"].visible = "GFPGAN" in left
        found["codeformer_visibility"].visible = found["codeformer_weight"].visible = "CodeFormer" in left
        found["upscale_first"] = _check("upscale_first", "extras_upscale_first", value=True)
    return found


def build_training(hidden: Collection[str] = ()) -> dict[str, Any]:
    """What makes training sets of pictures, to the size under Upscale. Field name -> component."""
    found: dict[str, Any] = {"remove_background": _check("remove_background", "extras_remove_background")}
    with _operation("split_oversized", "extras_split", hidden):
        found["split_oversized"] = _check("split_oversized", "extras_split_oversized")
        with gr.Row():
            found["split_oversized.threshold"] = _part("split_oversized.threshold", 0.5, 0.05)
            found["split_oversized.overlap_ratio"] = _part("split_oversized.overlap_ratio", 0.2, 0.05, most=0.9)
    with _operation("focal_crop", "extras_focal", hidden):
        found["focal_crop"] = _check("focal_crop", "extras_focal_crop")
        with gr.Row():
            for name, value in (("face_weight", 0.9), ("entropy_weight", 0.15), ("edges_weight", 0.5)):
                found[f"focal_crop.{name}"] = _part(f"focal_crop.{name}", value, 0.05)
        found["focal_crop.debug"] = _check("focal_crop.debug", "extras_focal_debug")
    with _operation("autosized_crop", "extras_autosized", hidden):
        found["autosized_crop"] = _check("autosized_crop", "extras_autosized_crop")
        with gr.Row():
            found["autosized_crop.mindim"] = _number("autosized_crop.mindim", 384, 64, 2048)
            found["autosized_crop.maxdim"] = _number("autosized_crop.maxdim", 768, 64, 2048)
        with gr.Row():
            found["autosized_crop.minarea"] = _number("autosized_crop.minarea", 64 * 64, 64 * 64, 2048 * 2048)
            found["autosized_crop.maxarea"] = _number("autosized_crop.maxarea", 640 * 640, 64 * 64, 2048 * 2048)
        with gr.Row():
            found["autosized_crop.objective"] = gr.Radio(
                OBJECTIVES, value=OBJECTIVES[0], label=LABELS["autosized_crop.objective"], elem_id="extras_objective"
            )
            found["autosized_crop.threshold"] = _part("autosized_crop.threshold", 0.1, 0.01)
    found["flipped_copies"] = gr.CheckboxGroup(
        FLIPS, value=[], label=LABELS["flipped_copies"], elem_id="extras_flipped_copies"
    )
    with gr.Row():
        found |= {name: _check(name, f"extras_{name}") for name in ("caption", "tags")}
    for name in ("remove_background", "flipped_copies"):
        found[name].visible = LABELS[name] not in hidden
    for name in ("caption", "tags"):
        found[name].visible = "Caption" not in hidden
    return found


def _operation(name: str, elem_id: str, hidden: Collection[str]) -> gr.Accordion:
    label = LABELS[name]
    return gr.Accordion(label, open=False, visible=label not in hidden, elem_id=elem_id)


def _drop(elem_id: str, label: str, words: str) -> None:
    start = f"({call('startDrop', elem_id)})(element)"
    template = DROP.format(label=label, words=words)
    gr.HTML(html_template=template, js_on_load=start, elem_id=elem_id, apply_default_css=False)


def _check(name: str, elem_id: str, *, value: bool = False) -> gr.Checkbox:
    return gr.Checkbox(value, label=LABELS[name], elem_id=elem_id, min_width=120)


def _part(name: str, value: float, step: float, *, most: float = 1) -> gr.Slider:
    elem_id = "extras_" + name.removeprefix("extras_").replace(".", "_")
    return gr.Slider(0, most, value, step=step, label=LABELS[name], elem_id=elem_id, min_width=160, buttons=[])


def _number(name: str, value: int, least: int, most: int) -> gr.Number:
    elem_id = "extras_" + name.replace(".", "_")
    return gr.Number(
        value, minimum=least, maximum=most, step=1, precision=0, label=LABELS[name], elem_id=elem_id, min_width=120
    )
