"""A1111's infotext: the text that says how a picture was made. One module formats it and parses it.

<prompt, any number of lines>
Negative prompt: <any number of lines; absent if empty>
Steps: 20, Sampler: Euler a, ..., Version: ...
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from modules.core.errors import InputError
from modules.requests.guidance import gathered

NEGATIVE = "Negative prompt:"
_KEY = re.compile(r"\w[\w \-/]{0,99}")


@dataclass(frozen=True, kw_only=True)
class Infotext:
    """Its three parts; `fields` keeps the order of the text and holds strings."""

    prompt: str = ""
    negative_prompt: str = ""
    fields: dict[str, str] = field(default_factory=dict)


def format_infotext(prompt: str, negative_prompt: str, fields: Mapping[str, Any]) -> str:
    """The text; fields whose value is None are left out, one that equals its key is written as the key alone."""
    parts = [key if key == value else f"{key}: {quote(value)}" for key, value in fields.items() if value is not None]
    negative = f"\n{NEGATIVE} {negative_prompt}" if negative_prompt else ""
    return f"{prompt}{negative}\n{', '.join(parts)}".strip()


def quote(value: Any) -> str:
    """A value as it stands in the last line: a JSON string when it holds a comma, colon or line break, or would be misread."""
    text = str(value)
    bare = text == text.strip() and not text.startswith('"') and not any(c in text for c in ",:\n")
    return text if bare else json.dumps(text, ensure_ascii=False)


def unquote(text: str) -> str:
    """The reverse of `quote`; text that only looks quoted is kept as it is."""
    if len(text) >= 2 and text[0] == text[-1] == '"':
        try:
            return str(json.loads(text))
        except ValueError:
            return text
    return text


def parse_infotext(text: str) -> Infotext:
    """The parts of `text`. The last line counts as fields if it holds at least three of them, as in A1111.

    Linear in the length of the text; raises nothing on any text.
    """
    lines = text.strip().split("\n")
    fields = parse_fields(lines[-1])
    if len(fields) < 3:
        fields = {}
    else:
        lines = lines[:-1]
    prompt: list[str] = []
    negative: list[str] | None = None
    for line in lines:
        line = line.strip()
        if negative is None and line.startswith(NEGATIVE):
            negative, line = [], line[len(NEGATIVE) :].strip()
        (prompt if negative is None else negative).append(line)
    return Infotext(
        prompt="\n".join(prompt).lstrip("\n"), negative_prompt="\n".join(negative or []).lstrip("\n"), fields=fields
    )


def parse_fields(line: str) -> dict[str, str]:
    """The `key: value` pairs of the last line, values unquoted."""
    found: dict[str, str] = {}
    position = 0
    while position < len(line):
        colon = line.find(":", position)
        if colon < 0:
            break
        start = max(
            line.rfind(",", position, colon) + 1, position
        )  # text before the key that is no pair is passed over
        key = line[start:colon].strip()
        value, position = _value(line, colon + 1)
        if _KEY.fullmatch(key):
            found[key] = value
    return found


def _value(line: str, start: int) -> tuple[str, int]:
    """The value that begins at `start`, and where the next pair begins."""
    while start < len(line) and line[start] == " ":
        start += 1
    if line[start : start + 1] == '"':
        end = start + 1
        while end < len(line) and line[end] != '"':
            end += 2 if line[end] == "\\" else 1
        comma = line.find(",", end)
        after = line[end + 1 : comma if comma >= 0 else len(line)]
        if end < len(line) and not after.strip():
            return unquote(line[start : end + 1]), comma + 1 if comma >= 0 else len(line)
    comma = line.find(",", start)
    end = comma if comma >= 0 else len(line)
    return line[start:end].strip(), end + 1


_FIELDS = {
    "Steps": "steps",
    "Sampler": "sampler_name",
    "Schedule type": "scheduler",
    "CFG scale": "cfg_scale",
    "Seed": "seed",
    "Variation seed": "subseed",
    "Variation seed strength": "subseed_strength",
    "Tiling": "tiling",
    "CFG Rescale phi": "cfg_rescale",
    "Refiner": "refiner_checkpoint",
    "Refiner switch at": "refiner_switch_at",
}
_SIZES = {"Size": ("width", "height"), "Seed resize from": ("seed_resize_from_w", "seed_resize_from_h")}


def to_request_values(text: Infotext) -> dict[str, Any]:
    """The infotext as values of a Txt2ImgRequest, as far as they are there; raises InputError on a wrong size."""
    values: dict[str, Any] = {"prompt": text.prompt, "negative_prompt": text.negative_prompt}
    values.update({name: text.fields[key] for key, name in _FIELDS.items() if key in text.fields})
    for key, (width, height) in _SIZES.items():
        if key in text.fields:
            size = re.fullmatch(r"(\d{1,6})x(\d{1,6})", text.fields[key])
            if not size:
                raise InputError(key, f'{key} is "{text.fields[key][:40]}" in the infotext: it must look like 512x512.')
            values[width], values[height] = int(size[1]), int(size[2])
    values.update({field: value for field, value in gathered(text.fields).items() if value is not None})
    return values
