"""Tags of a picture, as booru sites have them: by a classifier as transformers writes it, or by a tagger's network beside its list of tags."""

import csv
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from modules.core.errors import ModelFileError
from modules.devices.memory import out_of_memory
from modules.devices.network import compiled, read_network

NETWORKS = ("model.onnx", "model.xml")
LIST = "selected_tags.csv"
"""The files of the WD taggers (SmilingWolf's): the network, and `tag_id,name,category,count` in the order of its outputs."""

RATING = "9"
"""The category of what says for whom a picture is; DeepDanbooru's names for it begin with `rating:`. Neither is a tag."""


class Tagger:
    """One model. Nothing is fetched, and no code of the folder is run. Raises ModelFileError."""

    def __init__(self, folder: Path, device: torch.device) -> None:
        network = next((folder / name for name in NETWORKS if (folder / name).is_file()), None)
        self._model: _Classifier | _Listed = _Listed(network, folder / LIST) if network else _Classifier(folder, device)

    def tell(self, image: Image.Image, options: Mapping[str, Any]) -> str:
        """The tags with commas between them, as A1111's settings of Interrogate want them."""
        return written(self._model.scores(flattened(image)), options)


def flattened(image: Image.Image) -> Image.Image:
    """An RGB picture; what is transparent is white."""
    if not image.has_transparency_data:
        return image.convert("RGB")
    whole = Image.new("RGBA", image.size, "white")
    whole.alpha_composite(image.convert("RGBA"))
    return whole.convert("RGB")


def written(scores: Mapping[str, float], options: Mapping[str, Any]) -> str:
    """Tags with their probabilities as text, by A1111's options `interrogate_deepbooru_score_threshold`, `deepbooru_*` and
    `interrogate_return_ranks`."""
    left_out = {plain(tag) for tag in options["deepbooru_filter_tags"].split(",")}
    least = options["interrogate_deepbooru_score_threshold"]
    found = [
        (tag, score)
        for tag, score in scores.items()
        if score >= least and not tag.startswith("rating:") and plain(tag) not in left_out
    ]
    found.sort(key=lambda pair: pair[0] if options["deepbooru_sort_alpha"] else (-pair[1], pair[0]))
    return ", ".join(_one(tag, score, options) for tag, score in found)


def plain(tag: str) -> str:
    """A tag as it is compared: DeepDanbooru writes lines where people write spaces."""
    return tag.strip().replace(" ", "_")


def _one(tag: str, score: float, options: Mapping[str, Any]) -> str:
    if options["deepbooru_use_spaces"]:
        tag = tag.replace("_", " ")
    if options["deepbooru_escape"]:
        tag = re.sub(r"([\\()])", r"\\\1", tag)
    return f"({tag}:{score:.3})" if options["interrogate_return_ranks"] else tag


class _Classifier:
    """A model of images with several labels."""

    def __init__(self, folder: Path, device: torch.device) -> None:
        from transformers import AutoImageProcessor, AutoModelForImageClassification

        try:
            self._processor: Any = AutoImageProcessor.from_pretrained(folder, local_files_only=True)
            model: Any = AutoModelForImageClassification.from_pretrained(folder, local_files_only=True)
        except Exception as error:  # transformers raises whatever a damaged or foreign folder leads it to
            if out_of_memory(error):
                raise
            raise ModelFileError(
                f'"{folder.name}" is no tagger that can be read here ({type(error).__name__}). Choose another.'
            ) from error
        self._model: Any = model.to(device).eval()
        self._device = device

    def scores(self, image: Image.Image) -> dict[str, float]:
        """Tag -> probability."""
        inputs = self._processor(images=image, return_tensors="pt").to(self._device)
        with torch.inference_mode():
            found = self._model(**inputs).logits[0].float().sigmoid().tolist()
        return {self._model.config.id2label[i]: score for i, score in enumerate(found)}


class _Listed:
    """A network on OpenVINO that takes (1, H, W, 3) float32, BGR in [0, 255], and gives (1, tags) probabilities."""

    def __init__(self, path: Path, tags: Path) -> None:
        try:
            model = read_network(path)
            shape = model.input(0).partial_shape
            self._side = int(shape[1].get_length())
            shape[0] = 1
            model.reshape(shape)
            self._network: Any = compiled(model)
        except (RuntimeError, IndexError) as error:
            raise ModelFileError(
                f'"{path.parent.name}/{path.name}" is damaged or no tagger. Download it again.'
            ) from error
        self._tags = list(_listed(tags))
        self._name = f"{path.parent.name}/{path.name}"

    def scores(self, image: Image.Image) -> dict[str, float]:
        """Tag -> probability."""
        side = max(image.size)
        square = Image.new("RGB", (side, side), "white")
        square.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
        pixels = np.asarray(square.resize((self._side, self._side), Image.Resampling.BICUBIC), np.float32)
        found = np.asarray(self._network(np.ascontiguousarray(pixels[None, :, :, ::-1]))[0], np.float64).reshape(-1)
        if len(found) != len(self._tags):
            raise ModelFileError(
                f'"{self._name}" gives {len(found)} values, {LIST} has {len(self._tags)} tags: take both from one place.'
            )
        return {
            name: float(score)
            for (name, kind), score in zip(self._tags, found, strict=True)
            if kind != RATING and np.isfinite(score)
        }


def _listed(path: Path) -> Iterable[tuple[str, str]]:
    """Name and category of each tag; raises ModelFileError."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            yield from [(row["name"], row["category"]) for row in csv.DictReader(file)]
    except (OSError, UnicodeDecodeError, KeyError, csv.Error) as error:
        raise ModelFileError(
            f'"{path.parent.name}" needs its list of tags, {LIST}, as the tagger came with it. Put it there.'
        ) from error
