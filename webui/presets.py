"""Presets of the page: a model with its parts, a sampler, a size, networks and, if wanted, the prompts, under a name. One file holds them
all, and is what is shared. Knows nothing of gradio."""

import json
import logging
import re
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from modules.core.errors import AtelierError, InputError, NotFound, StorageError, short
from modules.core.files import storage_sentence, write_atomic
from modules.core.validation import Text, input_error

log = logging.getLogger(__name__)

VERSION = 1
MOST = 1000  # presets
FIELDS = (
    *("sampler_name", "scheduler", "steps", "cfg_scale", "distilled_cfg_scale", "width", "height"),
    "forge_additional_modules",
)
PROMPTS = ("prompt", "negative_prompt")
NETWORK = re.compile(r"<(?:lora|lyco|hypernet):[^<>]{1,500}>")


class Preset(BaseModel):
    """`values`: of FIELDS and, if they were wanted, PROMPTS; `networks`: the tags of a prompt; `family`: the checkpoint's, "" if unknown."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: Text = Field(min_length=1, max_length=100)
    family: Text = Field("", max_length=100)
    checkpoint: Text = Field("", max_length=1000)
    networks: tuple[Text, ...] = Field((), max_length=100)
    values: dict[str, Any] = {}


def networks_of(prompt: Any) -> tuple[str, ...]:
    """The tags of networks in a prompt."""
    return tuple(NETWORK.findall(prompt)) if isinstance(prompt, str) else ()


def with_networks(prompt: str, networks: tuple[str, ...]) -> str:
    """The prompt with these networks in the place of its own."""
    words = re.sub(r"\s*" + NETWORK.pattern, "", prompt).strip()
    return " ".join(part for part in (words, *networks) if part)


class Presets:
    """Those of one file. Thread-safe."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._lock = threading.Lock()

    def all(self) -> tuple[list[Preset], list[str]]:
        """In the order of their names, and sentences for what of the file could not be used. Raises InputError if the file is none."""
        try:
            text = self._file.read_text("utf-8-sig")
        except FileNotFoundError:
            return [], []
        except (OSError, ValueError) as error:
            raise InputError("presets", f"{self._file.name} cannot be read: {error}. Mend it, or delete it.") from error
        found, wrong = read_presets(text, self._file.name)
        return sorted(found.values(), key=lambda one: one.name.casefold()), wrong

    def find(self, name: str) -> Preset:
        """The one of that name; raises NotFound."""
        for preset in self.all()[0]:
            if preset.name == name:
                return preset
        raise NotFound(f"There is no preset {short(name)}. It may have been deleted: load the page again.")

    def add(self, presets: Mapping[str, Preset]) -> None:
        """Keep them, in the place of those with their names. Raises InputError, StorageError."""
        with self._lock:
            found = {one.name: one for one in self.all()[0]} | dict(presets)
            if len(found) > MOST:
                raise InputError(
                    "presets", f"There would be {len(found)} presets: at most {MOST} are kept. Delete some."
                )
            self._write(found)

    def delete(self, name: str) -> None:
        """Raises NotFound."""
        with self._lock:
            self.find(name)
            self._write({one.name: one for one in self.all()[0] if one.name != name})

    def _write(self, presets: Mapping[str, Preset]) -> None:
        try:
            write_atomic(self._file, text_of(presets.values()).encode())
        except OSError as error:
            raise StorageError(storage_sentence(error, self._file.parent)) from error


def text_of(presets: Any) -> str:
    """The file's text."""
    return json.dumps(
        {"atelier_presets": VERSION, "presets": [one.model_dump(mode="json") for one in presets]},
        indent=2,
        ensure_ascii=False,
    )


def read_presets(text: str, file: str) -> tuple[dict[str, Preset], list[str]]:
    """The presets of such a text by name, and sentences for what of it could not be used. Raises InputError if it is none at all."""
    try:
        told = json.loads(text)
        entries = told["presets"]
        if not isinstance(entries, list):
            raise TypeError
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise InputError(
            "presets", f"{short(file)} is no file of presets. Choose one that was made with Share presets."
        ) from error
    wrong = []
    version = told.get("atelier_presets")
    if version != VERSION:
        wrong.append(f"{short(file)} is of version {short(version)}, not {VERSION}: what is known of it is taken.")
    found = {}
    for number, entry in enumerate(entries[:MOST], start=1):
        try:
            preset = Preset.model_validate(entry)
        except ValidationError as error:
            wrong.append(f"Preset {number} of {short(file)} is left out: {input_error(error).message}")
            continue
        except AtelierError as error:
            wrong.append(f"Preset {number} of {short(file)} is left out: {error.message}")
            continue
        known = {name: value for name, value in preset.values.items() if name in (*FIELDS, *PROMPTS)}
        found[preset.name] = preset.model_copy(update={"values": known})
    if len(entries) > MOST:
        wrong.append(f"{short(file)} holds {len(entries)} presets: the first {MOST} are taken.")
    return found, wrong
