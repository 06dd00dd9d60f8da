"""ControlNet's arguments in `alwayson_scripts`, in the extension's names, old ones too."""

import json
from collections.abc import Sequence
from typing import Any

from modules.api.encoded import decode_base64
from modules.core.errors import InputError, short
from modules.images.reading import open_picture, take_picture
from modules.requests.control import MAX_UNITS, ControlUnit, wrong_type
from modules.requests.pictures import Picture

TITLES = ("ControlNet", "ControlNet Integrated")

ALIASES = {
    "input_image": "image",
    "mask_image": "mask",
    "lowvram": "low_vram",
    "guidance": "guidance_end",
    "preprocessor": "module",
    "processor_resolution": "processor_res",
    "batch_image_dir": "batch_images",
}
"""What fields were called in earlier versions and are in Forge's."""

POSITIONS = (
    *("enabled", "module", "model", "weight", "image", "resize_mode", "low_vram", "processor_res", "threshold_a"),
    *("threshold_b", "guidance_start", "guidance_end", "pixel_perfect", "control_mode"),
)
"""The order of arguments without names."""

MAX_PICTURES = 500
PICTURES = ("image", "mask", "effective_region_mask")
WITHOUT_EFFECT = (
    *("pulid_mode",),
    *(
        "is_ui",
        "loopback",
        "output_dir",
        "use_preview_as_input",
        "generated_image",
        "animatediff_batch",
    ),
    *("batch_modifiers", "batch_image_files", "batch_keyframe_idx", "batch_mask_dir", "batch_input_gallery"),
    *("batch_mask_gallery", "mask_image_fg", "image_fg", "ipadapter_input", "resize_mode_type", "instance_id"),
)
"""Fields that the extension's page and other programs send along, and that change nothing here."""


def read_units(field: str, arguments: Sequence[Any]) -> dict[str, Any]:
    """The request's `control`: an object for each unit, or its values one after the other. Raises InputError."""
    if arguments and not any(isinstance(value, dict) for value in arguments):
        arguments = _grouped(field, arguments)
    if len(arguments) > MAX_UNITS:
        raise InputError(field, f"{field} holds {len(arguments)} ControlNet units: at most {MAX_UNITS} work together.")
    return {"control": tuple(_unit(f"control.{number}", value) for number, value in enumerate(arguments))}


def _grouped(field: str, arguments: Sequence[Any]) -> list[dict[str, Any]]:
    """Units from values without names."""
    if len(arguments) % len(POSITIONS) and len(arguments) > len(POSITIONS):
        raise InputError(
            field,
            f"{field} holds {len(arguments)} values for ControlNet: send an object for each unit, or {len(POSITIONS)} values for each.",
        )
    starts = range(0, len(arguments), len(POSITIONS))
    return [dict(zip(POSITIONS, arguments[start : start + len(POSITIONS)], strict=False)) for start in starts]


def _unit(field: str, value: Any) -> ControlUnit | dict[str, Any]:
    if not isinstance(value, dict):
        raise wrong_type(field, value)
    named: dict[str, Any] = {}
    for name, given in value.items():
        name = ALIASES.get(name, name)
        if name in WITHOUT_EFFECT or given is None:
            continue
        if name not in ControlUnit.model_fields:
            raise InputError(
                field,
                f"{field} holds {short(json.dumps(name))}, which is not a field of a ControlNet unit known here; remove it.",
            )
        named[name] = given
    named |= _pictures(field, named)
    return named


def _pictures(field: str, named: dict[str, Any]) -> dict[str, Any]:
    """The pictures of a unit, in whichever of the extension's forms: base64, {image, mask}, [image, mask], a list of {image, mask}."""
    found: dict[str, Any] = {}
    image = named.get("image")
    if isinstance(image, dict):
        found |= {name: read_picture(f"{field}.{name}", image[name]) for name in ("image", "mask") if image.get(name)}
    elif isinstance(image, list) and image and all(isinstance(one, dict) for one in image):
        _check_count(f"{field}.image", image)
        found["images"] = tuple(read_picture(f"{field}.image", one.get("image")) for one in image)
        found |= {"image": None, "input_mode": named.get("input_mode", "merge")}
    elif isinstance(image, list):
        found |= {
            name: read_picture(f"{field}.{name}", one)
            for name, one in zip(("image", "mask"), image, strict=False)
            if one
        }
        found.setdefault("image", None)
    if isinstance(named.get("images"), list):
        _check_count(f"{field}.images", named["images"])
        found["images"] = tuple(read_picture(f"{field}.images", one) for one in named["images"])
    for name in PICTURES:
        if name in named and name not in found:
            found[name] = read_picture(f"{field}.{name}", named[name]) if named[name] else None
    mask = found.get("mask")
    if mask is not None and not open_picture(mask).convert("L").getbbox():
        found["mask"] = None  # the extension's page sends a black one where nothing is painted
    return found


def _check_count(field: str, images: Sequence[Any]) -> None:
    """Before any of them is decoded."""
    if len(images) > MAX_PICTURES:
        raise InputError(field, f"{field} holds more than {MAX_PICTURES} pictures. Send fewer.")


def read_picture(field: str, value: Any) -> Picture:
    """A picture in base64; raises InputError."""
    if not isinstance(value, str) or not value.strip():
        raise InputError(field, f"{field} is {short(value)}: send a picture file in base64.")
    return take_picture(field, decode_base64(field, value))
