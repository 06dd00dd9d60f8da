"""The forms of the tab Checkpoint Merger, in A1111's labels and ids, and its panel of results."""

from typing import Any

import gradio as gr

from modules.requests.block_weights import PRESETS
from modules.requests.merge import CONFIG_SOURCES, FORMATS, LORA_PRECISIONS, MAX_RANK, METHODS, PRECISIONS
from webui.merge_form import EXTRACT, LORAS, MERGE, METHOD_WORDS
from webui.parts.script import call

PANEL = """
<section class="merging" aria-label="Result" data-state="idle">
  <div class="progress" role="progressbar" aria-label="Progress" aria-valuemin="0" aria-valuemax="100" hidden>
    <div class="bar"></div><span class="words"></span>
  </div>
  <button type="button" class="stop" hidden>Interrupt</button>
  <p class="notice" role="alert" hidden></p>
  <p class="outcome" id="modelmerger_result" role="status">The result is told here.</p>
  <p class="facts"></p>
</section>
"""


def build_merge_form() -> dict[str, Any]:
    """Field name -> component; and method_words, refresh (the buttons), metadata, read_metadata, merge."""
    found: dict[str, Any] = {
        "method_words": gr.HTML(words_of("Weighted sum"), elem_id="modelmerger_interp_description")
    }
    buttons = []
    with gr.Column(elem_id="modelmerger_models"):
        for name, letter in (("primary_model_name", "A"), ("secondary_model_name", "B"), ("tertiary_model_name", "C")):
            with gr.Row(elem_classes="with-tool"):
                found[name] = gr.Dropdown(label=MERGE[name], choices=[], elem_id=f"modelmerger_{name}", min_width=160)
                buttons.append(_refresh(f"refresh_checkpoint_{letter}"))
    found["custom_name"] = gr.Textbox(label=MERGE["custom_name"], max_lines=1, elem_id="modelmerger_custom_name")
    found["multiplier"] = gr.Slider(
        0, 1, value=0.3, step=0.05, label=MERGE["multiplier"], elem_id="modelmerger_interp_amount", buttons=[]
    )
    found["interp_method"] = gr.Radio(
        METHODS, value="Weighted sum", label=MERGE["interp_method"], elem_id="modelmerger_interp_method"
    )
    found["block_weights"] = gr.Dropdown(
        label=MERGE["block_weights"],
        choices=["", *PRESETS],
        value="",
        allow_custom_value=True,
        elem_id="modelmerger_block_weights",
        info="A preset, or numbers: 25 (with BASE in front 26) for SD 1.x and 2.x, 19 (20) for XL",
    )
    with gr.Row():
        found["checkpoint_format"] = gr.Radio(
            FORMATS, value="safetensors", label=MERGE["checkpoint_format"], elem_id="modelmerger_checkpoint_format"
        )
        found["precision"] = gr.Dropdown(
            PRECISIONS, value="Automatic", label=MERGE["precision"], elem_id="modelmerger_precision", min_width=120
        )
    with gr.Row():
        found["save_as_half"] = _check("save_as_half", MERGE, "modelmerger_save_as_half")
        found["overwrite"] = _check("overwrite", MERGE, "modelmerger_overwrite")
    with gr.Row():
        found["config_source"] = gr.Radio(
            CONFIG_SOURCES, value="A, B or C", label=MERGE["config_source"], elem_id="modelmerger_config_method"
        )
        with gr.Row(elem_classes="with-tool"):
            found["bake_in_vae"] = gr.Dropdown(
                ["None"], value="None", label=MERGE["bake_in_vae"], elem_id="modelmerger_bake_in_vae", min_width=120
            )
            buttons.append(_refresh("modelmerger_refresh_bake_in_vae"))
    found["discard_weights"] = gr.Textbox(
        label=MERGE["discard_weights"], max_lines=1, elem_id="modelmerger_discard_weights"
    )
    found["refresh"] = buttons
    found |= _build_metadata()
    found["merge"] = gr.Button("Merge", variant="primary", elem_id="modelmerger_merge")
    return found


def _build_metadata() -> dict[str, Any]:
    found: dict[str, Any] = {}
    with gr.Accordion("Metadata", open=False, elem_id="modelmerger_metadata") as found["metadata"]:
        with gr.Row():
            for name, elem_id in (
                ("save_metadata", "modelmerger_save_metadata"),
                ("add_merge_recipe", "modelmerger_add_recipe"),
                ("copy_metadata_fields", "modelmerger_copy_metadata"),
            ):
                found[name] = _check(name, MERGE, elem_id, value=True)
        found["metadata_json"] = gr.Textbox(
            "{}", label=MERGE["metadata_json"], lines=4, max_lines=20, elem_id="modelmerger_metadata_json"
        )
        found["read_metadata"] = gr.Button(
            "Read metadata from selected checkpoints", elem_id="modelmerger_read_metadata"
        )
    return found


def build_extract_form() -> dict[str, Any]:
    """Field name -> component; and extract, the button."""
    found: dict[str, Any] = {}
    with gr.Accordion("Extract a LoRA from two checkpoints", open=False, elem_id="modelmerger_extract"):
        with gr.Row():
            for name in ("tuned_model_name", "base_model_name"):
                found[name] = gr.Dropdown(label=EXTRACT[name], choices=[], elem_id=f"modelmerger_{name}", min_width=160)
        with gr.Row():
            found["rank"] = _rank("rank", EXTRACT, 32, "modelmerger_extract_rank")
            found["conv_rank"] = _rank("conv_rank", EXTRACT, 0, "modelmerger_extract_conv_rank")
            found["precision"] = _lora_precision(EXTRACT, "modelmerger_extract_precision")
            found["text_encoder"] = _check("text_encoder", EXTRACT, "modelmerger_extract_text_encoder", value=True)
        found |= _name_and_overwrite(EXTRACT, "modelmerger_extract")
        found["extract"] = gr.Button("Extract", variant="primary", elem_id="modelmerger_extract_button")
    return found


def build_loras_form() -> dict[str, Any]:
    """Field name -> component; and join, the button."""
    found: dict[str, Any] = {}
    with gr.Accordion("Merge LoRAs", open=False, elem_id="modelmerger_loras"):
        found["loras"] = gr.Dropdown(
            label=LORAS["loras"], choices=[], multiselect=True, elem_id="modelmerger_lora_names"
        )
        with gr.Row():
            found["weights"] = gr.Textbox(label=LORAS["weights"], max_lines=1, elem_id="modelmerger_lora_weights")
            found["checkpoint"] = gr.Dropdown(
                ["None"], value="None", label=LORAS["checkpoint"], elem_id="modelmerger_lora_checkpoint", min_width=160
            )
        with gr.Row():
            found["rank"] = _rank("rank", LORAS, 0, "modelmerger_lora_rank")
            found["precision"] = _lora_precision(LORAS, "modelmerger_lora_precision")
        found |= _name_and_overwrite(LORAS, "modelmerger_lora")
        found["join"] = gr.Button("Merge LoRAs", variant="primary", elem_id="modelmerger_lora_button")
    return found


def build_merging_panel() -> gr.HTML:
    """Progress and result; its script starts with it."""
    start = f"({call('startMerging')})(element)"
    return gr.HTML(html_template=PANEL, js_on_load=start, elem_id="modelmerger_results_panel", apply_default_css=False)


def words_of(method: str) -> str:
    """A method's description as HTML."""
    return f"<p>{METHOD_WORDS.get(method, '')}</p>"


def _refresh(elem_id: str) -> gr.Button:
    return gr.Button("🔄", elem_id=elem_id, elem_classes="tool", scale=0, min_width=40)


def _check(name: str, labels: dict[str, str], elem_id: str, *, value: bool = False) -> gr.Checkbox:
    return gr.Checkbox(value, label=labels[name], elem_id=elem_id, min_width=120)


def _rank(name: str, labels: dict[str, str], value: int, elem_id: str) -> gr.Number:
    return gr.Number(
        value, label=labels[name], minimum=0, maximum=MAX_RANK, step=1, precision=0, elem_id=elem_id, min_width=120
    )


def _lora_precision(labels: dict[str, str], elem_id: str) -> gr.Dropdown:
    return gr.Dropdown(LORA_PRECISIONS, value="fp16", label=labels["precision"], elem_id=elem_id, min_width=120)


def _name_and_overwrite(labels: dict[str, str], start: str) -> dict[str, Any]:
    with gr.Row():
        name = gr.Textbox(label=labels["custom_name"], max_lines=1, elem_id=f"{start}_custom_name")
        overwrite = _check("overwrite", labels, f"{start}_overwrite")
    return {"custom_name": name, "overwrite": overwrite}
