"""Sizes of pictures that a model cannot draw, or not on this machine."""

from typing import Any

from modules.core.errors import InputError
from modules.engine.room import gigabytes
from modules.families.compiled import CompiledVae
from modules.families.model import LoadedModel
from modules.families.strips import Fitting
from modules.requests.generation import GenerationRequest
from modules.requests.txt2img import Txt2ImgRequest

CELL_MAPS = 12
"""Maps of its outermost width that a network has at once, at the least: a U-Net's first ones wait for its last ones."""

STRIP_LEAST = 3
"""Of an autoencoder's outermost maps of the picture's size, when it takes it in strips."""

USUAL_WIDTH = 320
USUAL_DOWNSCALE = 8


def check_sides(request: GenerationRequest, multiple: int, who: str) -> None:
    """Raise InputError, naming the nearest sizes, unless width and height are multiples of that many pixels."""
    for side in ("width", "height"):
        if (value := getattr(request, side)) % multiple:
            lower = max(value // multiple, 1) * multiple
            raise InputError(
                side,
                f"{side} is {value}: {who} draws multiples of {multiple} pixels. Use {lower} or {lower + multiple}.",
            )


def check_memory(request: GenerationRequest, need: int, have: int, who: str) -> None:
    """Raise InputError with both numbers of bytes if pictures of that size cannot fit."""
    if need > have:
        raise InputError(
            "width",
            f"width x height x batch_size is {request.width} x {request.height} x {request.batch_size}: {who} needs at least "
            f"{gigabytes(need)} of memory for that, {gigabytes(have)} can be had. Make the picture or the batch smaller.",
        )


def least_for(request: GenerationRequest, model: LoadedModel, *, together: bool) -> int:
    """Bytes beside its weights that a model needs at the least; `together`: with the prompt and without at the same time.

    An estimate from below, of the larger of two things: a step of the denoising network, and the autoencoder in strips.
    """
    pixels = request.width * request.height
    cells = pixels // model.downscale**2 * request.batch_size * (2 if together and request.cfg_scale != 1 else 1)
    step = cells * per_cell(getattr(model.backbone, "config", None), model.compute.dtype.itemsize)
    pictures = 3 * 4 * pixels * request.batch_size
    autoencoder: Any = model.autoencoder.module
    if not isinstance(autoencoder, CompiledVae) and not isinstance(getattr(autoencoder, "decoder", None), Fitting):
        return max(step, pictures)
    width, itemsize = autoencoder.config.block_out_channels[0], model.compute.vae_dtype.itemsize
    return max(step, pictures + STRIP_LEAST * width * itemsize * pixels)


def largest(request: GenerationRequest) -> int:
    """Pixels of the largest picture that the request comes to."""
    pixels = request.width * request.height
    if not isinstance(request, Txt2ImgRequest) or not request.enable_hr:
        return pixels
    x, y = request.hr_resize_x, request.hr_resize_y
    if x and y:
        return max(pixels, x * y)
    scale = x / request.width or y / request.height or request.hr_scale
    return max(pixels, round(pixels * scale**2))


def least_for_any(request: GenerationRequest, itemsize: int) -> int:
    """The same for a network that is not known, by what is usual."""
    cells = request.width * request.height // USUAL_DOWNSCALE**2 * request.batch_size
    return cells * per_cell(None, itemsize)


def per_cell(config: Any, itemsize: int) -> int:
    """Bytes that a network of that configuration has of each latent at once, at the least."""
    outermost = getattr(config, "block_out_channels", None)
    if outermost:
        return CELL_MAPS * outermost[0] * itemsize
    heads, size = getattr(config, "num_attention_heads", None), getattr(config, "attention_head_dim", None)
    if isinstance(heads, int) and isinstance(size, int):  # a transformer: of each patch of 2 x 2
        return CELL_MAPS * heads * size * itemsize // 4
    return CELL_MAPS * USUAL_WIDTH * itemsize
