"""`ui-config.json`: what A1111's users changed of the page's fields, in A1111's keys, such as "txt2img/Sampling steps/value".

A1111 writes every field of its page into that file, so a value that is A1111's own says nothing and leaves the checkpoint's
defaults as they are. Keys of fields that are not here are passed over.
"""

import json
import logging
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gradio as gr

from modules.core.errors import AtelierError, InputError, short
from modules.requests.catalogue import Catalogue
from webui.form import Form, checked

log = logging.getLogger(__name__)

KEY = re.compile(r"(?:customscript/[^/]+/)?(txt2img|img2img)/(.+)/(value|minimum|maximum|step|visible)", re.DOTALL)
THEIRS = {"sampler_name": "DPM++ 2M", "scheduler": "Automatic"}
"""What A1111's page begins with where its API's defaults, which are ours, are others."""

LARGEST = 8_000_000  # bytes
Entries = dict[str, dict[str, Any]]


def read_entries(file: Path, tab: str) -> Entries:
    """Label -> {"value", "minimum" ...} of that tab's fields. A file that cannot be read is told in the log, and empty."""
    try:
        if file.stat().st_size > LARGEST:
            raise ValueError(f"it is larger than {LARGEST // 1_000_000} MB")
        told = json.loads(file.read_text("utf-8-sig"))
        if not isinstance(told, dict):
            raise ValueError('it must hold one object, {"txt2img/Width/value": 512}')
    except FileNotFoundError:
        return {}
    except OSError as error:
        log.warning("%s cannot be read: %s. The page begins without it.", file.name, error.strerror)
        return {}
    except (ValueError, RecursionError) as error:
        log.warning("%s is left out: %s. Mend it, or delete it.", file.name, error)
        return {}
    found: Entries = {}
    for key, value in told.items():
        if (parts := KEY.fullmatch(key)) and parts[1] == tab:
            found.setdefault(parts[2], {})[parts[3]] = value
    return found


class Defaults:
    """Those of one tab. `fields`: name -> component; `plain`: what each begins with where nothing else is said."""

    def __init__(self, file: Path, tab: str, form: Form, fields: Mapping[str, Any], plain: Mapping[str, Any]) -> None:
        self._tab = tab
        self._form = form
        self._plain = plain
        counts = Counter(component.label for component in fields.values())
        names = {component.label: name for name, component in fields.items() if counts[component.label] == 1}
        entries = read_entries(file, tab)
        self._entries = {names[label]: entry for label, entry in entries.items() if label in names}
        for name, entry in self._entries.items():
            self._arrange(name, fields[name], entry)

    def values(self, catalogue: Catalogue, *, tell: bool = False) -> dict[str, Any]:
        """Field name -> the value that it begins with. `tell`: wrong ones are told in the log."""
        found = {}
        for name, entry in self._entries.items():
            if "value" not in entry or entry["value"] in (self._plain.get(name), THEIRS.get(name)):
                continue
            try:
                found[name] = checked(name, entry["value"], catalogue, self._form)
            except AtelierError as error:
                if tell:
                    log.warning("ui-config.json, tab %s: %s", self._tab, error.message)
        return found

    def _arrange(self, name: str, component: Any, entry: Mapping[str, Any]) -> None:
        """Ends, step and whether it is seen. A range can only be narrowed: what lies outside is no valid value."""
        try:
            if isinstance(component, (gr.Slider, gr.Number)):
                low, high = (_number(name, part, entry, getattr(component, part)) for part in ("minimum", "maximum"))
                if low is not None and high is not None and low >= high:
                    raise InputError(name, f"{name}: its minimum {low:g} is not below its maximum {high:g}.")
                step = _number(name, "step", entry, component.step)
                if step is not None and step <= 0:
                    raise InputError(name, f"{name}: its step is {step:g}: it must be above 0.")
                ends = {"minimum": _later(low, component.minimum, max), "maximum": _later(high, component.maximum, min)}
                for part, value in {**ends, "step": step}.items():
                    setattr(component, part, value)
            if not isinstance(seen := entry.get("visible", True), bool):
                raise InputError(name, f"{name}: visible is {short(seen)}: it must be true or false.")
            if not seen:
                component.visible = "hidden"
        except InputError as error:
            log.warning("ui-config.json, tab %s: %s The entry is left out.", self._tab, error.message)


def _number(name: str, part: str, entry: Mapping[str, Any], otherwise: Any) -> float | None:
    value = entry.get(part, otherwise)
    if value is not None and (isinstance(value, bool) or not isinstance(value, (int, float))):
        raise InputError(name, f"{name}: its {part} is {short(value)}: it must be a number.")
    return value


def _later(wanted: float | None, own: float | None, choose: Any) -> float | None:
    return choose(wanted, own) if wanted is not None and own is not None else wanted if own is None else own
