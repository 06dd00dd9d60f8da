"""The checkpoint in memory: loaded beside the old one, swapped when whole."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from modules.core.errors import ModelFileError
from modules.devices.choice import Compute
from modules.families import sd1
from modules.families.kinds import NAMES, family_of, header_of, tensors_of
from modules.families.model import LoadedModel
from modules.library.checkpoints import Checkpoint, Checkpoints
from modules.library.header import Header
from modules.library.prediction import read_prediction, yaml_time
from modules.library.vaes import Vae, Vaes

Key = tuple[str, int, int, int]
Kept = tuple[Key, Key | None, LoadedModel]


class Models:
    """Loads checkpoints by name and keeps the last one, and a refiner beside it."""

    def __init__(self, checkpoints: Checkpoints, compute: Compute, vaes: Vaes | None = None) -> None:
        self._checkpoints = checkpoints
        self._vaes = vaes or Vaes((), checkpoints.hashes)
        self._compute = compute
        self._kept: tuple[Kept, ...] = ()  # the last one first

    def load(
        self,
        name: str,
        on_read: Callable[[str], None] = lambda _: None,
        *,
        vae: str = "Automatic",
        refiner: bool = False,
    ) -> LoadedModel:
        """The model of that checkpoint with the VAE of that setting; `on_read` is told when a file must be read.

        A `refiner` leaves the last model where it is. Raises UnknownName or ModelFileError; what was loaded before stays then.
        """
        checkpoint = self._checkpoints.find(name, "refiner_checkpoint" if refiner else "sd_model_checkpoint")
        chosen = self._vaes.choose(vae, checkpoint)
        key, vae_key = _key(checkpoint.file), _key(chosen.path) if chosen else None
        known = next((kept for kept in self._kept if kept[0] == key), None)
        if known is None or known[1] != vae_key:
            on_read(chosen.name if known and chosen else checkpoint.name)
            model = known[2] if known else self._read(checkpoint)
            if vae_key != (known[1] if known else None):
                model = self._with_vae(model, checkpoint, chosen)
            known = (key, vae_key, model)
            beside = self._kept[:1] if refiner else ()
        else:
            beside = self._kept
        self._kept = (known, *(kept for kept in beside if kept[0] != key))
        return known[2]

    def _with_vae(self, model: LoadedModel, checkpoint: Checkpoint, vae: Vae | None) -> LoadedModel:
        """The model with that VAE, or with its checkpoint's own."""
        source = vae or checkpoint
        if vae:
            header = header_of(vae.path)
            if not sd1.detect_vae(header.shapes):
                raise ModelFileError(
                    f'"{vae.name}" {_looks_like(header)}, and is no VAE of Stable Diffusion in the usual layout. Choose another in sd_vae.'
                )
        built = sd1.load_vae(tensors_of(source.path), self._compute)
        return replace(model, vae=built, vae_file=(vae.path.name, self._vaes.short_hash(vae)) if vae else None)

    def _read(self, checkpoint: Checkpoint) -> LoadedModel:
        """The model of that file."""
        header = header_of(checkpoint.path)
        family = family_of(header.shapes)
        if not family:
            raise ModelFileError(
                f'"{checkpoint.name}" {_looks_like(header)}. This version draws with whole checkpoints of {NAMES}; choose one of those.'
            )
        prediction = read_prediction(checkpoint.path, header)
        checkpoint = self._checkpoints.identify(checkpoint)
        return family.load(
            tensors_of(checkpoint.path),
            name=checkpoint.model_name,
            sha256=checkpoint.sha256 or "",
            native_size=_native(header),
            compute=self._compute,
            prediction=prediction,
        )


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
    """What a file that is no whole checkpoint of a known family seems to be."""
    keys = header.shapes
    signs = (
        ("conditioner.embedders.", "looks like a part or variant of Stable Diffusion XL"),
        ("cond_stage_model.model.", "looks like a part or variant of Stable Diffusion 2.x"),
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
