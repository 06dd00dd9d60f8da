"""ControlNets of Z-Image (Alibaba's Fun ControlNet Union 1, 2.0, 2.1 and lite): copies of some of its layers, which go through its own embedders.

Of 30 layers every fifth has one in version 1, every second in 2.x, every tenth in lite. Those of 2.x also see what is to be kept of a
picture, and refine the noise along; as in diffusers the transformer's own refiners stay as they are. Files of 2.0 hold refiners that
were never trained, and use the layers again instead.
"""

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from modules.control.networks import Residuals
from modules.control.transformers.network import (
    TokenNetwork,
    check_device,
    configured,
    encoded,
    filling,
    kept_latents,
)
from modules.devices.choice import Compute
from modules.families.adding import Added, TokenCall
from modules.families.assembly import count_of, empty_weights, filled, needed
from modules.families.model import LoadedModel
from modules.families.z_image import HEAD, PATCH
from modules.sampling.denoiser import TRAIN_STEPS

EMBEDDER = "control_all_x_embedder.2-1.weight"
REFINER = "control_noise_refiner"
SHARED = ("t_embedder", "all_x_embedder", "cap_embedder", "noise_refiner", "context_refiner")
"""The transformer's modules that the network goes through; the names below are its other parts."""

PARTS = ("t_scale", "rope_embedder", "x_pad_token", "cap_pad_token")


def build_z_image(tensors: Mapping[str, Tensor], compute: Compute, file: Path) -> "ZImageControl":
    """One of any version; raises ModelFileError naming the first tensor that does not fit."""
    from diffusers.models.controlnets.controlnet_z_image import ZImageControlNetModel

    weights = {name.removeprefix("module."): tensor for name, tensor in tensors.items()}
    width, seen = needed(weights, EMBEDDER).shape
    count, refiners = count_of(weights, "control_layers"), count_of(weights, REFINER)
    refines = _refines(weights)
    config: dict[str, Any] = {
        "control_layers_places": list(range(count)),  # told when it is put beside a transformer
        "control_refiner_layers_places": list(range(refiners if refines == REFINER else min(count, 2))),
        "control_in_dim": seen // PATCH**2,
        "add_control_noise_refiner": refines,
        "dim": width,
        "n_refiner_layers": refiners,
        "n_heads": width // sum(HEAD),
        "n_kv_heads": width // sum(HEAD),
    }
    with empty_weights():
        module = ZImageControlNetModel(**config)
    compute = compute.wide
    filled(module, weights, compute.home, compute.dtype)
    return ZImageControl(module, configured(file).get("control_layers_places"))


def _refines(weights: Mapping[str, Tensor]) -> str | None:
    """diffusers' word for how it refines the noise along."""
    if f"{REFINER}.0.after_proj.weight" not in weights:
        return None if f"{REFINER}.0.attention.to_q.weight" in weights else "control_layers"
    before = needed(weights, f"{REFINER}.0.before_proj.weight")
    return REFINER if before.any() else "control_layers"


class ZImageControl(TokenNetwork):
    """diffusers' ZImageControlNetModel. `places`: the layers that its own are copies of, if they are known."""

    def __init__(self, module: Any, places: Any = None) -> None:
        super().__init__(module)
        self._count = len(module.control_layers)
        known = isinstance(places, list) and len(places) == self._count
        self._places: list[int] | None = [int(place) for place in places] if known else None

    def sizes(self, backbone: Any) -> list[tuple[str, Any, Any]]:
        """See TokenNetwork."""
        found: list[tuple[str, Any, Any]] = [("width", self.config.dim, backbone.config.dim)]
        if self._count > len(backbone.layers):
            found.append(("count of layers", self._count, len(backbone.layers)))
        return found

    def beside(self, model: LoadedModel) -> "ZImageControl":
        """See TokenNetwork."""
        found = copy.copy(self)
        found.backbone = model.backbone
        if found._places is None:
            step = len(model.backbone.layers) // self._count
            found._places = [number * step for number in range(self._count)]
        return found

    def prepared(self, hints: Tensor, model: LoadedModel) -> Tensor:
        """See TokenNetwork. 2.x: a masked picture is not a control but what is kept, grey where it is to be filled."""
        more = self.config.control_in_dim - model.latent_channels
        if not more:
            return encoded(hints.clamp(min=0), model)
        fill = filling(hints)
        if not fill.any():
            latents = encoded(hints, model)
            return torch.cat([latents, latents.new_zeros(len(latents), more, *latents.shape[2:])], dim=1)
        latents = encoded(hints * (1 - fill) + 0.5 * fill, model)
        found = torch.cat([torch.zeros_like(latents), kept_latents(hints, latents), latents], dim=1)
        return found[:, : self.config.control_in_dim]

    def residuals(self, call: TokenCall, hint: Tensor, weight: float = 1.0) -> Residuals:
        """See TokenNetwork. How the noise is refined along depends on the weight."""
        check_device(self, self.backbone.t_embedder)
        with self._shared():
            found = self.module(
                [*call.x[:, :, None].to(self.dtype)],
                1 - call.t / TRAIN_STEPS,
                [text.to(self.dtype) for text in call.texts],
                [*self.seen(hint)[:, :, None]],
                conditioning_scale=weight,
            )
        return Residuals(blocks=tuple(one / weight for one in found.values()))

    def placed(self, found: Residuals) -> Added:
        """See TokenNetwork."""
        assert self._places is not None
        at = dict(zip(self._places, found.blocks, strict=True))
        return Added(blocks=tuple(at.get(number) for number in range(len(self.backbone.layers))))

    @contextmanager
    def _shared(self) -> Iterator[None]:
        """Within this the transformer's own parts are the module's, which does not hold them as its own weights."""
        own = vars(self.module)
        try:
            own.update({name: getattr(self.backbone, name) for name in (*SHARED, *PARTS)})
            yield
        finally:
            own.update(dict.fromkeys((*SHARED, *PARTS)))
