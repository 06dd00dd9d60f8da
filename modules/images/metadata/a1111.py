"""The reader of A1111's own format, which Forge, SD.Next, Civitai and others write too."""

import re

from modules.images.infotext import Infotext, format_infotext, parse_infotext
from modules.images.metadata.carriers import INFOTEXT
from modules.images.metadata.exif import USER_COMMENT
from modules.images.metadata.names import comfy_sampler, comfy_schedule
from modules.images.metadata.reading import Carried, Reading

PLACES = (INFOTEXT, USER_COMMENT, "comment", "exif ImageDescription", "exif XPComment")
UNKNOWN = "a program that writes as A1111 does"


def read(carried: Carried) -> Reading | None:
    """An infotext in any of its places. Outside the one that is named for it, it must hold settings."""
    for place in PLACES:
        text = carried.first(place)
        if not text or text.startswith("{"):
            continue
        parsed = parse_infotext(text)
        if parsed.fields or place == INFOTEXT:
            return Reading(program=program_of(parsed.fields), infotext=_in_our_names(text, parsed))
    return None


def program_of(fields: dict[str, str]) -> str:
    """Who wrote it, as far as its keys tell."""
    version = fields.get("Version", "")
    if "App" in fields or "Backend" in fields:
        return fields.get("App") or "SD.Next"
    for begins, name in (("Fooocus", "Fooocus"), ("ComfyUI", "ComfyUI"), ("Atelier", "Atelier"), ("neo", "Forge Neo")):
        if version.startswith(begins):
            return name
    if re.match(r"f\d", version):
        return "Forge"
    if re.match(r"v\d", version):
        return "AUTOMATIC1111"
    if "Civitai resources" in fields or "Civitai metadata" in fields:
        return "Civitai"
    return UNKNOWN


def _in_our_names(text: str, parsed: Infotext) -> str:
    """The text as it is, but for ComfyUI's names of samplers and schedules, which Fooocus and some nodes use."""
    fields = dict(parsed.fields)
    if sampler := comfy_sampler(fields.get("Sampler", "")):
        fields["Sampler"] = sampler
    if "Schedule type" not in fields and (schedule := comfy_schedule(fields.get("Scheduler", "").lower())):
        fields = {("Schedule type" if key == "Scheduler" else key): value for key, value in fields.items()}
        fields["Schedule type"] = schedule
    if fields == parsed.fields:
        return text
    return format_infotext(parsed.prompt, parsed.negative_prompt, fields)
