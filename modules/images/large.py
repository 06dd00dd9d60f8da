"""Smaller copies of large pictures, for places that take no large files."""

import io
from collections.abc import Mapping
from typing import Any

from PIL import Image

from modules.images.encode import encode_image
from modules.images.reading import decoded

MB = 1024 * 1024


def jpeg_of_large(data: bytes, infotext: str, options: Mapping[str, Any]) -> bytes | None:
    """A JPEG of that picture file, its sides within `target_side_length`; None where neither the file is above
    `img_downscale_threshold` nor a side above that length. Raises InputError for what is no whole picture, as `decoded` does."""
    most = int(options["target_side_length"])
    large = len(data) > options["img_downscale_threshold"] * MB
    if not large and max(_size(data)) <= most:
        return None
    image = decoded("image", data).convert("RGB")
    longest = max(image.size)
    if longest > most:
        width, height = (max(round(side * most / longest), 1) for side in image.size)
        image = image.resize((width, height), Image.Resampling.LANCZOS)
    told = infotext if infotext and options["enable_pnginfo"] else None
    made = encode_image(image, told, {**options, "samples_format": "jpg"})
    return made if made.startswith(b"\xff\xd8") else None  # a text that is too long for a JPEG


def _size(data: bytes) -> tuple[int, int]:
    with Image.open(io.BytesIO(data)) as image:
        return image.size
