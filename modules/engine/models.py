"""Checkpoints by name, as models: a new one is loaded beside the others, and takes its place when it is whole."""

import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch

from modules.core.errors import ModelFileError
from modules.core.faults import fault
from modules.core.paths import VAE
from modules.devices.choice import Compute
from modules.devices.memory import free_memory, give_back, out_of_memory
from modules.devices.residence import Policy
from modules.engine.kept import Keeping, Kept, KeptModels, Key, Record
from modules.engine.room import bytes_of, largest_of, packable, sizes
from modules.engine.tiers import Needs, Tiers
from modules.families import sdxl
from modules.families.fitting import Wish
from modules.families.float8 import keep_as_float8
from modules.families.kinds import Family, family_of
from modules.families.model import LoadedModel
from modules.families.opening import header_of, open_checkpoint, vae_of
from modules.families.source import Source, Tell, untold
from modules.families.unet import UNetNetwork
from modules.families.whole.kinds import is_whole, load_whole
from modules.families.whole.model import Pipeline, WholeModel
from modules.library.checkpoints import Checkpoint, Checkpoints
from modules.library.prediction import yaml_time
from modules.library.shelf import Shelf
from modules.library.vaes import Vae, Vaes

Check = Callable[[], None]

TYPICAL_PIXELS = 1024 * 1024
"""Of a picture, where nobody says how large it will be."""


@dataclass(frozen=True, kw_only=True)
class _Choice:
    """A checkpoint, the VAE chosen for it, the modules it is completed with, the states of all their files, and what computes."""

    checkpoint: Checkpoint
    vae: Vae | None
    wish: Wish
    key: Key
    vae_key: Key | None
    compute: Compute


class Models:
    """Loads checkpoints by name and keeps those used last. Not for several threads at once.

    `free` tells how many bytes a device has left.
    """

    def __init__(
        self,
        checkpoints: Checkpoints,
        compute: Compute,
        vaes: Vaes | None = None,
        shelf: Shelf | None = None,
        free: Callable[[torch.device], int] = free_memory,
        tiers: Tiers | None = None,
    ) -> None:
        self._tiers = tiers or Tiers(compute.device)
        self._checkpoints = checkpoints
        self._shelf = shelf or Shelf()
        self._vaes = vaes or Vaes((), checkpoints.hashes)
        self._compute = compute
        self._kept = KeptModels(compute.device, free)
        self._whole: tuple[Key, WholeModel] | None = None
        self._finer: dict[Key, Compute] = {}
        self._vae_types: dict[Key, torch.dtype] = {}

    def is_whole(self, name: str) -> bool:
        """Does that checkpoint run as a whole pipeline? Raises UnknownName or ModelFileError."""
        return is_whole(self._checkpoints.find(name).path)

    def load_whole(self, name: str, on_read: Callable[[str], None] = lambda _: None) -> WholeModel:
        """The pipeline of that checkpoint, in place of what was loaded before; raises as `load`."""
        checkpoint = self._checkpoints.find(name)
        key = _key(checkpoint.file)
        if self._whole is None or self._whole[0] != key:
            on_read(checkpoint.name)
            pipeline = self._pipeline(checkpoint)
            sha256 = self._checkpoints.hashes.begin(checkpoint.file)
            model = WholeModel(name=checkpoint.model_name, sha256=sha256, compute=self._compute, pipeline=pipeline)
            self._whole = (key, model)
            self._kept.clear()
        return self._whole[1]

    def _pipeline(self, checkpoint: Checkpoint) -> Pipeline:
        """That of a folder, beside what was loaded before, or in its place where there is no memory for both."""
        compute = replace(self._compute, vae_dtype=torch.float32)  # nobody looks at what it decodes
        try:
            return load_whole(checkpoint.path, compute)
        except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
            if not out_of_memory(error):
                raise
            traceback.clear_frames(error.__traceback__)  # they hold what was built so far
        self.unload()
        give_back()
        return load_whole(checkpoint.path, compute)

    @property
    def device(self) -> torch.device:
        """Where is computed."""
        return self._compute.device

    def load(
        self,
        name: str,
        on_read: Callable[[str], None] = lambda _: None,
        *,
        vae: str = "Automatic",
        modules: Sequence[str] = (),
        field: str = "sd_model_checkpoint",
        beside: int = 0,
        keeping: Keeping | None = None,
        check: Check = lambda: None,
        plain: bool = False,
        float8: str = "Disable",
        pixels: int = TYPICAL_PIXELS,
    ) -> LoadedModel:
        """The model of that checkpoint with the VAE of that setting; `on_read` is told when a file must be read.

        `modules`: names of VAEs and text encoders that come before the checkpoint's own. The last `beside` models, which work
        on the same picture, stay where they are. `field`: what the name is called in errors. `check` is called between the parts and raises what stops the loading. `plain`: on PyTorch, whatever is quicker. `float8`: the setting `fp8_storage`.
        `pixels` of the largest picture that is about to be drawn: a GPU keeps room for it.
        Raises UnknownName, InputError or ModelFileError; what was loaded before stays then, or is read again if it had to make room.
        """
        choice = self._choice(name, field, vae, modules, plain, float8)
        keeping = keeping or Keeping()
        found = self._kept.find(choice.key)
        fresh = found is None
        if found is None:
            on_read(choice.checkpoint.name)
            found = self._loaded(choice, keeping, beside, check, on_read, pixels)
        elif found.record.vae != choice.vae_key:
            on_read(choice.vae.name if choice.vae else choice.checkpoint.name)
            found = self._revised(found, choice)
        self._whole = None
        self._kept.use(found, keeping, fresh=fresh, beside=beside)
        return found.model

    def unload(self) -> None:
        """Let go of all of them; what is asked for next is loaded again."""
        self._whole = None
        self._kept.clear()

    def finer(self, model: LoadedModel) -> str | None:
        """Let go of a model that gave NaN, which will compute more precisely when it is loaded again; says in what.

        None where it cannot: what it was loaded in at first is then tried again by the next job.
        """
        kept = self._kept.of(model)
        if not kept:
            return None
        better = model.compute.finer(upcasts=isinstance(model.network, UNetNetwork))
        if better:
            self._finer[kept.record.key] = replace(better, lent=False)
        elif not self._finer.pop(kept.record.key, None):
            return None
        self._kept.clear()
        return better.words if better else None

    def policy_of(self, model: LoadedModel) -> Policy | None:
        """What is in charge of where that model's weights are, if anything is."""
        kept = self._kept.of(model)
        return kept.policy if kept else None

    def keep_vae_type(self, model: LoadedModel, dtype: torch.dtype) -> bool:
        """That model's VAE gave NaN, and computes in that type from now on. May it be changed where it is?

        If not, since a policy is in charge of its weights, the model is let go of, and has such a VAE when it is loaded again.
        """
        kept = self._kept.of(model)
        if not kept:
            return True
        self._vae_types[kept.record.vae or kept.record.key] = dtype
        if kept.policy:
            self._kept.clear()
        return not kept.policy

    def _choice(self, name: str, field: str, vae: str, modules: Sequence[str], plain: bool, float8: str) -> _Choice:
        """What these names mean; raises UnknownName, or ModelFileError for a file that cannot be looked at."""
        checkpoint = self._checkpoints.find(name, field)
        if is_whole(checkpoint.path):
            raise ModelFileError(
                f'"{checkpoint.name}" runs as a whole pipeline, which does text to image alone. Choose another checkpoint for this.'
            )
        files = [self._shelf.find(file) for file in modules]
        chosen = None if any(file.folder == VAE for file in files) else self._vaes.choose(vae, checkpoint)
        completing = (part for file in files for part in _key(file.path))
        small = _wants_float8(float8, checkpoint)
        plain = plain or small
        key = (*_key(checkpoint.file), *completing, plain, small)
        vae_key = _key(chosen.path) if chosen else None
        compute = self._finer.get(key) or (self._compute.plain if plain else self._compute)
        return _Choice(
            checkpoint=checkpoint,
            vae=chosen,
            wish=Wish(modules=tuple(modules), vae=chosen.path if chosen else None),
            key=key,
            vae_key=vae_key,
            compute=replace(compute, float8=small, vae_dtype=self._vae_types.get(vae_key or key, compute.vae_dtype)),
        )

    def _loaded(self, choice: _Choice, keeping: Keeping, beside: int, check: Check, tell: Tell, pixels: int) -> Kept:
        """The model of that file, once there is room for it; those it took are put back if it fails."""
        name = choice.checkpoint.name
        self._refuse_giants(choice.checkpoint, beside)
        family, source = self._open(choice, tell)
        tier, need, own = self._tier(choice, family, source, beside, pixels)
        self._kept.check_room(name, need, beside=beside)
        dropped = self._kept.make_room(need, keeping, beside=beside)
        try:
            lent = replace(source, compute=_lent(choice.compute), check=check, tell=tell)
            model, policy = self._placed(choice, family, lent, tier)
        except BaseException as error:
            traceback.clear_frames(error.__traceback__)  # they hold what was built so far
            give_back()
            self._kept.restore(dropped)
            if not out_of_memory(error):
                raise
            lower = self._tiers.lower(choice.key, tier)
            if not lower:
                self._kept.check_room(name, need, beside=beside)
                raise ModelFileError(
                    f'"{name}" did not fit into memory. Close other programs, or choose a smaller model.'
                ) from error
            return self._loaded(choice, keeping, beside, check, tell, pixels)
        again = partial(self._again, choice, tier)
        record = Record(key=choice.key, vae=choice.vae_key, own=need if policy else own, again=again)
        return Kept(record=record, model=model, tier=tier, policy=policy)

    def _placed(self, choice: _Choice, family: Family, source: Source, tier: int) -> tuple[LoadedModel, Policy | None]:
        """The model of an opened file, on the device or in the charge of what brings it there."""
        model = self._built(choice, family, source)
        fault("model.load")
        policy = self._tiers.policy_for(model, tier)
        if not policy:
            self._kept.place(model)
        return model, policy

    def _revised(self, kept: Kept, choice: _Choice) -> Kept:
        """That model with another VAE."""
        record = replace(kept.record, vae=choice.vae_key, again=partial(self._again, choice, kept.tier))
        model = self._with_vae(kept.model, choice, _lent(choice.compute))
        if kept.policy:
            kept.policy.leave()
            self._tiers.take_vae(kept.policy, model.autoencoder)
        return replace(kept, record=record, model=model)

    def _again(self, choice: _Choice, tier: int, record: Record) -> Kept:
        family, source = self._open(choice)
        model = self._built(choice, family, replace(source, compute=_lent(choice.compute)))
        return Kept(record=record, model=model, tier=tier, policy=self._tiers.policy_for(model, tier))

    def _tier(self, choice: _Choice, family: Family, source: Source, beside: int, pixels: int) -> tuple[int, int, int]:
        """How much of the model is on the device at a time, the bytes of that, and how many of them are a copy of its file's."""
        shapes = {name: tuple(tensor.shape) for name, tensor in source.tensors.items()}
        but = self._tiers.elsewhere(family.parts(shapes))
        need, own = sizes(family, source.tensors, choice.compute, but)
        needs = Needs(whole=need, largest=largest_of(family, shapes, choice.compute, but))
        tier = self._tiers.choose(
            choice.checkpoint.name,
            choice.key,
            family.LABEL,
            needs,
            pixels=pixels,
            free=self._kept.could_have(beside=beside),
        )
        return tier, needs.on_device(tier) if tier else need, own

    def lower(self) -> bool:
        """Let go of the model used last, which did not fit; will less of it be on the device when it is loaded again?"""
        last = self._kept.last
        if not last or not self._tiers.lower(last.record.key, last.tier):
            return False
        self._kept.clear()
        return True

    def room(self) -> int:
        """Bytes that can be had beside the model used last; on a GPU its weights make room where they must."""
        return self._kept.could_have(beside=int(self._compute.device.type == "cpu"))

    def _refuse_giants(self, checkpoint: Checkpoint, beside: int) -> None:
        """Raise ModelFileError, before a byte of a weight is asked for, if the header alone tells that there is no room."""
        shapes = header_of(checkpoint.path).shapes
        family = family_of(shapes)
        if family and checkpoint.path.suffix.lower() != ".gguf":  # those stay packed
            self._kept.check_room(checkpoint.name, bytes_of(family, shapes, self._compute), beside=beside)

    def _open(self, choice: _Choice, tell: Tell = untold) -> tuple[Family, Source]:
        return open_checkpoint(choice.checkpoint, choice.compute, self._shelf, choice.wish, tell)

    def _built(self, choice: _Choice, family: Family, source: Source) -> LoadedModel:
        """The model of an opened file, hashed meanwhile, with that VAE or its own."""
        file = choice.checkpoint.file
        model = family.load(replace(source, sha256=self._checkpoints.hashes.begin(file)))
        state = _key(file)
        if state != choice.key[: len(state)]:
            raise ModelFileError(
                f'"{choice.checkpoint.name}" was changed while it was read. Try again when it is whole.'
            )
        model = replace(model, modules=source.modules)
        if choice.compute.float8:
            keep_as_float8(packable(model))
        return self._with_vae(model, choice, source.compute) if choice.vae else model

    def _with_vae(self, model: LoadedModel, choice: _Choice, compute: Compute) -> LoadedModel:
        """The model with that VAE, or with the one that its checkpoint has or is completed with."""
        vae = choice.vae
        path, name = (vae.path, vae.name) if vae else (None, "")
        family, tensors = vae_of(choice.checkpoint, path, name, self._shelf, choice.wish)
        built = family.autoencoder(tensors, compute)
        return replace(model, autoencoder=built, vae_file=(vae.path.name, self._vaes.short_hash(vae)) if vae else None)


def _wants_float8(setting: str, checkpoint: Checkpoint) -> bool:
    if setting == "Enable for SDXL":
        family = family_of(header_of(checkpoint.path).shapes)
        return family is not None and family.LABEL == sdxl.LABEL
    return setting == "Enable"


def _lent(compute: Compute) -> Compute:
    """The same with weights on the CPU, from where they are placed or lent."""
    return replace(compute, lent=compute.device.type != "cpu")


def _key(path: Path) -> Key:
    try:
        status = path.stat()
    except OSError as error:
        raise ModelFileError(f'"{path.name}" cannot be read: {error.strerror}. Choose another checkpoint.') from error
    return str(path), status.st_size, status.st_mtime_ns, status.st_ino, yaml_time(path)
