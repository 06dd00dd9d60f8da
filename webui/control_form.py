"""ControlNet units on the page: one field that holds all of them as JSON, pictures by the hashes of what the page has sent."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from modules.core.errors import InputError
from modules.jobs.uploads import Uploads
from modules.requests.control import ControlUnit
from modules.requests.generation import GenerationRequest
from modules.requests.pictures import Picture
from modules.requests.txt2img import make_request

CONTROL = "control"
LABEL = "ControlNet"
START = "[]"
PICTURES = ("image", "mask", "effective_region_mask")
FIELDS = tuple(name for name in ControlUnit.model_fields if name not in (*PICTURES, "images"))


def parsed(value: Any) -> list[dict[str, Any]]:
    """The units as the page has them; raises InputError for what is none."""
    try:
        units = json.loads(value or START) if isinstance(value, str) else value
    except ValueError as error:
        raise InputError(CONTROL, "control is no list of units. Load the page again.") from error
    if not isinstance(units, list) or not all(isinstance(unit, dict) for unit in units):
        raise InputError(CONTROL, "control is no list of units. Load the page again.")
    return units


def check(value: Any) -> str:
    """The field as it may be shown: units without what is wrong in them, and without pictures, which the browser keeps. Raises InputError."""
    units = parsed(value)
    own = [{name: unit[name] for name in FIELDS if name in unit} for unit in units]
    make_request({CONTROL: own})
    return json.dumps(own)


def text_of(units: Iterable[Mapping[str, Any]]) -> str:
    """The field's value for units of an infotext; one that it does not tell of is off."""
    return json.dumps([{**unit, "enabled": bool(unit)} for unit in units])


def gathered_control(value: Any, uploads: Uploads) -> tuple[ControlUnit, ...]:
    """The request's units with their pictures; raises InputError."""
    units = []
    for number, unit in enumerate(parsed(value)):
        if not unit.get("enabled"):
            units.append({"enabled": False})
            continue
        found = {name: unit[name] for name in FIELDS if name in unit}
        for name in PICTURES:
            if unit.get(name):
                found[name] = _sent(uploads, unit[name], f"{CONTROL}.{number}.{name}")
        if found.get("input_mode", "simple") != "simple" and isinstance(unit.get("images"), list):
            found["images"] = tuple(_sent(uploads, one, f"{CONTROL}.{number}.images") for one in unit["images"])
            found.pop("image", None)
        units.append(found)
    request: GenerationRequest = make_request({CONTROL: units})
    return request.control


def _sent(uploads: Uploads, name: object, field: str) -> Picture:
    return uploads.find(name, field)
