"""The reader of NovelAI's pictures: their text in Description, their settings as JSON in Comment."""

from typing import Any

from modules.images.metadata.loose import mapping, number, parse_object, sequence, size, whole, words
from modules.images.metadata.names import comfy_schedule, novelai_sampler
from modules.images.metadata.reading import Carried, Reading, in_infotext
from modules.images.metadata.weights import from_braces

PROGRAM = "NovelAI"
_DEFAULT_SAMPLER = "Euler a"
_CLIP_SKIP, _ENSD = 2, 31337  # what A1111 takes NovelAI's pictures to be made with


def read(carried: Carried) -> Reading | None:
    """NovelAI's Software, Comment and Description; the Comment of WEBP files stands in EXIF."""
    comment = carried.first("Comment", "exif comment", "comment")
    found = parse_object(comment) if comment.startswith("{") else None
    named = carried.first("Software", "exif Software") == PROGRAM
    outer = found is not None and isinstance(found.get("Comment"), str) and "Description" in found
    if found is not None and outer:  # the whole table as one text
        found = parse_object(words(found["Comment"]))
    if not named and not outer and not (found and "uc" in found and "sampler" in found and "scale" in found):
        return None
    prompt = words((found or {}).get("prompt")) or carried.first("Description")
    if found is None:
        fields = {"Clip skip": _CLIP_SKIP, "ENSD": _ENSD, "Size": size(carried.width, carried.height)}
        return in_infotext(
            PROGRAM, prompt=from_braces(prompt), fields=fields, unmapped=["Its Comment holds no valid JSON."]
        )
    return _mapped(found, prompt, carried)


def _mapped(found: dict[str, Any], prompt: str, carried: Carried) -> Reading:
    unmapped: list[str] = []
    said = words(found.get("sampler"))
    sampler = novelai_sampler(said)
    if sampler is None:
        unmapped.append(f'Its sampler "{said[:60]}" is not known here: {_DEFAULT_SAMPLER} is taken, as A1111 does.')
    schedule = words(found.get("noise_schedule"))
    request = words(found.get("request_type"))
    fields = {
        "Steps": whole(found.get("steps")),
        "Sampler": sampler or _DEFAULT_SAMPLER,
        "Schedule type": comfy_schedule(schedule),
        "CFG scale": number(found.get("scale")),
        "Seed": whole(found.get("seed")),
        "Size": size(found.get("width"), found.get("height")) or size(carried.width, carried.height),
        "Denoising strength": number(found.get("strength"))
        if request in ("Img2ImgRequest", "NativeInfillingRequest")
        else None,
        "Clip skip": _CLIP_SKIP,
        "ENSD": _ENSD,
        "CFG Rescale phi": number(found.get("cfg_rescale")) or None,
    }
    unmapped += [
        sentence for key, sentence in _UNMAPPED.items() if found.get(key) not in (None, False, 0, 0.0, [], "", {})
    ]
    if fields["Schedule type"] is None and schedule not in ("", "native"):
        unmapped.append(f'Its noise schedule "{schedule[:60]}" is not known here.')
    if source := carried.first("Source"):
        unmapped.append(f'Its model "{source[:100]}" is NovelAI\'s own.')
    return in_infotext(
        PROGRAM,
        prompt=from_braces(_with_characters(prompt, found.get("v4_prompt"), unmapped)),
        negative_prompt=from_braces(_with_characters(words(found.get("uc")), found.get("v4_negative_prompt"), [])),
        fields=fields,
        unmapped=unmapped,
    )


_UNMAPPED = {
    "sm": "SMEA has no counterpart here.",
    "sm_dyn": "SMEA DYN has no counterpart here.",
    "dynamic_thresholding": "Decrisper (dynamic thresholding) was on.",
    "reference_strength_multiple": "It was made with reference pictures (vibe transfer), which the file does not hold.",
    "reference_strength": "It was made with a reference picture (vibe transfer), which the file does not hold.",
    "skip_cfg_above_sigma": "Variety+ (no guidance in the first steps) has no counterpart here.",
    "controlnet_model": "It was made with a ControlNet picture, which the file does not hold.",
}


def _with_characters(prompt: str, caption: Any, unmapped: list[str]) -> str:
    """The prompt with those of the characters (version 4) behind it; where they stand in the picture cannot be said."""
    inner = mapping(mapping(caption).get("caption"))
    base = words(inner.get("base_caption")) or prompt
    characters = [words(mapping(one).get("char_caption")).strip() for one in sequence(inner.get("char_captions"))]
    characters = [text for text in characters if text]
    if characters:
        unmapped.append("Its characters have prompts of their own: they stand behind the prompt, without their places.")
    return ", ".join([base, *characters])
