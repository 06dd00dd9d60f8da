"""Arguments of the tiled diffusion extensions in `alwayson_scripts`."""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from modules.core.errors import InputError, short
from modules.requests.tiled import MAX_REGIONS, Region, write_regions

# the extension's arguments after "enabled"; then ten for each region
NAMES = (
    *(
        "method",
        "overwrite_size",
        "keep_input_size",
        "image_width",
        "image_height",
        "tile_width",
        "tile_height",
        "overlap",
    ),
    *(
        "tile_batch_size",
        "upscaler_name",
        "scale_factor",
        "noise_inverse",
        "noise_inverse_steps",
        "noise_inverse_retouch",
    ),
    *("noise_inverse_renoise_strength", "noise_inverse_renoise_kernel", "control_tensor_cpu", "enable_bbox_control"),
    *("draw_background", "causal_layers"),
)
USED = ("method", "tile_width", "tile_height", "overlap", "tile_batch_size", "draw_background")
INVERSION = tuple(name for name in NAMES if name.startswith("noise_inverse"))
TITLE = "Tiled Diffusion"
REGION = ("enabled", "x", "y", "width", "height", "prompt", "negative_prompt", "mode", "feather", "seed")
FORGE = ("method", "tile_width", "tile_height", "overlap", "tile_batch_size")


def read_tiled(field: str, arguments: Sequence[Any]) -> dict[str, Any]:
    """The values of "Tiled Diffusion" from its arguments after "enabled"; raises InputError for what this version has not."""
    given = dict(zip(NAMES, arguments, strict=False))
    if given.get("overwrite_size"):
        raise InputError(
            field, f"{field} asks tiled diffusion to overwrite the size: send width and height instead, and false here."
        )
    used = (*USED, *(INVERSION if given.get("noise_inverse") else ()))
    found = {name: given[name] for name in used if name in given}
    if given.get("enable_bbox_control"):
        found["regions"] = write_regions(tuple(_regions(field, list(arguments[len(NAMES) :]))))
    return found


def read_growth(field: str, scripts: Mapping[str, Any], body: tuple[int, int], size: tuple[int, int]) -> dict[str, Any]:
    """What "Tiled Diffusion" makes of an img2img body's width and height, for a first picture of that size: with "Keep input size" the
    picture's, otherwise the body's, each times the factor where an upscaler is named, which then enlarges it. Raises InputError."""
    asked = next((value for name, value in scripts.items() if name.strip().casefold() == TITLE.casefold()), None)
    arguments = asked.get("args", []) if isinstance(asked, dict) else []
    if not isinstance(arguments, list) or not arguments or arguments[0] is not True:
        return {}
    given = dict(zip(NAMES, arguments[1:], strict=False))
    upscaler, scale = given.get("upscaler_name", "None"), given.get("scale_factor", 1)
    if (
        not isinstance(upscaler, str)
        or isinstance(scale, bool)
        or not isinstance(scale, int | float)
        or not 1 <= scale <= 8
    ):
        raise InputError(
            field,
            f"{field} holds {short(upscaler)} and {short(scale)} as upscaler and scale factor of {TITLE}: send a name and 1 to 8.",
        )
    larger = upscaler != "None"
    base = size if given.get("keep_input_size") else body
    width, height = (int(side * (scale if larger else 1)) // 8 * 8 for side in base)
    return {"width": width, "height": height, "upscaler": upscaler if larger else None}


def read_forge(field: str, arguments: Sequence[Any]) -> dict[str, Any]:
    """The same of "MultiDiffusion Integrated", whose lengths are in pixels."""
    found: dict[str, Any] = dict(zip(FORGE, arguments, strict=False))
    for name in ("tile_width", "tile_height", "overlap"):
        if isinstance(found.get(name), int):
            found[name] //= 8
    return found


def _regions(field: str, arguments: list[Any]) -> list[Region]:
    found = []
    for start in range(0, min(len(arguments), MAX_REGIONS * len(REGION)), len(REGION)):
        values = dict(zip(REGION, arguments[start:], strict=False))
        if values.pop("enabled"):
            try:
                found.append(Region.model_validate(values))
            except ValidationError as error:
                raise InputError(
                    field,
                    f"{field} holds {short(arguments[start : start + len(REGION)])} as a region: it must be true, x, y, w, h (parts of 1), "
                    "prompt, negative prompt, Background or Foreground, feather and seed.",
                ) from error
    return found
