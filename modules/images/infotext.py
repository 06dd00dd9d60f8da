"""A1111's infotext: the text that says how a picture was made. One module formats it and parses it.

<prompt, any number of lines>
Negative prompt: <any number of lines; absent if empty>
Steps: 20, Sampler: Euler a, ..., Version: ...
"""

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from modules.core.errors import InputError
from modules.images.overrides import option_keys
from modules.requests.control_infotext import read_told as read_control
from modules.requests.control_infotext import told_keys as control_keys
from modules.requests.detail import read_told, told_keys
from modules.requests.guidance import flat_names, gathered

NEGATIVE = "Negative prompt:"
TEMPLATES = ("Template:", "Negative Template:")
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
    lines, templates = _without_templates(lines)
    fields = parse_fields(lines[-1])
    if len(fields) < 3:
        fields = {}
    else:
        lines = lines[:-1]
        fields |= templates
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


def disregarded(text: Infotext, keys: Collection[str]) -> Infotext:
    """The infotext without those keys; "Prompt" and "Negative prompt" are keys too, "Size-1" and "Size-2" A1111's names of the size."""
    gone = {"Size" if key in ("Size-1", "Size-2") else key for key in keys}
    return Infotext(
        prompt="" if "Prompt" in gone else text.prompt,
        negative_prompt="" if "Negative prompt" in gone else text.negative_prompt,
        fields={key: value for key, value in text.fields.items() if key not in gone},
    )


def _without_templates(lines: list[str]) -> tuple[list[str], dict[str, str]]:
    """The lines without those that older versions of Dynamic Prompts wrote behind the fields, and what these say."""
    for i, line in enumerate(lines):
        if i and line.startswith(TEMPLATES) and len(parse_fields(lines[i - 1])) >= 3:
            break
    else:
        return lines, {}
    found: dict[str, str] = {}
    key = ""
    for line in lines[i:]:
        name, colon, rest = line.partition(":")
        if colon and f"{name}:" in TEMPLATES:
            key, found[name] = name, rest.strip()
        else:
            found[key] += f"\n{line}"
    return lines[:i], found


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
    "Distilled CFG Scale": "distilled_cfg_scale",
    "Seed": "seed",
    "Variation seed": "subseed",
    "Variation seed strength": "subseed_strength",
    "Tiling": "tiling",
    "CFG Rescale phi": "cfg_rescale",
    "Refiner": "refiner_checkpoint",
    "Refiner switch at": "refiner_switch_at",
    "Denoising strength": "denoising_strength",
    "Hires checkpoint": "hr_checkpoint_name",
    "Hires sampler": "hr_sampler_name",
    "Hires prompt": "hr_prompt",
    "Hires negative prompt": "hr_negative_prompt",
    "Hires schedule type": "hr_scheduler",
    "Hires upscale": "hr_scale",
    "Hires steps": "hr_second_pass_steps",
    "Hires upscaler": "hr_upscaler",
    "Hires CFG Scale": "hr_cfg",
    "Hires Distilled CFG Scale": "hr_distilled_cfg",
}
_SIZES = {
    "Size": ("width", "height"),
    "Seed resize from": ("seed_resize_from_w", "seed_resize_from_h"),
    "Hires resize": ("hr_resize_x", "hr_resize_y"),
}
HIRES = ("Hires upscale", "Hires resize", "Hires upscaler")
"""Keys that tell of hires fix: one of them is always there."""


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
    if any(key in text.fields for key in HIRES):
        values["enable_hr"] = True
    values.update({field: value for field, value in gathered(text.fields).items() if value is not None})
    if text.fields.get("Face restoration", "None") not in ("None", "False"):
        values["restore_faces"] = True
    if units := read_told(text.fields):
        values["detail"] = tuple(units)
    if control := read_control(text.fields):
        values["control"] = tuple(control.get(n, {}) for n in range(max(control) + 1))
    return values


# Keys that tell of a picture without being a setting
_TOLD = (
    *(
        "Version",
        "User",
        "Model hash",
        "Model",
        "VAE hash",
        "VAE",
        "Lora hashes",
        "TI hashes",
        "Batch size",
        "Batch pos",
    ),
    *("App", "Backend", "Created Date", "Civitai resources", "Civitai metadata", "Operations", "Parser", "Template"),
    *(
        "Negative Template",
        "Init image hash",
        "Postprocess upscale by",
        "Postprocess upscale to",
        "Postprocess upscaler",
    ),
)


def known_keys() -> frozenset[str]:
    """The keys that something here takes: a field of the request, an option that exists, or nothing because they only tell."""
    modules = (f"Module {number}" for number in range(1, 17))
    return frozenset(
        (
            *(*_FIELDS, *_SIZES, *_TOLD, *modules, *option_keys(), *(name for name, _, _ in flat_names())),
            *(*told_keys(), *control_keys()),
        )
    )
