"""Rough pictures of latents while they are drawn."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from modules.families.model import LoadedModel


class CheapPreview:
    """Latents to colours by one linear map, fitted once to the model's own autoencoder: works for every model."""

    def __init__(self, model: LoadedModel) -> None:
        self._model = model
        self._map: Tensor | None = None

    def __call__(self, latents: Tensor) -> list[Image.Image]:
        """(B, C, h, w) -> B pictures of h x w pixels times the model's downscale."""
        if self._map is None:
            self._map = self._fit(latents)
        b, c, h, w = latents.shape
        flat = latents.cpu().permute(0, 2, 3, 1).reshape(-1, c)
        rgb = torch.cat([flat, flat.new_ones(len(flat), 1)], dim=1) @ self._map
        images = to_images(rgb.view(b, h, w, 3).permute(0, 3, 1, 2).clamp(0, 1))
        return [
            image.resize((w * self._model.downscale, h * self._model.downscale), Image.Resampling.BILINEAR)
            for image in images
        ]

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


class Previews:
    """The cheap preview of the model in use, fitted once and kept for all its jobs."""

    def __init__(self) -> None:
        self._last: tuple[LoadedModel, CheapPreview] | None = None

    def of(self, model: LoadedModel) -> CheapPreview:
        """The preview of that model."""
        if self._last is None or self._last[0] is not model:
            self._last = (model, CheapPreview(model))
        return self._last[1]


def to_images(pixels: Tensor) -> list[Image.Image]:
    """(B, 3, H, W) in [0, 1] -> PIL pictures, rounded down to 8 bits as A1111 does."""
    arrays = (255.0 * pixels.permute(0, 2, 3, 1).numpy()).astype(np.uint8)
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
