"""The detail pass on the page: two units, with the fields that are turned most."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from modules.core.errors import InputError
from modules.requests.detail import NONE, DetailUnit
from modules.requests.txt2img import make_request

COUNT = 2
MODEL = "ad_model"
PARTS = (
    *(MODEL, "ad_prompt", "ad_negative_prompt", "ad_confidence", "ad_dilate_erode", "ad_mask_blur"),
    *("ad_denoising_strength", "ad_inpaint_only_masked", "ad_inpaint_only_masked_padding"),
)
UNITS = {f"{part}_{n + 1}": (n, part) for n in range(COUNT) for part in PARTS}
"""The page's fields: which unit's, and which of its parts."""

UNIT_LABELS = {name: f"{DetailUnit.model_fields[part].title} ({n + 1})" for name, (n, part) in UNITS.items()}
UNIT_STARTS = {name: DetailUnit.model_fields[part].default for name, (_, part) in UNITS.items()}


def gathered_units(values: Mapping[str, Any]) -> dict[str, Any]:
    """The request's `detail` from the page's values; nothing if no unit has a detector."""
    units = [
        {part: values[name] for name, (n, part) in UNITS.items() if n == i and name in values} for i in range(COUNT)
    ]
    for unit in units:
        unit[MODEL] = unit.get(MODEL) or NONE
    return {"detail": units} if any(unit[MODEL] != NONE for unit in units) else {}


def told_units(units: Iterable[Mapping[str, Any]]) -> tuple[dict[str, Any], list[InputError]]:
    """The page's values for an infotext's units (without any: no detector), and what of them has no field here or is wrong."""
    found: dict[str, Any] = {name: NONE for name, (_, part) in UNITS.items() if part == MODEL}
    wrong = []
    for n, unit in enumerate(units):
        for part, value in unit.items():
            name = f"{part}_{n + 1}"
            title = DetailUnit.model_fields[part].title
            if name not in UNITS:
                wrong.append(
                    InputError(name, f'"{title}" ({n + 1}) of the infotext has no field on this page and is left out.')
                )
                continue
            try:
                found[name] = unit_value(name, value)
            except InputError as error:
                wrong.append(error)
    return found, wrong


def unit_value(name: str, value: Any) -> Any:
    """A value for that field as the page may show it; raises InputError."""
    _, part = UNITS[name]
    try:
        return getattr(make_request({"detail": [{part: value}]}).detail[0], part)
    except InputError as error:
        raise InputError(name, error.message.replace(error.field, name, 1)) from error


def page_name(field: str) -> str | None:
    """The page's field for one of the request, "detail.0.ad_confidence"."""
    first, _, rest = field.partition(".")
    number, _, part = rest.partition(".")
    name = f"{part}_{int(number) + 1}" if number.isdigit() else ""
    return name if first == "detail" and name in UNITS else None


def _check(name: str) -> Callable[[Any], Any]:
    return lambda value: unit_value(name, value)


UNIT_CHECKS = {name: _check(name) for name in UNITS}
