"""What families are called, in sentences about networks that do not fit."""

from collections.abc import Mapping

_LABELS: Mapping[str, str] = {
    "sd1": "Stable Diffusion 1.x",
    "sd2": "Stable Diffusion 2.x",
    "sdxl": "Stable Diffusion XL",
    "sdxl-refiner": "the refiner of Stable Diffusion XL",
    "sd3": "Stable Diffusion 3",
    "flux": "FLUX.1",
    "qwen-image": "Qwen-Image",
    "z-image": "Z-Image",
    "lumina2": "Lumina 2",
}
_SIGNS: Mapping[str, str] = {
    "SD1": "sd1",
    "SD2": "sd2",
    "SDXL": "sdxl",
    "SDXL refiner": "sdxl-refiner",
    "SD3": "sd3",
    "FLUX": "flux",
    "Qwen-Image": "qwen-image",
    "Lumina 2": "lumina2",
}
"""The library's names of families, as it reads them off files."""


def family_words(family: str) -> str:
    """What a loaded model's family is called."""
    return _LABELS.get(family, family)


def told_family(sign: str) -> str:
    """What a file with that sign is for, as the rest of a sentence."""
    family = _SIGNS.get(sign)
    return f"for {_LABELS[family] if family else sign}" if sign else "for another kind of model"
