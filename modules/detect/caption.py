"""A sentence about a picture, by BLIP or another captioning model in a folder as transformers writes it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from modules.core.errors import ModelFileError
from modules.devices.memory import out_of_memory


class Captioner:
    """One model. Nothing is fetched, and no code of the folder is run."""

    def __init__(self, folder: Path, device: torch.device) -> None:
        from transformers import AutoModelForImageTextToText, AutoProcessor

        try:
            self._processor: Any = AutoProcessor.from_pretrained(folder, local_files_only=True)
            model: Any = AutoModelForImageTextToText.from_pretrained(folder, local_files_only=True)
        except Exception as error:  # transformers raises whatever a damaged or foreign folder leads it to
            if out_of_memory(error):
                raise
            raise ModelFileError(
                f'"{folder.name}" is no captioning model that transformers reads ({type(error).__name__}). Choose another.'
            ) from error
        self._model: Any = model.to(device).eval()
        self._device = device

    def tell(self, image: Image.Image, options: Mapping[str, Any]) -> str:
        """The caption, of as many tokens as A1111's options `interrogate_clip_*` say."""
        inputs = self._processor(images=image.convert("RGB"), return_tensors="pt").to(self._device)
        shortest, longest = options["interrogate_clip_min_length"], options["interrogate_clip_max_length"]
        lengths = {
            "num_beams": options["interrogate_clip_num_beams"],
            "min_length": min(shortest, longest),
            "max_length": longest,
        }
        with torch.inference_mode():
            tokens = self._model.generate(**inputs, **lengths)
        return str(self._processor.decode(tokens[0], skip_special_tokens=True)).strip()
