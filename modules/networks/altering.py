"""Networks on models that run compiled: given to what computes, while the modules they were converted from stay as they are.

A part's LoRAs are added to what its layers say where all of its changes are such and of linear layers, or convolutions of one place:
then nothing is compiled again. Else it computes with changed weights.
"""

from collections.abc import Hashable, Iterable, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from modules.devices.slots import Factors, stacked
from modules.families.alterable import Alterable
from modules.families.model import LoadedModel, inside
from modules.networks.kinds.lora import Lora
from modules.networks.patch import Patched, Use

SHARE = 0.2
"""The most numbers of LoRAs for a part's own that are multiplied with at every step; with more, 20 steps take longer than compiling."""


class Altering:
    """A patch of compiled parts, in or out, as Patched is of modules. `name`: what it alters of them; `key`: another one for others.

    What is changed is computed when it is compiled, and not kept beside that.
    """

    def __init__(self, uses: Iterable[Use], parts: Sequence[Alterable], name: str, key: Hashable) -> None:
        self._paths = {module: path for part in parts for path, module in part.skeleton.named_modules()}
        owners = {module: part for part in parts for module in part.skeleton.modules()}
        self._uses: dict[Alterable, list[Use]] = {}
        for use in uses:
            self._uses.setdefault(owners[use.target.modules[0]], []).append(use)
        self._name = name
        self._key = key

    def put_in(self) -> None:
        """From now on the changed tensors count."""
        for part, uses in self._uses.items():
            if _adds(uses, part):
                part.add(self._name, self._key, partial(self._factors, uses))
                continue
            part.alter(self._name, self._key, partial(self._weights, uses, rough=part.rough))

    def take_out(self) -> None:
        """From now on those that were there count again."""
        for part in self._uses:
            part.restore(self._name)

    def _weights(self, uses: Sequence[Use], *, rough: bool) -> dict[str, Tensor]:
        patched = Patched(uses, torch.device("cpu"), rough=rough)
        found = {f"{self._paths[module]}.weight": tensor for module, tensor in patched.unpacked}
        for (held, name), tensor in patched.tensors.items():
            module: nn.Module | None = held()
            if module is not None:
                found[f"{self._paths[module]}.{name}"] = tensor
        return found

    def _factors(self, uses: Sequence[Use]) -> dict[str, Factors]:
        found: dict[str, list[Factors]] = {}
        for use in uses:
            assert isinstance(use.change, Lora)
            up, down = use.change.factors(torch.empty(0), use.rank)
            up = up * (use.amount * use.change.scale)
            sizes = [len(weight) for weight in use.target.weights]
            for module, rows in zip(use.target.modules, up.split(sizes), strict=True):
                found.setdefault(self._paths[module], []).append((rows, down))
        return {path: stacked(pairs) for path, pairs in found.items()}


def _adds(uses: Sequence[Use], part: Alterable) -> bool:
    """Are all of these such that can be added, and few enough?"""
    loras = [use.change for use in uses if isinstance(use.change, Lora) and _linear(use)]
    count = sum(lora.up.numel() + lora.down.numel() for lora in loras)
    return len(loras) == len(uses) and count <= SHARE * sum(p.numel() for p in part.skeleton.parameters())


def _linear(use: Use) -> bool:
    change = use.change
    return change.bias is None and getattr(change, "mid", None) is None and all(map(_one_place, use.target.modules))


def _one_place(module: nn.Module) -> bool:
    """Does each place of what it says depend on one place of what it reads, linearly?"""
    if isinstance(module, nn.Conv2d):
        steps = {*module.kernel_size, *module.stride, *module.dilation, module.groups}
        return steps == {1} and module.padding in (0, (0, 0))
    return isinstance(module, nn.Linear)


def compiled_parts(model: LoadedModel) -> list[Alterable]:
    """Those of a model that networks may be put on."""
    return inside([model.backbone, model.prompts], Alterable)
