"""The parts of a pipeline in a diffusers folder, each of a class that is named here and not by the folder: nothing of it is run."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from modules.core.errors import ModelFileError, short
from modules.families.assembly import empty_weights, filled
from modules.families.shards import part_files
from modules.families.weights import read_weights

MAX_JSON = 2**20  # bytes
TRAIN_STEPS = (150, 10_000)  # as many as a request may ask for, and what no folder has
_OWNERS = ("text_model.", "vision_model.")
"""Prefixes of CLIP's weights that transformers writes or leaves out, by version."""


@dataclass(frozen=True, kw_only=True)
class Folder:
    """A diffusers folder. All that is read here raises ModelFileError naming the part."""

    path: Path

    def has(self, part: str) -> bool:
        """Is there such a part?"""
        return (self.path / part).is_dir()

    def json(self, file: str) -> dict[str, Any]:
        """What stands in a JSON file below it."""
        try:
            with (self.path / file).open("rb") as stream:
                content = json.loads(stream.read(MAX_JSON))
        except (OSError, ValueError, RecursionError) as error:
            raise ModelFileError(
                f'"{self.path.name}/{file}" cannot be read ({type(error).__name__}). Download the model folder whole.'
            ) from error
        if not isinstance(content, dict):
            raise ModelFileError(f'"{self.path.name}/{file}" is no settings file. Download the model folder whole.')
        return content

    def weights(self, part: str) -> dict[str, Tensor]:
        """The tensors of a part, of all its files."""
        found: dict[str, Tensor] = {}
        for file, _ in part_files(self.path, part):
            found |= read_weights(file)
        return found

    def network(self, part: str, kind: Any, device: torch.device, dtype: torch.dtype) -> Any:
        """A network of diffusers or transformers."""
        settings = self.json(f"{part}/config.json")
        try:
            with empty_weights():
                if hasattr(kind, "config_class"):  # of transformers
                    module = kind(kind.config_class(**settings))
                else:
                    module = kind.from_config(settings)
        except Exception as error:  # whatever wrong settings lead the library to
            raise self._strange(part, "config.json", error) from error
        return filled(module, _named_for(module, self.weights(part)), device, dtype)

    def scheduler(self, part: str, kinds: tuple[Any, ...]) -> Any:
        """A scheduler of diffusers: of those kinds the one its settings name, else the first."""
        settings = self.json(f"{part}/scheduler_config.json")
        steps = settings.get("num_train_timesteps", 1000)
        least, most = TRAIN_STEPS
        if not isinstance(steps, int) or not least <= steps <= most:
            raise ModelFileError(
                f'"{self.path.name}/{part}" has num_train_timesteps {short(steps)}: {least} to {most} can be. Download it again.'
            )
        named = settings.get("_class_name")
        kind = next((kind for kind in kinds if kind.__name__ == named), kinds[0])
        try:
            return kind.from_config(settings)
        except Exception as error:  # as above
            raise self._strange(part, "scheduler_config.json", error) from error

    def clip_tokenizer(self, part: str) -> Any:
        """CLIP's tokenizer with the padding and the length that this model was trained with."""
        from transformers.models.clip.tokenization_clip import CLIPTokenizer

        self.json(f"{part}/tokenizer_config.json")
        try:
            return CLIPTokenizer.from_pretrained(self.path / part, local_files_only=True)
        except Exception as error:  # as above
            raise self._strange(part, "its files", error) from error

    def _strange(self, part: str, file: str, error: Exception) -> ModelFileError:
        return ModelFileError(
            f'"{self.path.name}/{part}" is not understood: {file} does not fit ({type(error).__name__}). Download the model folder whole.'
        )


def _named_for(module: nn.Module, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors under the module's names, where they differ by one of _OWNERS."""
    found = dict(tensors)
    for name, _ in module.named_parameters():
        for owner in _OWNERS:
            for other in (owner + name, name.removeprefix(owner)):
                if name not in found and other in tensors:
                    found[name] = tensors[other]
    return found
