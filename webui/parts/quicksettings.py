"""The bar above the tabs: settings that belong to this page alone."""

import gradio as gr

from modules.library.checkpoints import Checkpoints
from webui.form import LABELS

Choices = list[tuple[str, str]]


def build_checkpoint_picker() -> tuple[gr.Dropdown, gr.Button]:
    """The checkpoint picker and its refresh button."""
    with gr.Row(elem_id="quicksettings"):
        picker = gr.Dropdown(
            label=LABELS["sd_model_checkpoint"],
            choices=[],
            elem_id="setting_sd_model_checkpoint",
            scale=0,
            min_width=340,
        )
        refresh = gr.Button("🔄", elem_id="refresh_sd_model_checkpoint", elem_classes="tool", scale=0, min_width=40)
    return picker, refresh


def checkpoint_choices(checkpoints: Checkpoints) -> Choices:
    """(title, name) of every checkpoint."""
    return [(checkpoint.title, checkpoint.name) for checkpoint in checkpoints.list()]


def chosen(wanted: str | None, choices: Choices) -> str | None:
    """The wanted checkpoint, or the first if it is not there (any more)."""
    names = [name for _, name in choices]
    return wanted if wanted in names else next(iter(names), None)
