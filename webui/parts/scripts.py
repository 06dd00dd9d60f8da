"""The dropdown of scripts, and the fields of the one that is chosen."""

from collections.abc import Sequence
from typing import Any

import gradio as gr

from modules.jobs.service import JobService
from modules.requests.axes import RESTORERS, Axis, axes_of
from modules.requests.img2img import Img2ImgRequest
from modules.requests.plot import LETTERS
from modules.requests.plot import TITLE as PLOT
from modules.requests.scripts import ScriptEntry, ScriptField, is_none
from modules.requests.txt2img import Txt2ImgRequest
from webui.parts.notices import shows_errors

NONE = "None"
EVENT: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private", "queue": False, "preprocess": False}
SWITCHES = ["True", "False"]


class ScriptPanel:
    """Built inside a tab. `components`: the dropdown, then every field of every script, in the order of `request_values`."""

    def __init__(self, tab: str, service: JobService) -> None:
        self._tab = tab
        self._service = service
        self._entries = [entry for entry in service.catalogue.scripts if tab in entry.fields]
        self._fields: dict[str, dict[str, Any]] = {}
        self._groups: list[gr.Column] = []
        titles = [NONE, *(entry.name for entry in self._entries)]
        self._choice = gr.Dropdown(label="Script", choices=titles, value=NONE, elem_id=f"{tab}_script_list")
        for entry in self._entries:
            with gr.Column(visible=False, elem_classes="script-fields") as group:
                self._fields[entry.name] = {field.name: self._build(entry, field) for field in entry.fields[tab]}
                self._wire(entry)
            self._groups.append(group)
        self._choice.input(self.show, inputs=[self._choice], outputs=self._groups, **EVENT)

    @property
    def components(self) -> list[Any]:
        """All that `request_values` wants."""
        return [self._choice, *(one for fields in self._fields.values() for one in fields.values())]

    def request_values(self, values: Sequence[Any]) -> dict[str, Any]:
        """What a request says of scripts, from the values of the components."""
        if not values or is_none(str(values[0] or "")):
            return {}
        at = 1
        for name, fields in self._fields.items():
            if name == values[0]:
                return {"script_name": name, "script_args": [*values[at : at + len(fields)]]}
            at += len(fields)
        return {"script_name": str(values[0])}

    def show(self, name: Any) -> list[Any]:
        """The fields of that script alone."""
        return [gr.update(visible=entry.name == name) for entry in self._entries]

    # -- fields --

    def _build(self, entry: ScriptEntry, field: ScriptField) -> Any:
        given: dict[str, Any] = {
            "label": field.label,
            "info": field.tooltip or None,
            "elem_id": f"{self._tab}_script_{entry.name.casefold().replace(' ', '_').replace('/', '')}_{field.name}",
        }
        if field.kind in ("number", "whole"):
            return _number(field, given)
        if field.kind == "switch":
            return gr.Checkbox(value=field.default, **given)
        if field.kind == "choice":
            choices = self._axes() if entry.name == PLOT else list(field.choices)
            kind = gr.Dropdown if len(choices) > 4 else gr.Radio
            return kind(choices, value=field.default, **given)
        if field.kind == "upscaler":
            return gr.Dropdown([*self._service.extras.upscalers.names()], value=field.default, **given)
        if field.kind == "several" and field.choices:
            return gr.CheckboxGroup([*field.choices], value=[*field.default], **given)
        if field.kind == "several":
            return gr.Dropdown([], value=[], multiselect=True, allow_custom_value=True, visible=False, **given)
        if field.kind == "note":
            return gr.Markdown(field.label)
        lines = 3 if field.kind == "lines" and entry.name != PLOT else 1
        return gr.Textbox(value=field.default, lines=lines, max_lines=max(lines * 5, 3), **given)

    def _wire(self, entry: ScriptEntry) -> None:
        fields = self._fields[entry.name]
        if entry.name == PLOT:
            self._wire_axes(fields)
        for swap in entry.swaps:
            ends = [fields[name] for name in (*swap.first, *swap.second)]
            half = len(swap.first)
            button = gr.Button(swap.label, size="sm")
            event = button.click(lambda *v, n=half: [*v[n:], *v[:n]], inputs=ends, outputs=ends, **EVENT)
            if entry.name == PLOT:
                event.then(self._refresh, **self._menus(fields), **EVENT)

    # -- axes of plots --

    def _axes(self) -> list[str]:
        known = (Txt2ImgRequest if self._tab == "txt2img" else Img2ImgRequest).model_fields
        return [axis.name for axis in axes_of(self._tab) if axis.usable(known)]

    def _menus(self, fields: dict[str, Any]) -> dict[str, Any]:
        inputs = [fields["csv_mode"], *(fields[f"{letter}_type"] for letter in LETTERS)]
        outputs = [fields[f"{letter}_{part}"] for letter in LETTERS for part in ("values", "values_dropdown")]
        return {"inputs": inputs, "outputs": outputs}

    def _wire_axes(self, fields: dict[str, Any]) -> None:
        refresh = shows_errors(lambda: [gr.skip()] * 2 * len(LETTERS))(self._refresh)
        for component in (fields["csv_mode"], *(fields[f"{letter}_type"] for letter in LETTERS)):
            component.input(refresh, **self._menus(fields), **EVENT)

    def _refresh(self, text_mode: Any, *names: Any) -> list[Any]:
        """For each axis the text field or the menu of its values, whichever it has."""
        found = []
        for name in names:
            axis = next((axis for axis in axes_of(self._tab) if axis.name == name), None)
            choices = self._choices(axis) if axis else []
            menu = bool(choices) and not text_mode
            there = axis is not None and axis.kind != "nothing"
            found += [gr.update(visible=there and not menu), gr.update(visible=menu, choices=choices)]
        return found

    def _choices(self, axis: Axis) -> list[str]:
        catalogue = self._service.catalogue
        checkpoints = [one.name for one in self._service.checkpoints.list()] if axis.choices in LISTED else []
        return {
            "samplers": [sampler.name for sampler in catalogue.samplers],
            "schedules": [schedule.label for schedule in catalogue.schedules],
            "upscalers": [*catalogue.upscalers],
            "checkpoints": checkpoints,
            "refiners": [NONE, *checkpoints],
            "sources": ["GPU", "CPU", "NV"],
            "float8": ["Disable", "Enable for SDXL", "Enable"],
            "restorers": [*RESTORERS, NONE],
            "switch": SWITCHES,
        }.get(axis.choices, [])


LISTED = ("checkpoints", "refiners")


def _number(field: ScriptField, given: dict[str, Any]) -> gr.Slider | gr.Number:
    step = field.step or (1 if field.kind == "whole" else 0.01)
    if field.minimum is not None and field.maximum is not None:
        return gr.Slider(field.minimum, field.maximum, value=field.default, step=step, buttons=[], **given)
    return gr.Number(value=field.default, minimum=field.minimum, maximum=field.maximum, step=step, **given)
