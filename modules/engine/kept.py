"""The models in memory: those used last, as many as there may be and as there is room for."""

import logging
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from modules.core.errors import AtelierError, ModelFileError
from modules.devices.memory import free_memory, give_back
from modules.devices.residence import Policy
from modules.engine.room import gigabytes, modules_of, place
from modules.families.model import LoadedModel

log = logging.getLogger(__name__)

Key = tuple[str | int, ...]
CPU = torch.device("cpu")


@dataclass(frozen=True, kw_only=True)
class Record:
    """Where a model came from: `key` and `vae` are its files and their states. `own`: bytes that are free without it.

    `again` reads it once more, for the record that it is given.
    """

    key: Key
    vae: Key | None
    own: int
    again: Callable[["Record"], "Kept"]


@dataclass(frozen=True, kw_only=True)
class Kept:
    """A model in memory. `policy` is in charge of where its weights are, as its `tier` has it; without one all are on the device."""

    record: Record
    model: LoadedModel
    tier: int = 0
    policy: Policy | None = None


@dataclass(frozen=True, kw_only=True)
class Keeping:
    """How many models stay in memory, a refiner beside the last one aside, and whether those not in use leave the GPU."""

    limit: int = 1
    park: bool = True


def keeping_of(options: Mapping[str, Any]) -> Keeping:
    """What the settings say of it."""
    return Keeping(limit=options["sd_checkpoints_limit"], park=options["sd_checkpoints_keep_in_cpu"])


class KeptModels:
    """Those used last, the very last one first. `free` tells how many bytes a device has left."""

    def __init__(self, device: torch.device, free: Callable[[torch.device], int] = free_memory) -> None:
        self._device = device
        self._free = free
        self._all: tuple[Kept, ...] = ()

    @property
    def last(self) -> Kept | None:
        """The model used last."""
        return self._all[0] if self._all else None

    def find(self, key: Key) -> Kept | None:
        """The model of that file in that state."""
        return next((kept for kept in self._all if kept.record.key == key), None)

    def of(self, model: LoadedModel) -> Kept | None:
        """What is kept of that model."""
        return next((kept for kept in self._all if kept.model is model), None)

    def check_room(self, name: str, need: int, *, beside: int = 0) -> None:
        """Raise ModelFileError, with both numbers, if so many bytes would not fit though all but `beside` models were let go of."""
        have = self.could_have(beside=beside)
        if self._device.type == "cuda":
            have += self._free(CPU)  # where the rest of it may stay
        if need > have:
            raise ModelFileError(
                f'"{name}" needs {gigabytes(need)} of memory, {gigabytes(have)} can be had. '
                "Close other programs, or choose a smaller model."
            )

    def could_have(self, *, beside: int = 0) -> int:
        """Bytes of the device that are free, or would be without all models but `beside`."""
        return self._free(self._device) + sum(kept.record.own for kept in self._all[beside:])

    def make_room(self, need: int, keeping: Keeping, *, beside: int = 0) -> list[Record]:
        """Park or let go of the models used least, all but `beside`, until so many bytes are free. Those let go of are returned."""
        if keeping.park:
            self._park(self._all[beside:])
        dropped = []
        while len(self._all) > beside and need > self._free(self._device):
            dropped.append(self._all[-1].record)
            gone = _networks(self._all[-1:])
            self._all = self._all[:-1]
            give_back(gone)
        return dropped

    def restore(self, dropped: list[Record]) -> None:
        """Read the model used last again, if it had to make room."""
        if self._all or not dropped:
            return
        try:
            self._all = (dropped[-1].again(dropped[-1]),)
        except AtelierError as error:
            log.warning("The model before cannot be read again: %s", error.message)

    def use(self, kept: Kept, keeping: Keeping, *, fresh: bool, beside: int = 0) -> None:
        """That model is the last one used now; a `fresh` one makes those beyond the limit go."""
        others = tuple(other for other in self._all if other.record.key != kept.record.key)
        most = max(keeping.limit - 1, beside) if fresh else len(others)
        gone = _networks(others[most:])
        self._all = (kept, *others[:most])
        del others
        if keeping.park:
            self._park(self._all[1 + beside :])
        if not kept.policy:
            self.place(kept.model)
        if gone:
            give_back(gone)

    def place(self, model: LoadedModel) -> None:
        """Move a model to the device."""
        if self._device.type != "cpu":
            place(model, self._device)

    def clear(self) -> None:
        """Let go of all of them."""
        gone = _networks(self._all)
        self._all = ()
        give_back(gone)

    def _park(self, kept: tuple[Kept, ...]) -> None:
        """Move models to the CPU's memory where there is one besides, and room in it."""
        if self._device.type == "cpu":
            return
        for one in kept:
            if one.policy:
                one.policy.leave()
            elif one.record.own < self._free(CPU):
                place(one.model, CPU)
        give_back()


def _networks(kept: tuple[Kept, ...]) -> list[weakref.ref[Any]]:
    """Their networks, without holding them."""
    return [weakref.ref(module) for one in kept for module in modules_of(one.model)]
