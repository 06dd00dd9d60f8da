"""Which files a merging request means: the ones it reads, and the one it writes."""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from modules.core.errors import InputError, UnknownName, short
from modules.core.paths import Paths
from modules.library.checkpoints import Checkpoint, Checkpoints, model_files
from modules.library.vaes import Vae, Vaes
from modules.requests.merge import MODEL_FIELDS, ExtractLoraRequest, FileRequest, MergeLorasRequest, MergeRequest

LETTERS = "ABC"
MAX_NAME = 200
"""Bytes of a file name: file systems take 255, and other programs add to it."""


@dataclass(frozen=True, kw_only=True)
class LoraFile:
    """One LoRA. `name` is its path below its folder, without suffix."""

    path: Path
    name: str


class MergeFiles:
    """Finds what merging requests name. New files go into the first folder of their kind."""

    def __init__(self, paths: Paths, checkpoints: Checkpoints) -> None:
        self.checkpoints = checkpoints
        self.vaes = Vaes(paths.vaes, checkpoints.hashes)
        self._folders = paths.checkpoints
        self._loras = paths.loras

    def check(self, request: FileRequest) -> None:
        """Raise InputError or ModelFileError for a name that is not there, twice there, or taken, as far as names tell."""
        if isinstance(request, MergeRequest):
            models = self.models(request)
            self.vae(request)
            self.target(request, merged_name(request, models), f".{request.checkpoint_format}")
        elif isinstance(request, ExtractLoraRequest):
            self.target(request, extracted_name(request, *self.pair(request)), ".safetensors")
        elif isinstance(request, MergeLorasRequest):
            loras = [lora for lora, _ in self.loras_of(request)]
            checkpoint = self.checkpoint_of(request)
            self.target(request, joined_name(request, loras, checkpoint), ".safetensors")

    def models(self, request: MergeRequest) -> tuple[Checkpoint, ...]:
        """The checkpoints that the request's method takes, A first; raises UnknownName, InputError."""
        found = tuple(
            self.checkpoints.find(name, field) for name, field in zip(request.names, MODEL_FIELDS, strict=False)
        )
        last = [model.path for model in found[-2:]]
        if len(last) == 2 and last[0] == last[1]:
            field, letters = MODEL_FIELDS[len(found) - 1], LETTERS[len(found) - 2 : len(found)]
            raise InputError(
                field,
                f"{field} is {short(found[-1].name)}, and so is model {letters[0]}: {request.interp_method} needs two different ones there.",
            )
        return found

    def vae(self, request: MergeRequest) -> Vae | None:
        """The VAE to bake in; raises UnknownName."""
        wanted = request.bake_in_vae.strip().casefold()
        vaes = self.vaes.list()
        for vae in vaes if wanted else ():
            if wanted in (vae.name.casefold(), vae.path.name.casefold(), vae.path.stem.casefold()):
                return vae
        if wanted:
            raise UnknownName.among("bake_in_vae", request.bake_in_vae, ["None", *(vae.name for vae in vaes)])
        return None

    def pair(self, request: ExtractLoraRequest) -> tuple[Checkpoint, Checkpoint]:
        """The tuned checkpoint and its base; raises UnknownName, InputError."""
        tuned = self.checkpoints.find(request.tuned_model_name, "tuned_model_name")
        base = self.checkpoints.find(request.base_model_name, "base_model_name")
        if tuned.path == base.path:
            raise InputError(
                "base_model_name",
                f"base_model_name is {short(base.name)}, which is the tuned checkpoint too: choose what it was tuned from.",
            )
        return tuned, base

    def checkpoint_of(self, request: MergeLorasRequest) -> Checkpoint | None:
        """The checkpoint that the LoRAs go into; raises UnknownName."""
        return self.checkpoints.find(request.checkpoint, "checkpoint") if request.checkpoint else None

    def loras_of(self, request: MergeLorasRequest) -> list[tuple[LoraFile, float]]:
        """The LoRAs and their weights; raises UnknownName, and InputError for one that is named twice."""
        known = self.loras()
        found = [(_named(known, name), weight) for name, weight in request.pairs]
        paths = [lora.path for lora, _ in found]
        for lora, _ in found:
            if paths.count(lora.path) > 1:
                raise InputError(
                    "loras", f"loras holds {short(lora.name)} twice: name it once, with the sum of weights."
                )
        return found

    def loras(self) -> list[LoraFile]:
        """All LoRAs, sorted by name; of equal names the first folder's counts."""
        found: dict[str, Path] = {}
        for folder in self._loras:
            for path in filter(Path.is_file, model_files(folder)):
                found.setdefault(path.relative_to(folder).with_suffix("").as_posix(), path)
        return [LoraFile(path=found[name], name=name) for name in sorted(found, key=str.casefold)]

    def remove_leftovers(self, job: str) -> None:
        """Delete what a killed engine left of that job's file."""
        for folder in (self._folders[0], self._loras[0]):
            for path in folder.glob(f".atelier-{job}*.tmp"):
                with contextlib.suppress(OSError):
                    path.unlink()

    def target(self, request: FileRequest, name: str, suffix: str) -> Path:
        """The file to be written; raises InputError if its name is too long or taken."""
        into_loras = isinstance(request, ExtractLoraRequest) or (
            isinstance(request, MergeLorasRequest) and not request.checkpoint
        )
        path = (self._loras if into_loras else self._folders)[0] / (name + suffix)
        if len(path.name.encode()) > MAX_NAME:
            raise InputError(
                "custom_name",
                f"The result would be called {short(path.name)}, which is too long: give it another name (custom_name).",
            )
        if path.exists() and not request.overwrite:
            raise InputError(
                "custom_name",
                f'"{path.name}" is there already: give the result another name (custom_name), or allow to replace it (overwrite).',
            )
        if path.is_dir():
            raise InputError("custom_name", f'"{path.name}" is a folder: give the result another name (custom_name).')
        return path


def merged_name(request: MergeRequest, models: Sequence[Checkpoint]) -> str:
    """A1111's name of a merged checkpoint, without suffix."""
    if request.custom_name:
        return request.custom_name
    names = [model.model_name for model in models]
    amount = round(request.multiplier, 2)
    if len(names) == 1:
        return names[0]
    if len(names) == 2:
        return f"{round(1 - request.multiplier, 2)}({names[0]}) + {amount}({names[1]})"
    return f"{names[0]} + {amount}({names[1]} - {names[2]})"


def extracted_name(request: ExtractLoraRequest, tuned: Checkpoint, base: Checkpoint) -> str:
    """The name of an extracted LoRA, without suffix."""
    return request.custom_name or f"{tuned.model_name} - {base.model_name} rank {request.rank}"


def joined_name(request: MergeLorasRequest, loras: Sequence[LoraFile], checkpoint: Checkpoint | None) -> str:
    """The name of what LoRAs are merged to, without suffix."""
    if request.custom_name:
        return request.custom_name
    parts = [f"{round(weight, 2)}({lora.path.stem})" for lora, (_, weight) in zip(loras, request.pairs, strict=True)]
    return " + ".join([*([checkpoint.model_name] if checkpoint else []), *parts])


def _named(loras: Sequence[LoraFile], name: str) -> LoraFile:
    wanted = name.strip().casefold().removesuffix(".safetensors")
    for lora in loras:
        if wanted in (lora.name.casefold(), lora.path.stem.casefold()):
            return lora
    raise UnknownName.among("loras", name, [lora.name for lora in loras])
