"""Rough pictures of latents while they are drawn."""

import math
import weakref
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from modules.core.errors import ModelFileError
from modules.engine.budget import Budget
from modules.families import small_decoders
from modules.families.model import LoadedModel

FULL, CHEAP = "Full", "Approx cheap"


class CheapPreview:
    """Latents to colours by one linear map, fitted once to the model's own autoencoder: works for every model.

    It does not keep the model in memory.
    """

    def __init__(self, model: LoadedModel) -> None:
        self._model = weakref.proxy(model)
        self._map: Tensor | None = None

    def __call__(self, latents: Tensor) -> list[Image.Image]:
        """(B, C, h, w) -> B pictures of h x w pixels times the model's downscale."""
        fitted = self.ready(latents)
        b, c, h, w = latents.shape
        flat = latents.cpu().permute(0, 2, 3, 1).reshape(-1, c)
        rgb = torch.cat([flat, flat.new_ones(len(flat), 1)], dim=1) @ fitted
        images = to_images(rgb.view(b, h, w, 3).permute(0, 3, 1, 2).clamp(0, 1))
        return [
            image.resize((w * self._model.downscale, h * self._model.downscale), Image.Resampling.BILINEAR)
            for image in images
        ]

    def ready(self, latents: Tensor) -> Tensor:
        """The map, fitted when it is first asked for: (C + 1, 3)."""
        if self._map is None:
            self._map = self._fit(latents)
        return self._map

    def _fit(self, latents: Tensor) -> Tensor:
        """Least squares from latents to the mean colour of the pixels they decode to: (C + 1, 3).

        The sample is smooth random latents of 32 x 32, with the statistics the autoencoder was scaled to.
        """
        c = latents.shape[1]
        noise = torch.randn(2, c, 8, 8, generator=torch.Generator().manual_seed(0))
        sample = torch.nn.functional.interpolate(noise, size=(32, 32), mode="bicubic").to(latents.device)
        pixels = torch.nn.functional.avg_pool2d(self._model.decode(sample), self._model.downscale)
        x = sample.cpu().permute(0, 2, 3, 1).reshape(-1, c)
        y = pixels.permute(0, 2, 3, 1).reshape(-1, 3)
        return torch.linalg.lstsq(torch.cat([x, x.new_ones(len(x), 1)], dim=1), y).solution


class LivePreview:
    """All methods for one model, each made ready when it is first asked for. It does not keep the model in memory."""

    def __init__(self, model: LoadedModel, folders: Sequence[Path] = ()) -> None:
        self._model = weakref.proxy(model)
        self._folders = folders
        self._cheap = CheapPreview(model)
        self._decoders: dict[str, nn.Module | None] = {}
        self.budget = Budget()

    def ready(self, method: str, latents: Tensor) -> str | None:
        """Make a method ready for such latents (B, C, h, w); why it cannot be used, if that is found out now."""
        if method == CHEAP:
            self._cheap.ready(latents)
        if method in (FULL, CHEAP) or method in self._decoders:
            return None
        self._decoders[method] = None
        name = small_decoders.file_name(method, self._model.autoencoder.space)
        if name is None:
            return f"There are no {method} previews of the family {self._model.family}: cheap ones are shown."
        file = small_decoders.find(self._folders, name)
        if file is None:
            return (
                f"{method} previews need the file {name} in models/VAE-approx: cheap ones are shown until it is there."
            )
        compute = self._model.compute
        try:
            self._decoders[method] = small_decoders.read_decoder(
                method, file, latents.shape[1], compute.device, compute.dtype
            )
        except ModelFileError as error:
            return f"{error.message} Cheap previews are shown until then."
        return None

    def has(self, method: str) -> bool:
        """Can a method that was made ready be used?"""
        return method in (FULL, CHEAP) or self._decoders.get(method) is not None

    def draw(self, method: str, latents: Tensor) -> list[Image.Image]:
        """Pictures of the latents (B, C, h, w), by a method that is ready; Full is the work of the model that draws."""
        decoder = self._decoders.get(method)
        if decoder is None:
            return self._cheap(latents)
        pixels = decoder(latents.to(self._model.compute.dtype)).float().cpu().add(1).div(2).clamp(0, 1)
        size = tuple(side * self._model.downscale for side in reversed(latents.shape[-2:]))
        return [image.resize(size, Image.Resampling.BILINEAR) for image in to_images(pixels)]


class Previews:
    """The previews of the model in use, kept for all its jobs; `folders` hold decoders."""

    def __init__(self, folders: Sequence[Path] = ()) -> None:
        self._folders = folders
        self._last: tuple[weakref.ref[LoadedModel], LivePreview] | None = None

    def of(self, model: LoadedModel) -> LivePreview:
        """The previews of that model."""
        if self._last is None or self._last[0]() is not model:
            self._last = (weakref.ref(model), LivePreview(model, self._folders))
        return self._last[1]


def to_images(pixels: Tensor) -> list[Image.Image]:
    """(B, 3, H, W) in [0, 1] -> PIL pictures, rounded down to 8 bits as A1111 does."""
    arrays = (255.0 * pixels.nan_to_num(0).permute(0, 2, 3, 1).numpy()).astype(np.uint8)
    return [Image.fromarray(array) for array in arrays]


def grid(images: Sequence[Image.Image]) -> Image.Image:
    """The pictures of a batch in one, in rows that make it about square."""
    if len(images) == 1:
        return images[0]
    columns = math.ceil(math.sqrt(len(images)))
    w, h = images[0].size
    sheet = Image.new("RGB", (columns * w, math.ceil(len(images) / columns) * h))
    for i, image in enumerate(images):
        sheet.paste(image, (i % columns * w, i // columns * h))
    return sheet
