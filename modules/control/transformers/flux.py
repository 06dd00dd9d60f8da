"""ControlNets of FLUX.1: InstantX's and its kin (Shakker's Union Pro 1 and 2, jasperai's ...), and XLabs', under their own names or diffusers'.

XLabs' see the picture itself, and their residuals are added in turns; the others see its latents, and theirs in runs. Unions are told
the kind of control, by its place among those that they were trained on.
"""

import copy
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from typing_extensions import Self

from modules.control.control_keys import HINT, HINT_CONVOLUTIONS
from modules.control.networks import Residuals
from modules.control.transformers.network import TokenNetwork, encoded, spread
from modules.control.union import BY_TYPE
from modules.core.errors import InputError
from modules.devices.choice import Compute
from modules.families import flux_keys
from modules.families.adding import Added, TokenCall
from modules.families.assembly import count_of, empty_weights, filled, needed
from modules.families.flux_network import PATCH, to_tokens, token_places
from modules.families.model import LoadedModel
from modules.sampling.denoiser import TRAIN_STEPS

MODES = {
    "Hard Edge": 0,
    "Soft Edge": 0,
    "Tile": 1,
    "Depth": 2,
    "Blur": 3,
    "OpenPose": 4,
    "Gray": 5,
    "Low Quality": 6,
}
"""The kinds by their places in InstantX's Union and Shakker's Union Pro; lines of any kind are its canny."""

MODE = "controlnet_mode_embedder.weight"
OWN = "pos_embed_input"


def build_flux(tensors: Mapping[str, Tensor], compute: Compute, file: Path) -> "FluxControl":
    """One of any layout; raises ModelFileError naming the first tensor that does not fit."""
    from diffusers.models.controlnets.controlnet_flux import FluxControlNetModel

    weights = to_diffusers(tensors)
    width, channels = needed(weights, "x_embedder.weight").shape
    head = needed(weights, "transformer_blocks.0.attn.norm_q.weight").shape[0]
    hint = weights.get(f"{HINT}.conv_out.weight")
    config: dict[str, Any] = {
        "patch_size": 1 if hint is None else PATCH,
        "in_channels": channels,
        "num_layers": count_of(weights, "transformer_blocks"),
        "num_single_layers": count_of(weights, "single_transformer_blocks"),
        "attention_head_dim": head,
        "num_attention_heads": width // head,
        "joint_attention_dim": needed(weights, "context_embedder.weight").shape[1],
        "pooled_projection_dim": needed(weights, "time_text_embed.text_embedder.linear_1.weight").shape[1],
        "guidance_embeds": any(name.startswith("time_text_embed.guidance_embedder.") for name in weights),
        "axes_dims_rope": [head // 8, head * 7 // 16, head * 7 // 16],
        "num_mode": weights[MODE].shape[0] if MODE in weights else None,
        "conditioning_embedding_channels": None if hint is None else hint.shape[0],
    }
    with empty_weights(), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # diffusers' own use of a class that it moved
        module = FluxControlNetModel(**config)
    compute = compute.wide
    filled(module, weights, compute.home, compute.dtype)
    return FluxControl(module)


def to_diffusers(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """XLabs' own names told in diffusers'; others as they are."""
    if not flux_keys.is_original(tensors):
        return dict(tensors)
    first, *blocks, last = HINT_CONVOLUTIONS
    hint = {first: "conv_in", last: "conv_out", **{at: f"blocks.{n}" for n, at in enumerate(blocks)}}
    found = flux_keys.to_diffusers(tensors)
    for name, tensor in tensors.items():
        layer, _, kind = name.rpartition(".")
        if layer == OWN:
            found[f"controlnet_x_embedder.{kind}"] = tensor
        elif layer.startswith(f"{HINT}.") and layer.removeprefix(f"{HINT}.").isdigit():
            found[f"{HINT}.{hint.get(int(layer.rpartition('.')[2]), layer)}.{kind}"] = tensor
        elif layer.startswith("controlnet_"):
            found[name] = tensor
    return found


class FluxControl(TokenNetwork):
    """diffusers' FluxControlNetModel."""

    by_type = {**BY_TYPE, "Recolor": "Gray", "blur_gaussian": "Blur"}

    def __init__(self, module: Any) -> None:
        super().__init__(module)
        self._pixels = module.input_hint_block is not None
        self._mode: int | None = None
        self.cell = 8 if self._pixels else 1

    def told(self, kind: str, field: str) -> Self:
        """The same for that kind of control; raises InputError for one that a union was not trained on."""
        count = self.config.num_mode
        if count is None:
            return self
        mode = MODES.get(kind, count)
        if mode >= count:
            known = ", ".join(name for name, at in MODES.items() if at < count)
            raise InputError(
                field, f"{field} is {kind}, but this network must be told what it is shown. Choose one of {known}."
            )
        found = copy.copy(self)
        found._mode = mode
        return found

    def sizes(self, backbone: Any) -> list[tuple[str, Any, Any]]:
        """See TokenNetwork."""
        own, other = self.config, backbone.config
        names = ("joint_attention_dim", "pooled_projection_dim")
        return [
            ("width", own.num_attention_heads * own.attention_head_dim, backbone.inner_dim),
            ("in_channels", own.in_channels, other.out_channels),
            *((name, getattr(own, name), getattr(other, name)) for name in names),
        ]

    def prepared(self, hints: Tensor, model: LoadedModel) -> Tensor:
        """See TokenNetwork."""
        pictures = hints.clamp(min=0)
        return pictures * 2 - 1 if self._pixels else encoded(pictures, model)

    def residuals(self, call: TokenCall, hint: Tensor, weight: float = 1.0) -> Residuals:
        """See TokenNetwork."""
        assert call.vector is not None
        places, seen = token_places(call.x), self.seen(hint)
        texts = torch.stack([*call.texts]).to(self.dtype)
        blocks, singles = self.module(
            to_tokens(call.x).to(self.dtype),
            seen if self._pixels else to_tokens(seen),
            None if self._mode is None else torch.full((len(call.x), 1), self._mode, device=call.x.device),
            encoder_hidden_states=texts,
            pooled_projections=call.vector.to(self.dtype),
            timestep=call.t / TRAIN_STEPS,
            guidance=torch.full_like(call.t, call.guidance or 0.0) if self.config.guidance_embeds else None,
            img_ids=places,
            txt_ids=places.new_zeros(texts.shape[1], 3),
            return_dict=False,
        )
        return Residuals(blocks=tuple(blocks or ()), singles=tuple(singles or ()))

    def placed(self, found: Residuals) -> Added:
        """See TokenNetwork."""
        count = len(self.backbone.transformer_blocks)
        if self._pixels:
            blocks = tuple(found.blocks[i % len(found.blocks)] for i in range(count))
        else:
            blocks = spread(found.blocks, count)
        return Added(blocks=blocks, singles=spread(found.singles, len(self.backbone.single_transformer_blocks)))
