"""ADetailer's arguments in `alwayson_scripts`, and its routes."""

from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter

from modules.core.errors import InputError, short
from modules.library.detectors import DetectorFiles
from modules.requests.detail import DetailUnit

TITLE = "ADetailer"
VERSION = "24.11.1"
"""The extension's whose arguments these are."""

ELSEWHERE = ("is_api",)
"""What clients send and nothing depends on."""


def read_units(field: str, arguments: Sequence[Any], *, img2img: bool = False) -> dict[str, Any]:
    """The request's `detail`, and `detail_only` if `img2img` is to be skipped: [enabled, skip img2img, unit ...], the first two of which
    may be left out. Raises InputError."""
    switches = [value for value in arguments[:2] if isinstance(value, bool)]
    units = [_unit(field, value) for value in arguments[len(switches) :]]
    if switches and not switches[0]:
        return {}
    found: dict[str, Any] = {"detail": tuple(units)}
    if img2img and len(switches) > 1 and switches[1]:
        found["detail_only"] = True
    return found


def _unit(field: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InputError(
            field, f'{field} holds {short(value)} for "{TITLE}": send true or false, and then an object for each pass.'
        )
    known = {name: given for name, given in value.items() if name in DetailUnit.model_fields}
    strange = sorted(name for name in value if name not in (*DetailUnit.model_fields, *ELSEWHERE))
    if strange:
        raise InputError(
            field,
            f'{field} holds {short(strange[0])} in a pass of "{TITLE}", which is not a field known here; remove it.',
        )
    return known


def build_detail(files: DetectorFiles) -> APIRouter:
    """The extension's routes."""
    router = APIRouter()

    @router.get("/adetailer/v1/version")
    def version() -> dict[str, str]:
        return {"version": VERSION}

    @router.get("/adetailer/v1/schema")
    def schema() -> dict[str, Any]:
        return DetailUnit.model_json_schema()

    @router.get("/adetailer/v1/ad_model")
    def models() -> dict[str, list[str]]:
        return {"ad_model": files.names()}

    return router
