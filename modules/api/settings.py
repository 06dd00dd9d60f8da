"""The settings as the tab Settings shows them: a section each, with labels, help, ranges, defaults, and what there is to choose."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Body

from modules.api.bodies import check_plain
from modules.api.callers import Caller
from modules.core.settings import Settings
from modules.jobs.service import JobService
from modules.library.localizations import NONE, Localizations

FACTS = ("type", "enum", "minimum", "maximum", "multipleOf", "maxLength", "pattern")  # of JSON schema
LINES = 2000  # a text that may be longer than this has lines


def build_settings(service: JobService) -> APIRouter:
    """Read them all, set some of them (all that are sent, or none)."""
    router = APIRouter()

    @router.get("/atelier/settings")
    def settings() -> dict[str, Any]:
        return told(service)

    @router.post("/atelier/settings")
    def set_settings(values: Annotated[dict[str, Any], Body()], caller: Caller) -> dict[str, Any]:
        for name, value in values.items():
            check_plain(name, value)
        service.desk(caller).change_options(values)
        return told(service)

    return router


def told(service: JobService) -> dict[str, Any]:
    """`{"sections": [{"name", "title", "settings": [...]}]}`, in the order of the table of settings."""
    current, offered = service.settings.current, choices(service)
    found = []
    for name, field in Settings.model_fields.items():
        kind = type(field.default)
        facts = kind.model_json_schema()["properties"]
        values, defaults = getattr(current, name).model_dump(), field.default.model_dump()
        entries = [entry(key, facts[key], values[key], defaults[key], offered.get(key, ())) for key in facts]
        found.append({"name": name, "title": (kind.__doc__ or name).strip(), "settings": entries})
    return {"sections": found}


def entry(name: str, facts: Mapping[str, Any], value: Any, default: Any, offered: Sequence[str]) -> dict[str, Any]:
    """One setting. `offered`: what is suggested where any text may be given."""
    found = {fact: facts[fact] for fact in FACTS if fact in facts}
    if name.endswith("_color"):
        found["format"] = "color"
    elif found.get("maxLength", 0) >= LINES:
        found["format"] = "lines"
    return {
        **found,
        "name": name,
        "title": facts.get("title", name),
        "description": facts.get("description", ""),
        "value": value,
        "default": default,
        "offered": list(offered),
    }


def choices(service: JobService) -> dict[str, list[str]]:
    """The names that are here, of settings that name a file."""
    return {
        "sd_model_checkpoint": [checkpoint.name for checkpoint in service.checkpoints.list()],
        "sd_vae": ["Automatic", "None", *(vae.path.name for vae in service.library.vaes.list())],
        "localization": [NONE, *Localizations(service.paths.localizations).names()],
        "upscaler_for_img2img": ["None", *service.extras.upscalers.names()],
    }
