"""What a picture shows without its background: a network in an ONNX file (rembg's: U2-Net, IS-Net, BiRefNet ...) on OpenVINO."""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from modules.core.errors import ModelFileError
from modules.devices.network import compiled, read_network

SIDE = 1024
"""Of the square that a network is given that takes any, in pixels."""

IMAGENET = np.array([0.485, 0.456, 0.406], dtype=np.float32), np.array([0.229, 0.224, 0.225], dtype=np.float32)
PLAIN = np.float32(0.5), np.float32(1.0)
PLAIN_NAMES = ("isnet", "rmbg")
"""Networks whose pixels are not told as ImageNet's."""


class Cutter:
    """One network, ready to compute on the CPU."""

    def __init__(self, path: Path) -> None:
        try:
            model = read_network(path)
            shape = model.input(0).partial_shape
            if len(model.inputs) != 1 or len(shape) != 4:
                raise ModelFileError(f'"{path.name}" takes no single picture: it removes no background.')
            if shape.is_dynamic:
                model.reshape([1, 3, SIDE, SIDE])
            self._network: Any = compiled(model)
        except RuntimeError as error:
            raise ModelFileError(
                f'"{path.name}" is damaged or no network that OpenVINO reads. Download it again.'
            ) from error
        self._name = path.name
        self._size = int(model.input(0).shape[3]), int(model.input(0).shape[2])
        self._mean, self._deviation = PLAIN if path.name.lower().startswith(PLAIN_NAMES) else IMAGENET

    def cut(self, image: Image.Image) -> Image.Image:
        """The picture in RGBA, its background transparent."""
        small = image.convert("RGB").resize(self._size, Image.Resampling.LANCZOS)
        pixels = (np.array(small, dtype=np.float32) / 255 - self._mean) / self._deviation
        found = np.asarray(self._network(pixels.transpose(2, 0, 1)[None])[0], dtype=np.float32).squeeze()
        if found.ndim == 3:
            found = found[0]
        if found.ndim != 2 or not np.isfinite(found).all():
            raise ModelFileError(f'"{self._name}" gives no mask of the picture: it removes no background.')
        if found.min() < 0 or found.max() > 1:
            found = 1 / (1 + np.exp(-np.clip(found, -60, 60)))
        spread = float(np.ptp(found))
        mask = (found - found.min()) / spread if spread > 0 else np.ones_like(found)
        alpha = Image.fromarray((mask * 255).round().astype(np.uint8)).resize(image.size, Image.Resampling.LANCZOS)
        cut = image.convert("RGB")
        cut.putalpha(alpha)
        return cut
