"""The layers of a loaded model that networks change, by every name that trainers give them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from modules.families.alterable import Alterable
from modules.families.model import LoadedModel, inside
from modules.networks.naming import TEXT_1, TEXT_2, TEXT_3, UNET
from modules.networks.original_names import original_places

_BLOCK = re.compile(r"(input|output)_blocks_(\d+)_|middle_block_")


@dataclass(frozen=True, kw_only=True)
class Target:
    """A layer: the modules that hold its rows, in order, its path in `role`, and in a U-Net its block: ("input", 4)."""

    role: str
    path: str
    modules: tuple[nn.Module, ...]
    block: tuple[str, int] | None = None

    @property
    def weights(self) -> tuple[Tensor, ...]:
        """What the modules hold."""
        return tuple(module.weight for module in self.modules)  # pyright: ignore[reportReturnType]


class Targets:
    """All layers of one model."""

    def __init__(self, model: LoadedModel) -> None:
        self._found: dict[tuple[str, str], Target] = {}
        self._add_network(model)
        for role, text in text_encoders(model).items():
            for path, module in _weighed(text):
                flat = path.replace(".", "_").removeprefix("text_model_")
                self._found[role, flat] = Target(role=role, path=path, modules=(module,))

    def _add_network(self, model: LoadedModel) -> None:
        backbone = module_of(model.backbone)
        modules = dict(_weighed(backbone))
        blocks: dict[str, tuple[str, int]] = {}
        places = original_places(model.family, backbone)
        for name, held in places.items():
            if match := _BLOCK.match(name.replace(".", "_")):
                blocks[held[0]] = (match[1], int(match[2])) if match[1] else ("middle", 0)
        names = {**{path: (path,) for path in modules}, **places}
        for name, held in names.items():
            if all(path in modules for path in held):
                found = tuple(modules[path] for path in held)
                target = Target(role=UNET, path=held[0], modules=found, block=blocks.get(held[0]))
                self._found[UNET, name.replace(".", "_")] = target

    def find(self, role: str, path: str) -> Target | None:
        """The layer of that role and flat path; of an only text encoder by any number."""
        found = self._found.get((role, path))
        if found is None and role == TEXT_2:
            found = self._found.get((TEXT_3, path))  # FLUX's T5 is diffusers' second
        return found

    @property
    def input_blocks(self) -> int:
        """How many input blocks the network has, 0 if it is no U-Net."""
        numbers = [t.block[1] for t in self._found.values() if t.block and t.block[0] == "input"]
        return 1 + max(numbers, default=-1)


def text_encoders(model: LoadedModel) -> dict[str, nn.Module]:
    """The text encoders that trainers train, by role: CLIPs in their order, then T5."""
    modules = [module_of(part) for part in inside(model.prompts, (nn.Module, Alterable))]
    found = [module for module in modules if type(module).__name__ in ("CLIPTextModel", "T5EncoderModel")]
    clips = [module for module in found if type(module).__name__ == "CLIPTextModel"]
    others = [module for module in found if module not in clips]
    roles = (TEXT_2,) if model.family == "sdxl-refiner" else (TEXT_1, TEXT_2)
    return {**dict(zip(roles, clips, strict=False)), **dict(zip((TEXT_3,), others, strict=False))}


def module_of(part: Any) -> nn.Module:
    """The PyTorch module of a model's part, or that which it was compiled from."""
    return part.skeleton if isinstance(part, Alterable) else part


def _weighed(network: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """The modules with a weight of their own."""
    for path, module in network.named_modules():
        if isinstance(module._parameters.get("weight"), Tensor):
            yield path, module
