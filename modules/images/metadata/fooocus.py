"""The reader of Fooocus' own scheme, JSON in A1111's place; its scheme "a1111" is read as A1111's."""

import re
from typing import Any

from modules.images.metadata.carriers import INFOTEXT
from modules.images.metadata.exif import USER_COMMENT
from modules.images.metadata.loose import number, parse_object, sequence, size, stem, whole, words
from modules.images.metadata.names import comfy_sampler, comfy_schedule
from modules.images.metadata.reading import Carried, Reading, in_infotext

PROGRAM = "Fooocus"
_TELLS = ("adm_guidance", "performance", "base_model", "metadata_scheme", "sharpness", "styles")


def read(carried: Carried) -> Reading | None:
    """The scheme "fooocus" in a PNG's `parameters` or in EXIF."""
    text = carried.first(INFOTEXT, USER_COMMENT, "Comment", "comment")
    scheme = carried.first("fooocus_scheme", "exif MakerNote")
    if not text.startswith("{") and scheme != "fooocus":
        return None
    found = parse_object(text)
    if found is None:
        return (
            Reading(program=PROGRAM, unmapped=("Its parameters hold no valid JSON.",)) if scheme == "fooocus" else None
        )
    found = {str(key).lower().replace(" ", "_"): value for key, value in found.items()}  # old versions wrote labels
    if scheme != "fooocus" and sum(key in found for key in _TELLS) < 2:
        return None
    return _mapped(found, carried)


def _mapped(found: dict[str, Any], carried: Carried) -> Reading:
    unmapped = [f"{name}: {value} has no counterpart here." for name, value in _without_counterpart(found)]
    sampler, schedule = words(found.get("sampler")), words(found.get("scheduler"))
    for kind, said, known in (
        ("sampler", sampler, comfy_sampler(sampler)),
        ("scheduler", schedule, comfy_schedule(schedule)),
    ):
        if said and known is None:
            unmapped.append(f'Its {kind} "{said[:60]}" is not known here.')
    refiner = stem(found.get("refiner_model"))
    clip_skip = whole(found.get("clip_skip"))
    fields = {
        "Steps": whole(found.get("steps")),
        "Sampler": comfy_sampler(sampler) or sampler,
        "Schedule type": comfy_schedule(schedule),
        "CFG scale": number(found.get("guidance_scale")),
        "Seed": whole(found.get("seed")),
        "Size": _size(found.get("resolution")) or size(carried.width, carried.height),
        "Model hash": words(found.get("base_model_hash"))[:10],
        "Model": stem(found.get("base_model")),
        "VAE": None if "default" in words(found.get("vae")).lower() else stem(found.get("vae")),
        "Refiner": refiner if refiner not in ("", "None") else None,
        "Refiner switch at": number(found.get("refiner_switch")) if refiner not in ("", "None") else None,
        "Clip skip": clip_skip if clip_skip and clip_skip > 1 else None,
        "RNG": "CPU",
        "Version": words(found.get("version")),
    }
    return in_infotext(
        PROGRAM,
        prompt=" ".join([words(found.get("prompt")), *_networks(found)]).strip(),
        negative_prompt=words(found.get("negative_prompt")),
        fields=fields,
        unmapped=unmapped,
    )


def _without_counterpart(found: dict[str, Any]) -> list[tuple[str, str]]:
    names = ("styles", "performance", "sharpness", "adm_guidance", "adaptive_cfg", "refiner_swap_method", "freeu")
    told = [(name.replace("_", " ").capitalize(), str(found[name])[:200]) for name in names if name in found]
    return [(name, value) for name, value in told if value not in ("", "None", "[]", "()", "Speed")]


def _networks(found: dict[str, Any]) -> list[str]:
    """LoRAs: a list of [name, weight, hash], or, before that, texts "name : weight" under `lora_combined_1` ..."""
    pairs = [(one[0], one[1]) for one in sequence(found.get("loras")) if isinstance(one, list) and len(one) >= 2]
    for key in sorted(found):
        if key.startswith("lora_combined") and isinstance(found[key], str):
            name, _, weight = found[key].rpartition(" : ")
            pairs.append((name, weight))
    return [
        f"<lora:{stem(name)}:{number(weight)}>" for name, weight in pairs if stem(name) and number(weight) is not None
    ]


def _size(value: Any) -> str | None:
    """Of "(1152, 896)", "1152×896" or [1152, 896]."""
    sides = re.findall(r"\d{1,6}", str(value)[:100])
    return size(*sides[:2]) if len(sides) >= 2 else None
