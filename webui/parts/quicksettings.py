"""The bar above the tabs: settings that belong to this page alone."""

from collections.abc import Iterable

import gradio as gr

from modules.core.errors import UnknownName
from modules.core.paths import CHECKPOINT
from modules.library.library import Library
from modules.library.shelf import Shelf
from webui.form import LABELS, MODULES

Choices = list[tuple[str, str]]


def build_quicksettings() -> tuple[gr.Dropdown, gr.Dropdown, gr.Button]:
    """The checkpoint picker, the choice of separate VAEs and text encoders, and the refresh button of both. assets/quick.js adds the settings
    that `quicksettings_list` names."""
    with gr.Row(elem_id="quicksettings"):
        with gr.Column(scale=0, min_width=340):  # neighbours of one form would be stacked
            picker = gr.Dropdown(
                label=LABELS["sd_model_checkpoint"],
                choices=[],
                elem_id="setting_sd_model_checkpoint",
            )
        with gr.Column(scale=0, min_width=340):
            modules = gr.Dropdown(
                label=LABELS[MODULES],
                choices=[],
                value=[],
                multiselect=True,
                allow_custom_value=True,
                elem_id="setting_forge_additional_modules",
            )
        refresh = gr.Button("🔄", elem_id="refresh_sd_model_checkpoint", elem_classes="tool", scale=0, min_width=40)
        gr.Button("◐", elem_id="theme", elem_classes="tool", scale=0, min_width=40)
        gr.HTML(
            html_template='<div class="quick settings models" role="group" aria-label="Quicksettings"></div>',
            elem_id="quick",
            apply_default_css=False,
        )
    return picker, modules, refresh


def checkpoint_choices(library: Library, *, short: bool = False) -> Choices:
    """(title, name) of every checkpoint; the title of one that cannot be used says why. `short`: titles have no folders."""
    troubles, found = library.troubles(CHECKPOINT), library.checkpoints.list()
    titles = [one.title.removeprefix(one.name.rpartition("/")[0]).lstrip("/") if short else one.title for one in found]
    return [(_marked(title, troubles.get(one.path, "")), one.name) for title, one in zip(titles, found, strict=True)]


def _marked(title: str, trouble: str) -> str:
    """The title with the first half of that sentence, which begins with the file's name and ends with what to do."""
    reason = trouble.rpartition('" ')[2].partition(". ")[0]
    return f"{title} ⚠ {reason}" if reason else title


def module_choices(shelf: Shelf) -> list[str]:
    """The names of every VAE and text encoder in a file of its own."""
    return list(dict.fromkeys(module.name for module in shelf.list()))


def module_names(names: Iterable[str], shelf: Shelf) -> list[str]:
    """What the choices call those files; one that is not there keeps its name."""
    found = []
    for name in names:
        try:
            found.append(shelf.find(name).name)
        except UnknownName:
            found.append(name)
    return found


def chosen(wanted: str | None, choices: Choices) -> str | None:
    """The wanted checkpoint, or the first if it is not there (any more)."""
    names = [name for _, name in choices]
    return wanted if wanted in names else next(iter(names), None)
