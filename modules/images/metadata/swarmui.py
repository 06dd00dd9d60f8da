"""The reader of SwarmUI's pictures: JSON in A1111's place, its settings under `sui_image_params`."""

from typing import Any

from modules.images.metadata.carriers import INFOTEXT
from modules.images.metadata.exif import USER_COMMENT
from modules.images.metadata.loose import mapping, number, parse_object, sequence, size, stem, whole, words
from modules.images.metadata.names import comfy_sampler, comfy_schedule
from modules.images.metadata.reading import Carried, Reading, in_infotext

PROGRAM = "SwarmUI"
_UNMAPPED = {
    "initimage": "It was made from a first picture, which the file does not hold.",
    "maskimage": "It was inpainted with a mask, which the file does not hold.",
    "controlnetmodel": "It was made with a ControlNet picture, which the file may not hold.",
    "refinermodel": "Its refiner works in a pass of its own, which has no counterpart here.",
    "refinerupscale": "Its refiner makes the picture larger, which is not the same as hires fix.",
}


def read(carried: Carried) -> Reading | None:
    """The settings in a PNG's `parameters` or in EXIF."""
    found = parse_object(carried.first(INFOTEXT, USER_COMMENT)) or {}
    if "sui_image_params" not in found:
        return None
    params = mapping(found["sui_image_params"])
    said = words(params.get("comfyuisampler")) or words(params.get("sampler"))
    schedule = words(params.get("comfyuischeduler")) or words(params.get("scheduler"))
    unmapped = [sentence for key, sentence in _UNMAPPED.items() if params.get(key) not in (None, "", 1, 1.0, False)]
    for kind, name, known in (
        ("sampler", said, comfy_sampler(said)),
        ("scheduler", schedule, comfy_schedule(schedule)),
    ):
        if name and known is None:
            unmapped.append(f'Its {kind} "{name[:60]}" is not known here.')
    skipped = whole(params.get("clipstopatlayer"))
    fields = {
        "Steps": whole(params.get("steps")),
        "Sampler": comfy_sampler(said) or said or "Euler",
        "Schedule type": comfy_schedule(schedule) or ("Normal" if not schedule else None),
        "CFG scale": number(params.get("cfgscale")),
        "Distilled CFG Scale": number(params.get("fluxguidancescale")),
        "Seed": whole(params.get("seed")),
        "Size": size(params.get("width"), params.get("height")) or size(carried.width, carried.height),
        "Model": stem(params.get("model")),
        "VAE": stem(params.get("vae")) if words(params.get("vae")) not in ("None", "Automatic") else None,
        "Variation seed": whole(params.get("variationseed")),
        "Variation seed strength": number(params.get("variationseedstrength")),
        "Clip skip": -skipped if skipped is not None and -12 <= skipped < -1 else None,
        "RNG": "CPU",
        "Version": f"{PROGRAM} {words(params.get('swarm_version'))[:40]}".strip(),
    }
    return in_infotext(
        PROGRAM,
        prompt=" ".join([words(params.get("prompt")), *_networks(params)]).strip(),
        negative_prompt=words(params.get("negativeprompt")),
        fields=fields,
        unmapped=unmapped,
    )


def _networks(params: dict[str, Any]) -> list[str]:
    weights = [number(weight) for weight in sequence(params.get("loraweights"))]
    names = [stem(name) for name in sequence(params.get("loras"))]
    return [
        f"<lora:{name}:{weights[i] if i < len(weights) and weights[i] is not None else 1}>"
        for i, name in enumerate(names)
        if name
    ]
