"""The styles beside the prompts, and the editor of the style sheets."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from modules.core.errors import InputError
from modules.jobs.service import JobService
from modules.library.styles import Styles, extracted, merged
from webui.form import LABELS
from webui.parts.caller import desk_of

FIELDS = ("prompt", "negative_prompt", "styles")
"""What applying changes."""


@dataclass(frozen=True, kw_only=True)
class StyleRow:
    """Its components: the menu with its buttons, and the editor with its own."""

    styles: gr.Dropdown
    apply: gr.Button
    edit: gr.Button
    editor: gr.Column
    name: gr.Dropdown
    prompt: gr.Textbox
    negative_prompt: gr.Textbox
    save: gr.Button
    delete: gr.Button
    copy: gr.Button
    close: gr.Button


def build_menu(tab: str) -> tuple[gr.Dropdown, gr.Button, gr.Button]:
    """The menu, and the buttons that apply what is chosen there and open the editor."""
    styles = gr.Dropdown(label=LABELS["styles"], choices=[], multiselect=True, elem_id=f"{tab}_styles")
    with gr.Row(elem_id=f"{tab}_styles_row", elem_classes="tools-row"):
        apply = gr.Button("📋", elem_id=f"{tab}_style_apply", elem_classes="tool", scale=0, min_width=40)
        edit = gr.Button("🖌️", elem_id=f"{tab}_styles_edit_button", elem_classes="tool", scale=0, min_width=40)
    return styles, apply, edit


def build_editor(tab: str, styles: gr.Dropdown, apply: gr.Button, edit: gr.Button) -> StyleRow:
    """The editor below, which is closed until it is asked for."""
    with gr.Column(visible=False, elem_id=f"{tab}_styles_dialog") as editor:
        name = gr.Dropdown(label="Style", choices=[], allow_custom_value=True, elem_id=f"{tab}_styles_edit_select")
        hint = "{prompt} stands for the prompt; without it the text comes behind it."
        prompt = gr.Textbox(label="Style's prompt", info=hint, lines=2, elem_id=f"{tab}_edit_style_prompt")
        negative = gr.Textbox(label="Style's negative prompt", lines=2, elem_id=f"{tab}_edit_style_neg_prompt")
        with gr.Row():
            buttons = [
                gr.Button(
                    text,
                    size="sm",
                    min_width=60,
                    elem_id=f"{tab}_edit_style_{text.split()[0].lower()}",
                    elem_classes=who,
                )
                for text, who in (
                    ("Save", "admins"),
                    ("Delete", "admins"),
                    ("Copy main prompt to style", "admins"),
                    ("Close", None),
                )
            ]
    save, delete, copy, close = buttons
    return StyleRow(
        styles=styles,
        apply=apply,
        edit=edit,
        editor=editor,
        name=name,
        prompt=prompt,
        negative_prompt=negative,
        save=save,
        delete=delete,
        copy=copy,
        close=close,
    )


class StyleEditor:
    """The handlers of one tab's styles. Values come as the browser sent them."""

    def __init__(self, service: JobService) -> None:
        self._service = service
        self._styles = service.styles

    def apply(self, prompt: Any, negative_prompt: Any, names: Any) -> tuple[str, str, list[str]]:
        """The prompts with these styles in them, and none chosen any more. Raises UnknownName."""
        one, other = _text(prompt), _text(negative_prompt)
        for style in self._styles.find(_names(names)):
            one, other = merged(style.prompt, one), merged(style.negative_prompt, other)
        return one, other, []

    def open(self, names: Any) -> list[Any]:
        """The editor with the first of the chosen styles."""
        first = next(iter(_names(names)), None)
        return [gr.update(visible=True), gr.update(choices=list(self._styles.all()), value=first), *self.show(first)]

    def show(self, name: Any) -> list[Any]:
        """A style's texts; those of a new one stay as they are typed, and without a name there are none."""
        found = self._styles.all().get(_text(name))
        if found:
            return [found.prompt, found.negative_prompt]
        return [gr.skip(), gr.skip()] if _text(name) else ["", ""]

    def save(self, name: Any, prompt: Any, negative_prompt: Any) -> list[Any]:
        """The menus, once the style is kept; what is chosen there may have changed since. Raises InputError and StorageError."""
        desk_of(self._service).check_admin("Styles")
        self._styles.save(_text(name), _text(prompt), _text(negative_prompt))
        names = list(self._styles.all())
        return [gr.update(choices=names, value=_text(name).strip()), gr.update(choices=names)]

    def delete(self, name: Any, chosen: Any) -> list[Any]:
        """The menus, once the style is gone. Raises InputError and StorageError."""
        desk_of(self._service).check_admin("Styles")
        if not _text(name):
            raise InputError("styles", "No style is chosen. Choose the one to delete.")
        self._styles.delete(_text(name))
        names = list(self._styles.all())
        kept = [one for one in _names(chosen) if one in names]
        menu = gr.update(choices=names) if kept == _names(chosen) else gr.update(choices=names, value=kept)
        return [gr.update(choices=names, value=None), menu]


def pasted_styles(values: dict[str, Any], styles: Styles, how: str) -> dict[str, Any]:
    """A pasted infotext's values with the styles that are in its prompts, as the setting infotext_styles says."""
    if how == "Ignore" or "prompt" not in values:
        return values
    known: Sequence[Any] = list(styles.all().values())
    found, prompt, negative = extracted(values["prompt"], values.get("negative_prompt", ""), known)
    if not found and how == "Apply if any":
        return values
    names = {} if how == "Discard" else {"styles": found}
    return {**values, "prompt": prompt, "negative_prompt": negative, **names}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _names(value: Any) -> list[str]:
    return [name for name in value if isinstance(name, str)] if isinstance(value, list) else []
