"""The reader of Draw Things' pictures: JSON with short keys (c: the prompt, uc: the negative one) in XMP or EXIF."""

import re
from typing import Any

from modules.images.metadata.exif import USER_COMMENT
from modules.images.metadata.loose import mapping, number, parse_object, sequence, stem, whole, words
from modules.images.metadata.reading import Carried, Reading, in_infotext

PROGRAM = "Draw Things"
_SPACING = {"AYS": "Align Your Steps", "Karras": "Karras"}


def read(carried: Carried) -> Reading | None:
    """The settings, if the keys are Draw Things' own."""
    for place in ("xmp comment", USER_COMMENT, "Comment", "comment"):
        found = parse_object(carried.first(place)) or {}
        if "c" in found and "sampler" in found and "seed" in found:
            return _mapped(found)
    return None


def _mapped(found: dict[str, Any]) -> Reading:
    said, unmapped = words(found.get("sampler")), []
    sampler, schedule = said, None
    for ending, label in _SPACING.items():
        if said.endswith(f" {ending}"):
            sampler, schedule = said.removesuffix(f" {ending}"), label
    if said.endswith(" Trailing"):
        sampler = said.removesuffix(" Trailing")
        unmapped.append(f'"Trailing" in its sampler "{said[:60]}" has no counterpart here.')
    sampler = {"Euler A": "Euler a", "DPM++ 2M": "DPM++ 2M", "Euler Ancestral": "Euler a"}.get(sampler, sampler)
    if mapping(found.get("v2")).get("seedMode") != 0:
        unmapped.append("Its noise comes from Draw Things' own generator: the picture will be another one.")
    sides = words(found.get("size"))
    strength = number(found.get("strength"))
    fields = {
        "Steps": whole(found.get("steps")),
        "Sampler": sampler[:100],
        "Schedule type": schedule,
        "CFG scale": number(found.get("scale")),
        "Seed": whole(found.get("seed")),
        "Size": sides if re.fullmatch(r"\d{1,6}x\d{1,6}", sides) else None,
        "Model": stem(found.get("model")),
        "Version": PROGRAM,
    }
    if strength is not None and strength < 1:
        unmapped.append("It may have been made from a first picture, which the file does not hold.")
    return in_infotext(
        PROGRAM,
        prompt=" ".join([words(found.get("c")), *_networks(found)]).strip(),
        negative_prompt=words(found.get("uc")),
        fields=fields,
        unmapped=unmapped,
    )


def _networks(found: dict[str, Any]) -> list[str]:
    pairs = [
        (stem(mapping(one).get("model")), number(mapping(one).get("weight"))) for one in sequence(found.get("lora"))
    ]
    return [f"<lora:{name}:{1 if weight is None else weight}>" for name, weight in pairs if name]
