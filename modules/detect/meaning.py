"""Pictures and words as vectors, by the first encoder there is: a model of open-clip, or the starter's own."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from PIL import Image
from torch import Tensor

from modules.core.errors import InputError, ModelFileError
from modules.detect.starter_clip import StarterClip
from modules.detect.tags import flattened
from modules.devices.memory import out_of_memory
from modules.images.reading import open_picture
from modules.library.meaning_files import MeaningFiles
from modules.requests.pictures import Picture

log = logging.getLogger(__name__)

LARGEST = 1024
"""Pixels of a side that an encoder could still have use for."""


class Encoder(Protocol):
    """Vectors of length 1: the nearer in direction, the nearer in meaning."""

    def pictures(self, images: list[Image.Image]) -> Tensor:
        """(N, D)."""
        ...

    def text(self, text: str) -> Tensor:
        """(D,)."""
        ...


class OpenClip:
    """A folder as open-clip writes it to the hub: `open_clip_config.json` and the weights. No code of it is run."""

    def __init__(self, folder: Path, device: torch.device) -> None:
        import open_clip

        try:
            made: Any = open_clip.create_model_from_pretrained(f"local-dir:{folder}", device=device, weights_only=True)
            self._tokenizer: Any = open_clip.get_tokenizer(f"local-dir:{folder}")
        except Exception as error:  # open-clip raises whatever a damaged or foreign folder leads it to
            if out_of_memory(error):
                raise
            raise ModelFileError(
                f'"{folder.name}" is no model that open-clip reads ({type(error).__name__}). Take it out of models/open_clip.'
            ) from error
        self._model, self._prepare = made[0].eval(), made[1]
        self._device = device

    def pictures(self, images: list[Image.Image]) -> Tensor:
        """(N, D)."""
        pixels = torch.stack([self._prepare(one) for one in images]).to(self._device)
        return self._model.encode_image(pixels, normalize=True).float().cpu()

    def text(self, text: str) -> Tensor:
        """(D,)."""
        return self._model.encode_text(self._tokenizer([text]).to(self._device), normalize=True)[0].float().cpu()


class Meanings:
    """Keeps the encoder that was used last, until `unload`."""

    def __init__(self, files: MeaningFiles, device: torch.device) -> None:
        self._files, self._device = files, device
        self._kept: tuple[str, Encoder] | None = None

    def unload(self) -> None:
        """Give its memory back."""
        self._kept = None

    def pictures(self, paths: Sequence[str]) -> tuple[str, list[Tensor | None]]:
        """The encoder's name, and a vector of each file; None for what is no picture."""
        name, encoder = self._encoder()
        images = [_opened(Path(path)) for path in paths]
        there = [image for image in images if image is not None]
        vectors = iter(encoder.pictures(there) if there else ())
        return name, [None if image is None else next(vectors) for image in images]

    def text(self, text: str) -> tuple[str, Tensor]:
        """The encoder's name, and the vector."""
        name, encoder = self._encoder()
        return name, encoder.text(text)

    def _encoder(self) -> tuple[str, Encoder]:
        found = self._files.find()
        if self._kept is None or self._kept[0] != found.name:
            made = StarterClip(*found.files) if found.starter else OpenClip(found.files[0], self._device)
            self._kept = found.name, made
        return self._kept


def _opened(path: Path) -> Image.Image | None:
    try:
        image = flattened(open_picture(Picture.of(path.read_bytes()), "picture"))
    except (OSError, InputError, MemoryError):
        return None
    image.thumbnail((LARGEST, LARGEST))
    return image
