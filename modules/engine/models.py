"""The checkpoint in memory: loaded beside the old one, swapped when whole."""

import json
from collections.abc import Callable
from pathlib import Path

from modules.core.errors import ModelFileError
from modules.devices.choice import Compute
from modules.families import sd1
from modules.families.model import LoadedModel
from modules.library.checkpoints import Checkpoints
from modules.library.header import Header, read_header
from modules.library.prediction import read_prediction, yaml_time

Key = tuple[str, int, int, int]


class Models:
    """Loads checkpoints by name and keeps the last one."""

    def __init__(self, checkpoints: Checkpoints, compute: Compute) -> None:
        self._checkpoints = checkpoints
        self._compute = compute
        self._loaded: tuple[Key, LoadedModel] | None = None

    def load(self, name: str, on_read: Callable[[str], None] = lambda _: None) -> LoadedModel:
        """The model of that checkpoint; `on_read` is told when a file must be read.

        Raises UnknownName or ModelFileError; the model loaded before stays then.
        """
        checkpoint = self._checkpoints.find(name)
        key = _key(checkpoint.path)
        if self._loaded and self._loaded[0] == key:
            return self._loaded[1]
        on_read(checkpoint.name)
        header = read_header(checkpoint.path)
        if not sd1.detect(header.shapes):
            raise ModelFileError(
                f'"{checkpoint.name}" {_looks_like(header)}. This version draws with whole Stable Diffusion 1.x checkpoints; choose one of those.'
            )
        prediction = read_prediction(checkpoint.path, header)
        checkpoint = self._checkpoints.identify(checkpoint)
        try:
            tensors = sd1.load_file(checkpoint.path)
        except Exception as error:  # safetensors raises a class of its own
            raise ModelFileError(f'"{checkpoint.name}" cannot be read: {error}. Download it again.') from error
        model = sd1.load(
            tensors,
            name=checkpoint.model_name,
            sha256=checkpoint.sha256 or "",
            native_size=_native(header),
            compute=self._compute,
            prediction=prediction,
        )
        self._loaded = (key, model)
        return model


def _key(path: Path) -> Key:
    try:
        status = path.stat()
    except OSError as error:
        raise ModelFileError(f'"{path.name}" cannot be read: {error.strerror}. Choose another checkpoint.') from error
    return str(path), status.st_size, status.st_mtime_ns, yaml_time(path)


def _native(header: Header) -> int | None:
    try:
        return int(json.loads(header.metadata["atelier.defaults"])["width"])
    except (KeyError, TypeError, ValueError):
        return None


def _looks_like(header: Header) -> str:
    """What a file that is no whole SD 1.x seems to be."""
    keys = header.shapes
    signs = (
        ("conditioner.embedders.", "looks like Stable Diffusion XL"),
        ("cond_stage_model.model.", "looks like Stable Diffusion 2.x"),
        ("model.diffusion_model.joint_blocks.", "looks like Stable Diffusion 3"),
        ("model.diffusion_model.double_blocks.", "looks like FLUX"),
        ("double_blocks.", "looks like FLUX"),
        ("lora_", "looks like a LoRA"),
        ("control_model.", "looks like a ControlNet"),
        ("first_stage_model.", "looks like a VAE"),
        ("decoder.conv_in.", "looks like a VAE"),
    )
    for prefix, words in signs:
        if any(key.startswith(prefix) for key in keys) and not (
            prefix == "first_stage_model." and any(key.startswith("model.") for key in keys)
        ):
            return words
    return "is of a kind that is not known here"
