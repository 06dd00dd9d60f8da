"""What `/sdapi/v1/scripts` and `/script-info` tell: the scripts that draw instead, and those of `alwayson_scripts` with their arguments."""

from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from modules.api.always_on import FIXED, IMG2IMG_SCRIPTS, READERS, SCRIPTS
from modules.api.control import TITLES
from modules.api.detail import TITLE as DETAIL
from modules.api.dynamic_args import ARGUMENTS as TEMPLATE_ARGUMENTS
from modules.api.dynamic_args import TITLE as TEMPLATES
from modules.api.tiled_args import FORGE, NAMES
from modules.requests.control import ControlUnit
from modules.requests.detail import DetailUnit
from modules.requests.guidance import TECHNIQUES
from modules.requests.img2img import SoftInpainting
from modules.requests.scripts import ScriptEntry
from modules.requests.txt2img import Txt2ImgRequest

TABS = ("txt2img", "img2img")


def always_on(units: int) -> Iterator[tuple[str, tuple[str, ...], list[dict[str, Any]]]]:
    """(title, tabs, arguments) of each script that `alwayson_scripts` takes; `units`: how many ControlNet's have."""
    yield (
        TITLES[0],
        TABS,
        [told(f"Unit {number}", ControlUnit.model_validate({}).model_dump(mode="json")) for number in range(units)],
    )
    passed = DetailUnit.model_validate({}).model_dump(mode="json")
    yield DETAIL, TABS, [told("Enable ADetailer", False), told("Skip img2img", False), told("", passed)]
    for title, (field, names) in SCRIPTS.items():
        yield title, TABS, [told("Enabled", False), *_arguments(TECHNIQUES[field][1], names)]
    for title, (field, _) in READERS.items():
        forges = "Integrated" in title
        arguments = _arguments(TECHNIQUES[field][1], FORGE if forges else NAMES)
        yield title, TABS, [told("Enabled", False), *(map(_in_pixels, arguments) if forges else arguments)]
    yield TEMPLATES, TABS, [_of_templates(name, missing) for name, missing in TEMPLATE_ARGUMENTS]
    for title, (_, names) in IMG2IMG_SCRIPTS.items():
        yield title, ("img2img",), [told("Enabled", False), *_arguments(SoftInpainting, names)]


def script_names(scripts: tuple[ScriptEntry, ...], units: int) -> dict[str, list[str]]:
    """A1111's lists of names, one a tab."""
    extra = list(always_on(units))
    return {
        tab: [
            *(script.name.lower() for script in scripts if tab in script.fields),
            *(title.lower() for title, tabs, _ in extra if tab in tabs),
        ]
        for tab in TABS
    }


def script_infos(scripts: tuple[ScriptEntry, ...], units: int) -> list[dict[str, Any]]:
    """A1111's descriptions, one a script and tab; those of a tab together."""
    extra = list(always_on(units))
    return [
        info
        for tab in TABS
        for info in (
            *(_info(s.name, tab, [_of_field(f) for f in s.fields[tab]]) for s in scripts if tab in s.fields),
            *(_info(title, tab, arguments, alwayson=True) for title, tabs, arguments in extra if tab in tabs),
        )
    ]


def told(label: str, value: Any, minimum: Any = None, maximum: Any = None, choices: Any = None) -> dict[str, Any]:
    """One argument as A1111 tells it."""
    return {
        "label": label,
        "value": value,
        "minimum": minimum,
        "maximum": maximum,
        "step": None,
        "choices": list(choices) if choices else None,
    }


def _info(title: str, tab: str, arguments: list[dict[str, Any]], alwayson: bool = False) -> dict[str, Any]:
    return {"name": title.lower(), "is_alwayson": alwayson, "is_img2img": tab == "img2img", "args": arguments}


def _of_field(field: Any) -> dict[str, Any]:
    return {**told(field.label, field.default, field.minimum, field.maximum, field.choices), "step": field.step}


def _arguments(model: type[BaseModel], names: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    """Arguments by the names of a request's part; those that this version has at one value alone, and those without effect."""
    for name in names:
        known = model.model_fields.get(name)
        label = (known.title if known else None) or name.replace("_", " ").capitalize()
        if known is None:
            only = FIXED.get(name)
            yield told(label, only, choices=[only] if name in FIXED else None)
        else:
            yield told(label, known.default, *_bounds(known), _choices(known))


def _in_pixels(argument: dict[str, Any]) -> dict[str, Any]:
    """A length in latent pixels as Forge's script has it."""
    if "width" not in argument["label"] and "height" not in argument["label"] and "overlap" not in argument["label"]:
        return argument
    larger = {name: argument[name] * 8 for name in ("value", "minimum", "maximum")}
    return {**argument, **larger, "label": argument["label"].removeprefix("Latent ").capitalize()}


def _bounds(field: FieldInfo) -> tuple[Any, Any]:
    found = {key: getattr(part, key) for part in field.metadata for key in ("ge", "le") if hasattr(part, key)}
    return found.get("ge"), found.get("le")


def _choices(field: FieldInfo) -> tuple[Any, ...]:
    return get_args(field.annotation) if get_origin(field.annotation) is Literal else ()


def _of_templates(name: str, missing: str) -> dict[str, Any]:
    if not name:
        return told(missing.capitalize(), False)
    field = Txt2ImgRequest.model_fields[name]
    return told(name.removeprefix("dp_").replace("_", " ").capitalize(), field.default, *_bounds(field))
