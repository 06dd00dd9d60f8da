"""What the ControlNets beside transformers share: they see latents of the control picture, and give residuals of tokens for blocks."""

import copy
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from typing_extensions import Self

from modules.control.networks import Residuals
from modules.control.turns import BALANCED, CONTROL_FIRST
from modules.core.errors import InputError
from modules.families.adding import Added, TokenCall
from modules.families.model import LoadedModel
from modules.families.packing import whole_patches
from modules.requests.control import ControlUnit

PATCH = 2
"""Latents that a token is wide and high, in every family."""


class TokenNetwork:
    """`module` holds the weights. `cell`: pixels of the prepared picture per latent. `by_type`: the kind of control that a network for
    several is told, by the name of a preprocessor or by what it makes. `beside` makes it ready to work in a model."""

    guided_only = False
    cell = 1
    by_type: Mapping[str, str] = {}

    def __init__(self, module: Any) -> None:
        self.module: nn.Module = module
        self.config: Any = module.config
        self.backbone: Any = None

    def beside(self, model: LoadedModel) -> Self:
        """The same, for that model's transformer."""
        found = copy.copy(self)
        found.backbone = model.backbone
        return found

    def told(self, kind: str, field: str) -> Self:
        """The same for that kind of control; only networks for several heed it."""
        return self

    def soft(self, count: int) -> tuple[float, ...]:
        """See ControlNetwork: transformers' residuals are not softened."""
        return (1.0,) * count

    def sizes(self, backbone: Any) -> list[tuple[str, Any, Any]]:
        """What must agree with the model's transformer: its name, here, and there."""
        raise NotImplementedError

    def prepared(self, hints: Tensor, model: LoadedModel) -> Tensor:
        """Hints (P, 3, H, W) in [0, 1], -1 where they are masked, as the network sees them: (P, C, h, w)."""
        raise NotImplementedError

    def residuals(self, call: TokenCall, hint: Tensor, weight: float = 1.0) -> Residuals:
        """For rows with their prepared hints (N, C, h, w). They do not count `weight` yet, which is told to those that need to know."""
        raise NotImplementedError

    def placed(self, found: Residuals) -> Added:
        """The residuals, each at the blocks that it is added in."""
        raise NotImplementedError

    @property
    def dtype(self) -> torch.dtype:
        """What it computes in."""
        return next(self.module.parameters()).dtype

    def seen(self, hint: Tensor) -> Tensor:
        """The hint in whole patches, in the type it computes in."""
        return whole_patches(hint, PATCH * self.cell).to(self.dtype)


def encoded(pictures: Tensor, model: LoadedModel) -> Tensor:
    """The most likely latents (P, C, h, w) of pictures (P, 3, H, W) in [0, 1], float32: nothing is drawn."""
    channels, step = model.latent_channels, model.downscale
    height, width = (side // step for side in pictures.shape[-2:])
    return model.encode(pictures, torch.zeros(len(pictures), channels, height, width)).float()


def filling(hints: Tensor) -> Tensor:
    """(P, 1, H, W): 1 where the hints are masked."""
    return (hints < 0).any(dim=1, keepdim=True).float()


def kept_latents(hints: Tensor, latents: Tensor) -> Tensor:
    """(P, 1, h, w): 1 where the picture is kept, 0 where it is filled."""
    return 1 - torch.nn.functional.interpolate(filling(hints), size=latents.shape[-2:]).to(latents)


def spread(found: Sequence[Tensor], count: int, *, whole: bool = True) -> tuple[Tensor, ...]:
    """Residuals over `count` blocks, each to a run of them; `whole`: runs are of whole numbers of blocks, as long as they must be."""
    if not found:
        return ()
    run = math.ceil(count / len(found)) if whole else count / len(found)
    return tuple(found[int(block / run)] for block in range(count))


def configured(file: Path) -> Mapping[str, Any]:
    """What config.json beside the file says, if diffusers wrote it; empty otherwise."""
    try:
        found = json.loads((file.parent / "config.json").read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    named = isinstance(found, dict) and "ControlNet" in str(found.get("_class_name"))
    return found if named else {}


def check_device(network: TokenNetwork, part: nn.Module) -> None:
    """Raise InputError where the transformer's own layers, which the network goes through, are elsewhere."""
    own, other = (next(module.parameters()).device for module in (network.module, part))
    if own != other:
        raise InputError(
            "control",
            f"This ControlNet goes through layers of the checkpoint's network, which computes on {other} and the ControlNet on {own}. "
            "Start without --use-cpu, or turn the unit off.",
        )


def unsoftened(number: int, unit: ControlUnit, name: str, label: str) -> str:
    """What is to be said of a mode that does not do here all that it does beside a U-Net."""
    counts = "it acts where the prompt guides" if unit.control_mode == CONTROL_FIRST else f'it is drawn as "{BALANCED}"'
    return (
        f'control.{number}.control_mode is "{unit.control_mode}", which softens residuals of a U-Net; those of "{name}" ({label}) '
        f"are not softened: {counts}."
    )
