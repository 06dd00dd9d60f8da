"""ControlNets of Stable Diffusion 3 and 3.5: InstantX's, alimama's for inpainting, and Stability's (blur, canny, depth) for 3.5 large.

InstantX's are told no pooled vector, and see latents that are not shifted; Stability's read no text, and go through the transformer's
own embedding of latents. Stability's canny saw pixels v as 127.5 v + 0.5 instead of 2 v - 1, and depth is far where it is bright:
both are done here, so that preprocessors' pictures fit. Which one it is stands in its file as `control_type`, otherwise in its name.
"""

from collections.abc import Mapping
from dataclasses import dataclass
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
    spread,
)
from modules.core.errors import InputError
from modules.devices.choice import Compute
from modules.families.adding import Added, TokenCall
from modules.families.assembly import count_of, empty_weights, filled, needed
from modules.families.model import LoadedModel
from modules.families.sd3 import HEAD, LATENT_SCALE, LATENT_SHIFT, PATCH

TYPE = "control_type"
KINDS = ("blur", "canny", "depth")
"""What Stability's files call 0, 1 and 2."""

QKV = ("to_q", "to_k", "to_v")
RENAMED = {
    "attn.proj": "attn.to_out.0",
    "adaLN_modulation.1": "norm1.linear",
    "mlp.fc1": "ff.net.0.proj",
    "mlp.fc2": "ff.net.2",
}


@dataclass(frozen=True, kw_only=True)
class Habits:
    """How one was trained. `zeros`: without a pooled vector, and on latents that are not shifted. `kind`: one of KINDS, or ""."""

    zeros: bool = False
    kind: str = ""


def build_sd3(tensors: Mapping[str, Tensor], compute: Compute, file: Path) -> "Sd3Control":
    """One of any layout; raises ModelFileError naming the first tensor that does not fit."""
    from diffusers.models.controlnets.controlnet_sd3 import SD3ControlNetModel

    weights = to_diffusers(tensors)
    width, seen = needed(weights, "pos_embed_input.proj.weight").shape[:2]
    reads, own = "context_embedder.weight" in weights, "pos_embed.proj.weight" in weights
    channels = weights["pos_embed.proj.weight"].shape[1] if own else 16
    count = count_of(weights, "transformer_blocks")
    config: dict[str, Any] = {
        "sample_size": PATCH,
        "pos_embed_max_size": 1,
        "in_channels": channels,
        "extra_conditioning_channels": seen - channels,
        "num_layers": count,
        "attention_head_dim": HEAD,
        "num_attention_heads": width // HEAD,
        "joint_attention_dim": weights["context_embedder.weight"].shape[1] if reads else None,
        "caption_projection_dim": width,
        "pooled_projection_dim": needed(weights, "time_text_embed.text_embedder.linear_1.weight").shape[1],
        "dual_attention_layers": tuple(
            i for i in range(count) if f"transformer_blocks.{i}.attn2.to_q.weight" in weights
        ),
        "qk_norm": "rms_norm" if "transformer_blocks.0.attn.norm_q.weight" in weights else None,
        "use_pos_embed": own,
    }
    with empty_weights():
        module: Any = SD3ControlNetModel(**config)
    if own:
        places = needed(weights, "pos_embed.pos_embed")
        module.pos_embed.pos_embed = places.float()
        module.pos_embed.pos_embed_max_size = int(places.shape[1] ** 0.5)
    compute = compute.wide
    filled(module, weights, compute.home, compute.dtype)
    zeros = configured(file).get("force_zeros_for_pooled_projection", reads and seen == channels)
    return Sd3Control(module, Habits(zeros=bool(zeros), kind="" if reads else _kind(tensors, file)))


def to_diffusers(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Stability's names told in diffusers'; others as they are."""
    found: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        layer, _, kind = name.rpartition(".")
        block, _, inner = layer.partition(".attn.qkv")
        if layer.endswith(".attn.qkv") and not inner:
            found |= {f"{block}.attn.{own}.{kind}": part for own, part in zip(QKV, tensor.chunk(3), strict=True)}
            continue
        for theirs, ours in RENAMED.items():
            if layer.startswith("transformer_blocks.") and layer.endswith(f".{theirs}"):
                layer = layer.removesuffix(theirs) + ours
        found[f"{layer}.{kind}" if layer else name] = tensor
    return found


def _kind(tensors: Mapping[str, Tensor], file: Path) -> str:
    if TYPE in tensors:
        number = round(float(tensors[TYPE].flatten()[0]))
        return KINDS[number] if 0 <= number < len(KINDS) else ""
    name = f"{file.parent.name} {file.name}".casefold()
    return next((kind for kind in KINDS if kind in name), "")


class Sd3Control(TokenNetwork):
    """diffusers' SD3ControlNetModel."""

    def __init__(self, module: Any, habits: Habits) -> None:
        super().__init__(module)
        self._habits = habits

    def sizes(self, backbone: Any) -> list[tuple[str, Any, Any]]:
        """See TokenNetwork."""
        own, other = self.config, backbone.config
        found = [
            ("width", own.num_attention_heads * own.attention_head_dim, backbone.inner_dim),
            ("in_channels", own.in_channels, other.in_channels),
            ("pooled_projection_dim", own.pooled_projection_dim, other.pooled_projection_dim),
        ]
        if own.joint_attention_dim is not None:
            found.append(("joint_attention_dim", own.joint_attention_dim, other.joint_attention_dim))
        return found

    def prepared(self, hints: Tensor, model: LoadedModel) -> Tensor:
        """See TokenNetwork. One for inpainting sees black where it is to fill, and behind the latents where it is to keep."""
        pictures = hints.clamp(min=0)
        if self._habits.kind == "canny":
            pictures = (pictures * 127.5 + 1.5) / 2  # what becomes 127.5 v + 0.5
        elif self._habits.kind == "depth":
            pictures = (1 - pictures) * (1 - filling(hints))
        latents = encoded(pictures, model)
        if self._habits.zeros:
            latents = latents + LATENT_SHIFT * LATENT_SCALE
        return (
            torch.cat([latents, kept_latents(hints, latents)], 1)
            if self.config.extra_conditioning_channels
            else latents
        )

    def residuals(self, call: TokenCall, hint: Tensor, weight: float = 1.0) -> Residuals:
        """See TokenNetwork; raises InputError for sides that it has no places for."""
        assert call.vector is not None
        own: Any = getattr(self.module, "pos_embed", None)
        if own is None:
            check_device(self, self.backbone.pos_embed)
            x, texts = self.backbone.pos_embed(call.x.to(self.backbone.pos_embed.proj.weight.dtype)), None
        else:
            _check_places(call.x, own.pos_embed_max_size * PATCH)
            x, texts = call.x, torch.stack([*call.texts]).to(self.dtype)
        vector = torch.zeros_like(call.vector) if self._habits.zeros else call.vector
        found = self.module(
            x.to(self.dtype),
            self.seen(hint),
            encoder_hidden_states=texts,
            pooled_projections=vector.to(self.dtype),
            timestep=call.t,
            return_dict=False,
        )[0]
        return Residuals(blocks=tuple(found))

    def placed(self, found: Residuals) -> Added:
        """See TokenNetwork."""
        return Added(blocks=spread(found.blocks, len(self.backbone.transformer_blocks), whole=False))


def _check_places(x: Tensor, most: int) -> None:
    for field, side in (("height", x.shape[-2]), ("width", x.shape[-1])):
        if side > most:
            raise InputError(
                field,
                f"{field} is {side * 8}: this ControlNet has places for {most * 8} pixels a side. Make it smaller.",
            )
