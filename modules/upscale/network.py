"""Networks that make pictures larger or mend them, from files, in all architectures that spandrel knows."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from modules.core.errors import InputError, ModelFileError
from modules.devices.choice import Compute
from modules.devices.memory import free_memory, out_of_memory
from modules.families.weights import read_weights
from modules.upscale.tiles import in_tiles
from modules.upscale.upscaler import Check, Tell, silent

log = logging.getLogger(__name__)

LEAST_TILE = 64
MAX_SCALE = 16
BYTES = 28
"""Memory that a pixel of the result takes, at the least: its numbers, those of the row of tiles, the picture itself."""

MODES = {1: "L", 3: "RGB", 4: "RGBA"}
"""What pictures of so many channels are called by PIL."""

ELSEWHERE = {
    "FaceSR": "restores faces: put it into models/GFPGAN or models/Codeformer",
    "Inpainting": "fills holes: it makes nothing larger",
}


class Network:
    """One network in memory. `scale`: how much larger what comes out of it is."""

    def __init__(self, descriptor: Any, name: str, compute: Compute) -> None:
        self._descriptor = descriptor
        self._name = name
        self._device = compute.device
        self.scale: int = descriptor.scale
        self._place(_dtype(descriptor, compute))

    def grow(self, image: Image.Image, *, tile: int, overlap: int, check: Check, tell: Tell = silent) -> Image.Image:
        """The picture larger by `scale`; what is transparent grows by Lanczos beside it. Raises what `check` raises.

        With too little memory tiles become smaller, down to LEAST_TILE; what gives no numbers is computed again in float32.
        """
        self._check_memory(image)
        mode = MODES[self._descriptor.input_channels]
        transparent = mode != "RGBA" and image.has_transparency_data
        alpha = image.convert("RGBA").getchannel("A") if transparent else None
        found = self._grown(_to_tensor(image.convert(mode)), tile, overlap, check, tell)
        grown = _to_image(found)
        if alpha is not None:
            grown = grown.convert("RGB")
            grown.putalpha(alpha.resize(grown.size, Image.Resampling.LANCZOS))
        return grown

    def run(self, pixels: Tensor) -> Tensor:
        """One picture (1, C, H, W) in [0, 1] in one piece, to (1, C', H x scale, W x scale) float32 on the CPU."""
        return self.sound(lambda moved: self._descriptor(moved), pixels)

    def raw(self, pixels: Tensor, **options: Any) -> Tensor:
        """What the network itself makes of (1, C, H, W), in its own range, with options of its own; float32 on the CPU."""
        return self.sound(lambda moved: self._descriptor.model(moved, **options)[0], pixels)

    def sound(self, compute: Callable[[Tensor], Tensor], pixels: Tensor) -> Tensor:
        """`compute` of the picture where the network is; once more in float32 if half precision gave no numbers."""
        found = compute(pixels.to(self._device, self._descriptor.dtype)).float().cpu()
        if not found.isfinite().all() and self._descriptor.dtype is not torch.float32:
            self._place(torch.float32)
            found = compute(pixels.to(self._device, torch.float32)).float().cpu()
        return found.nan_to_num(0)

    def _grown(self, pixels: Tensor, tile: int, overlap: int, check: Check, tell: Tell) -> Tensor:
        from spandrel import ModelTiling

        tile = 0 if self._descriptor.tiling is ModelTiling.INTERNAL else tile
        while True:
            try:
                return in_tiles(pixels, self.run, scale=self.scale, tile=tile, overlap=overlap, check=check, tell=tell)
            except Exception as error:
                longest = max(pixels.shape[-2:])
                smaller = (min(tile, longest) if tile else longest) // 2
                if not out_of_memory(error) or smaller < LEAST_TILE:
                    raise
                log.warning("%s: too little memory for tiles of %d pixels, now %d.", self._name, 2 * smaller, smaller)
                tile, overlap = smaller, min(overlap, smaller // 8)

    def _check_memory(self, image: Image.Image) -> None:
        """Raise InputError with both numbers if what comes out cannot be held."""
        width, height = image.width * self.scale, image.height * self.scale
        need, free = width * height * BYTES, free_memory(torch.device("cpu"))
        if need > free:
            raise InputError(
                "image",
                f"image would become {width} x {height} pixels: {self._name} needs at least {gigabytes(need)} of memory for that, "
                f"{gigabytes(free)} are free. Make less of it, or choose a smaller factor.",
            )

    def _place(self, dtype: torch.dtype) -> None:
        self._descriptor.model.to(device=self._device, dtype=dtype).eval().requires_grad_(False)


def open_network(path: Path, compute: Compute, *, faces: bool = False) -> Network:
    """The network in a file, on the device; raises ModelFileError with one sentence for whatever is wrong with it.

    `faces`: one that restores faces is wanted, instead of one that makes pictures larger.
    """
    tensors = read_weights(path)
    _check_size(path, tensors, compute)
    descriptor = _descriptor(path, tensors)
    found = descriptor.architecture.name
    if faces != (descriptor.purpose == "FaceSR"):
        words = ELSEWHERE.get(descriptor.purpose, "makes whole pictures larger: put it into models/ESRGAN")
        raise ModelFileError(f'"{path.name}" is of the kind {found}, which {words}.')
    sound = descriptor.input_channels in MODES and descriptor.output_channels in MODES
    if descriptor.purpose == "Inpainting" or not sound or not 1 <= descriptor.scale <= MAX_SCALE:
        raise ModelFileError(
            f'"{path.name}" is of the kind {found} in a form that cannot be used. Choose another file.'
        )
    return Network(descriptor, path.name, compute)


def _descriptor(path: Path, tensors: dict[str, Tensor]) -> Any:
    """spandrel's model of those weights; raises ModelFileError."""
    import spandrel

    registry = _registry(spandrel)
    try:
        return registry.load(spandrel.canonicalize_state_dict({**tensors}))
    except spandrel.UnsupportedModelError as error:
        raise ModelFileError(
            f'"{path.name}" holds no upscaler of a known architecture (ESRGAN, Compact, SwinIR, DAT, HAT, SPAN ...). '
            "Choose another file."
        ) from error
    except Exception as error:  # whatever a state dict of the wrong shapes leads an architecture to
        if out_of_memory(error):
            raise
        raise ModelFileError(
            f'"{path.name}" is damaged or of an unknown variant: its weights fit no network ({type(error).__name__}). '
            "Download it again."
        ) from error


def _registry(spandrel: Any) -> Any:
    """spandrel's architectures, with those under restrictive licences if the user has installed them."""
    registry = spandrel.MAIN_REGISTRY.copy()
    try:
        from spandrel_extra_arches import EXTRA_REGISTRY  # pyright: ignore[reportMissingImports]
    except ImportError:
        return registry
    registry.add(*EXTRA_REGISTRY, ignore_duplicates=True)
    return registry


def _check_size(path: Path, tensors: dict[str, Tensor], compute: Compute) -> None:
    """Raise ModelFileError for weights that are more than their file (strides of 0 make any number) or than memory takes."""
    size, held = sum(tensor.nbytes for tensor in tensors.values()), path.stat().st_size
    if size > 4 * held + 2**20:
        raise ModelFileError(f'"{path.name}" claims {gigabytes(size)} of weights, far more than it holds. Delete it.')
    free = free_memory(torch.device("cpu"))
    if 2 * size > free:
        raise ModelFileError(
            f'"{path.name}" needs {gigabytes(2 * size)} of memory to be read and {gigabytes(free)} are free. '
            "Choose a smaller upscaler, or close other programs."
        )


def _dtype(descriptor: Any, compute: Compute) -> torch.dtype:
    """What it computes in: the device's own type where the architecture is known to stand it."""
    supported = {torch.float16: descriptor.supports_half, torch.bfloat16: descriptor.supports_bfloat16}
    usable = compute.device.type != "cpu" and supported.get(compute.dtype, False)
    return compute.dtype if usable else torch.float32


def gigabytes(size: int) -> str:
    """A size for people."""
    return f"{size / 2**30:,.1f} GB"


def _to_tensor(image: Image.Image) -> Tensor:
    """(1, C, H, W) in [0, 1], float32."""
    pixels = np.array(image, dtype=np.float32) / 255
    return torch.from_numpy(pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1).copy())[None]


def _to_image(pixels: Tensor) -> Image.Image:
    """(1, C, H, W) in [0, 1] -> a picture of 8 bits, rounded."""
    bytes_ = pixels[0].clamp(0, 1).mul(255).round().to(torch.uint8).permute(1, 2, 0).numpy()
    return Image.fromarray(bytes_[..., 0] if bytes_.shape[-1] == 1 else bytes_)
