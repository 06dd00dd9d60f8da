"""How far two pictures are from each other, and the first setting in which their infotexts differ."""

import math
from collections.abc import Callable, Mapping

import numpy as np
from PIL import Image

from modules.images.infotext import Infotext

TOLD = (
    "Version",
    "User",
    "Model",
    "VAE",
    "App",
    "Backend",
    "Batch size",
    "Batch pos",
    "Created Date",
    "Civitai resources",
    "Template",
    "Negative Template",
)
"""Keys in which two infotexts may differ though the settings are the same: names, of which the hashes are compared."""

_ROWS = 256

UNSAID = {
    "Clip skip": "1",
    "RNG": "GPU",
    "Schedule type": "Automatic",
    "Variation seed strength": "0",
    "Tiling": "False",
    "Token merging ratio": "0",
    "ENSD": "0",
    "Emphasis": "Original",
}
"""What an infotext means that does not say it."""


def psnr(one: Image.Image, other: Image.Image) -> float:
    """The peak signal-to-noise ratio of two pictures of one size, in dB over red, green and blue; infinite where nothing differs."""
    error = 0.0
    for top in range(0, one.height, _ROWS):  # strip by strip: large pictures would fill the memory
        box = (0, top, one.width, min(top + _ROWS, one.height))
        first, second = (np.asarray(image.crop(box).convert("RGB"), np.float32) for image in (one, other))
        error += float(np.sum(np.square(first - second), dtype=np.float64))
    return math.inf if error == 0 else 10 * math.log10(255**2 * one.width * one.height * 3 / error)


def first_difference(
    old: Infotext, new: Infotext, same: Callable[[str, str, str], bool] = lambda key, one, other: False
) -> tuple[str, str, str] | None:
    """(key, old value, new value) of the first setting that differs, prompts first; "" where one does not say it.

    `same` may know that two values of a key mean the same.
    """
    pairs = {"Prompt": (old.prompt, new.prompt), "Negative prompt": (old.negative_prompt, new.negative_prompt)}
    for key in dict.fromkeys((*old.fields, *new.fields)):
        if key not in TOLD and not (key.endswith(" hash") and not (key in old.fields and key in new.fields)):
            pairs[key] = (_said(key, old.fields), _said(key, new.fields))
    for key, (one, other) in pairs.items():
        if not (equal(one, other) or same(key, one, other)):
            return key, one, other
    return None


def equal(one: str, other: str) -> bool:
    """Whether two values are the same text without regard to case and outer space, or the same number."""
    if one.strip().casefold() == other.strip().casefold():
        return True
    try:
        return math.isclose(float(one), float(other), rel_tol=1e-9)
    except ValueError:
        return False


def _said(key: str, fields: Mapping[str, str]) -> str:
    return fields.get(key, UNSAID.get(key, ""))
