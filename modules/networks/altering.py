"""Changed weights of models that run compiled: given to what computes, while the modules they were converted from stay as they are."""

from collections.abc import Hashable, Iterable, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from modules.families.alterable import Alterable
from modules.families.model import LoadedModel, inside
from modules.networks.patch import Patched, Use


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


def compiled_parts(model: LoadedModel) -> list[Alterable]:
    """Those of a model that networks may be put on."""
    return inside([model.backbone, model.prompts], Alterable)
