"""The reader of InvokeAI's metadata: `invokeai_metadata` (3.x and later), `sd-metadata` (2.x) and `Dream` (its command line)."""

import re
import shlex
from typing import Any

from modules.images.metadata.loose import mapping, number, parse_object, sequence, size, stem, whole, words
from modules.images.metadata.names import invoke_sampler
from modules.images.metadata.reading import Carried, Reading, in_infotext
from modules.images.metadata.weights import from_suffixes

PROGRAM = "InvokeAI"
_UNMAPPED = {
    "positive_style_prompt": "Its style prompt has no counterpart here.",
    "controlnets": "It was made with ControlNet pictures, which the file does not hold.",
    "ipAdapters": "It was made with IP-Adapter pictures, which the file does not hold.",
    "t2iAdapters": "It was made with T2I-Adapter pictures, which the file does not hold.",
    "init_image": "It was made from a first picture, which the file does not hold.",
    "hrf_enabled": "Its high-resolution fix is not the same as hires fix.",
    "regions": "Its regional prompts have no counterpart here.",
    "canvas_v2_metadata": "It was made on the canvas, whose layers the file does not hold.",
}


def read(carried: Carried) -> Reading | None:
    """The newest of the formats that the file has."""
    if text := carried.first("invokeai_metadata"):
        found = parse_object(text)
        return _new(found) if found is not None else _broken("invokeai_metadata")
    dream = carried.first("Dream", "dream")
    if text := carried.first("sd-metadata"):
        found = parse_object(text)
        if found is not None:
            return _old(found, carried)
        return _dream(dream, carried) if dream else _broken("sd-metadata")
    return _dream(dream, carried) if dream else None


def _broken(place: str) -> Reading:
    return Reading(program=PROGRAM, unmapped=(f'Its text "{place}" holds no valid JSON.',))


def _new(found: dict[str, Any]) -> Reading:
    unmapped = [sentence for key, sentence in _UNMAPPED.items() if found.get(key) not in (None, False, [], "", {})]
    sampler, schedule = _sampler(words(found.get("scheduler")), unmapped)
    model, vae = mapping(found.get("model")), mapping(found.get("vae"))
    skipped = whole(found.get("clip_skip")) or 0
    refiner = mapping(found.get("refiner_model"))
    name = words(model.get("name")) or words(model.get("model_name"))
    flux = "flux" in words(model.get("base")).lower()
    fields = {
        "Steps": whole(found.get("steps")),
        "Sampler": sampler,
        "Schedule type": schedule,
        "CFG scale": number(found.get("cfg_scale")) if not flux else 1,
        "Distilled CFG Scale": number(found.get("guidance")),
        "Seed": whole(found.get("seed")),
        "Size": size(found.get("width"), found.get("height")),
        "Model": stem(name),
        "VAE": stem(words(vae.get("name")) or words(vae.get("model_name"))),
        "Denoising strength": number(found.get("strength")) if found.get("init_image") else None,
        "Clip skip": skipped + 1 if skipped > 0 else None,  # there it counts the layers left out
        "RNG": "CPU" if words(found.get("rand_device")) != "cuda" else None,
        "Tiling": True if found.get("seamless_x") is True and found.get("seamless_y") is True else None,
        "CFG Rescale phi": number(found.get("cfg_rescale_multiplier")) or None,
    }
    if refiner:
        called = stem(words(refiner.get("name")) or words(refiner.get("model_name")))
        unmapped.append(f'Its refiner "{called[:100]}" works by strength, which has no counterpart here.')
    return in_infotext(
        PROGRAM,
        prompt=" ".join([_prompt(words(found.get("positive_prompt")), unmapped), *_networks(found)]).strip(),
        negative_prompt=_prompt(words(found.get("negative_prompt")), unmapped),
        fields={**fields, **_version(found.get("app_version"))},
        unmapped=unmapped,
    )


def _old(found: dict[str, Any], carried: Carried) -> Reading:
    image, unmapped = mapping(found.get("image")), []
    parts = image.get("prompt")
    texts = [words(mapping(part).get("prompt")) for part in sequence(parts)] or [words(parts)]
    if len([text for text in texts if text]) > 1:
        unmapped.append("Its prompt is a blend of several, of which the first is taken.")
    prompt, negative = _apart(texts[0])
    sampler, schedule = _sampler(words(image.get("sampler")), unmapped)
    if words(image.get("type")) == "img2img":
        unmapped.append(_UNMAPPED["init_image"])
    if image.get("variations"):
        unmapped.append("Its variations have no counterpart here.")
    fields = {
        "Steps": whole(image.get("steps")),
        "Sampler": sampler,
        "Schedule type": schedule,
        "CFG scale": number(image.get("cfg_scale")),
        "Seed": whole(image.get("seed")),
        "Size": size(image.get("width"), image.get("height")) or size(carried.width, carried.height),
        "Model": stem(found.get("model_weights")),
        "Denoising strength": number(image.get("strength")) if words(image.get("type")) == "img2img" else None,
        "RNG": "CPU",
    }
    return in_infotext(
        PROGRAM,
        prompt=_prompt(prompt, unmapped),
        negative_prompt=_prompt(negative, unmapped),
        fields={**fields, **_version(found.get("app_version"))},
        unmapped=unmapped,
    )


def _dream(line: str, carried: Carried) -> Reading:
    """`"prompt" -s 50 -S 123 -W 512 -H 512 -C 7.5 -A k_lms`."""
    try:
        parts = shlex.split(line[:50_000])
    except ValueError:
        return Reading(program=PROGRAM, unmapped=('Its text "Dream" is no whole command line.',))
    options: dict[str, str] = {}
    texts: list[str] = []
    position = 0
    while position < len(parts):
        part = parts[position]
        if re.fullmatch(r"-[A-Za-z]", part) and position + 1 < len(parts):
            options[part[1]], position = parts[position + 1], position + 2
        elif found := re.fullmatch(r"-([sSWHCAf])(\S+)", part):
            options[found[1]], position = found[2], position + 1
        else:
            position += 1
            texts += [] if part.startswith("--") else [part]
    unmapped: list[str] = []
    prompt, negative = _apart(" ".join(texts))
    sampler, schedule = _sampler(options.get("A", ""), unmapped)
    fields = {
        "Steps": whole(options.get("s")),
        "Sampler": sampler,
        "Schedule type": schedule,
        "CFG scale": number(options.get("C")),
        "Seed": whole(options.get("S")),
        "Size": size(options.get("W"), options.get("H")) or size(carried.width, carried.height),
        "RNG": "CPU",
    }
    return in_infotext(
        PROGRAM,
        prompt=_prompt(prompt, unmapped),
        negative_prompt=_prompt(negative, unmapped),
        fields=fields,
        unmapped=unmapped,
    )


def _apart(prompt: str) -> tuple[str, str]:
    """2.x wrote the negative prompt in square brackets inside the prompt."""
    negative = re.findall(r"\[([^\[\]]*)\]", prompt)
    positive = re.sub(r" {2,}", " ", re.sub(r"\[[^\[\]]*\]", "", prompt)).strip()
    return positive, ", ".join(text.strip() for text in negative if text.strip())


def _prompt(text: str, unmapped: list[str]) -> str:
    for word in (".blend(", ".and(", ".swap("):
        if word in text:
            unmapped.append(f"{word[:-1]}() in its prompt has no counterpart here: it stays as text.")
            return text
    return from_suffixes(text)


def _sampler(said: str, unmapped: list[str]) -> tuple[str, str | None]:
    sampler, schedule = invoke_sampler(said)
    if said and sampler is None:
        unmapped.append(f'Its scheduler "{said[:60]}" is not known here.')
    return sampler or said, schedule


def _networks(found: dict[str, Any]) -> list[str]:
    names = []
    for one in sequence(found.get("loras")):
        entry = mapping(one)
        model = mapping(entry.get("model")) or mapping(entry.get("lora"))
        name, weight = stem(words(model.get("name")) or words(model.get("model_name"))), number(entry.get("weight"))
        names += [f"<lora:{name}:{1 if weight is None else weight}>"] if name else []
    return names


def _version(said: Any) -> dict[str, str]:
    return {"Version": f"{PROGRAM} {words(said)[:40]}"} if words(said) else {}
