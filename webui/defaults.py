"""`ui-config.json`: what A1111's users changed of the page's fields, in A1111's keys, such as "txt2img/Sampling steps/value".

A1111 writes every field of its page into that file, so a value that is A1111's own says nothing and leaves the checkpoint's
defaults as they are, unless the page itself stored it: the keys of those are listed under OWN. Keys of fields that are not here are
passed over.
"""

import json
import logging
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import gradio as gr

from modules.core.errors import AtelierError, InputError, short
from modules.requests.catalogue import Catalogue
from webui.form import Form, checked

log = logging.getLogger(__name__)

KEY = re.compile(r"(?:customscript/[^/]+/)?(txt2img|img2img)/(.+)/(value|minimum|maximum|step|visible)", re.DOTALL)
THEIRS = {"sampler_name": "DPM++ 2M", "scheduler": "Automatic"}
"""What A1111's page begins with where its API's defaults, which are ours, are others."""

OWN = "atelier/stored"  # in the file: the keys that the page itself stored
LARGEST = 8_000_000  # bytes
Entries = dict[str, dict[str, Any]]


def read_told(file: Path) -> dict[str, Any]:
    """The file's object, {} if there is none; raises InputError with a sentence for one that cannot be read."""
    try:
        if file.stat().st_size > LARGEST:
            raise ValueError(f"it is larger than {LARGEST // 1_000_000} MB")
        told = json.loads(file.read_text("utf-8-sig"))
        if not isinstance(told, dict):
            raise ValueError('it must hold one object, {"txt2img/Width/value": 512}')
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise InputError(
            file.name, f"{file.name} cannot be read: {error.strerror}. The page begins without it."
        ) from error
    except (ValueError, RecursionError) as error:
        raise InputError(file.name, f"{file.name} is left out: {error}. Mend it, or delete it.") from error
    return told


def key_of(tab: str, label: str) -> str:
    """A1111's key of what that field begins with."""
    return f"{tab}/{label}/value"


class Defaults:
    """Those of one tab. `fields`: name -> component; `plain`: what each begins with where nothing else is said; `others`: name -> label of
    fields that the browser draws itself."""

    def __init__(
        self,
        file: Path,
        tab: str,
        form: Form,
        fields: Mapping[str, Any],
        plain: Mapping[str, Any],
        others: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self._tab = tab
        self._form = form
        self._plain = plain
        labels = {**others, **{name: component.label for name, component in fields.items()}}
        counts = Counter(labels.values())
        self.labels = {name: label for name, label in labels.items() if counts[label] == 1}
        self._file = file
        self._seen: tuple[float, int] | None = None
        self._entries: Entries = {}
        self._own: set[str] = set()
        self._look()
        for name, entry in self._entries.items():
            if name in fields:
                self._arrange(name, fields[name], entry)

    @property
    def tab(self) -> str:
        """The tab's name."""
        return self._tab

    def _look(self) -> None:
        """Read the file, if it is another than before. One that cannot be read is told in the log, and counts as empty."""
        try:
            stat = self._file.stat()
            seen = (stat.st_mtime, stat.st_size)
        except OSError:
            seen = (0.0, 0)
        if seen == self._seen:
            return
        self._seen = seen
        try:
            told = read_told(self._file)
        except InputError as error:
            log.warning("%s", error.message)
            told = {}
        names = {label: name for name, label in self.labels.items()}
        own = told.get(OWN)
        own = {key for key in own if isinstance(key, str)} if isinstance(own, list) else set()
        self._entries, self._own = {}, set()
        for key, value in told.items():
            parts = KEY.fullmatch(key)
            if parts and parts[1] == self._tab and (name := names.get(parts[2])):
                self._entries.setdefault(name, {})[parts[3]] = value
                if key in own and parts[3] == "value":
                    self._own.add(name)

    def values(self, catalogue: Catalogue, *, tell: bool = False) -> dict[str, Any]:
        """Field name -> the value that it begins with. `tell`: wrong ones are told in the log."""
        self._look()
        found = {}
        for name, entry in self._entries.items():
            if "value" not in entry:
                continue
            if name not in self._own and entry["value"] in (self._plain.get(name), THEIRS.get(name)):
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
