"""ControlNets of Qwen-Image in diffusers' layout: InstantX's Union, which is not told what it is shown, and its network for inpainting."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from modules.control.networks import Residuals
from modules.control.transformers.network import TokenNetwork, encoded, kept_latents, spread
from modules.devices.choice import Compute
from modules.families.adding import Added, TokenCall
from modules.families.assembly import count_of, empty_weights, filled, needed
from modules.families.flux_network import to_tokens
from modules.families.model import LoadedModel
from modules.families.qwen_image import HEAD, PATCH
from modules.sampling.denoiser import TRAIN_STEPS


def build_qwen_image(tensors: Mapping[str, Tensor], compute: Compute, file: Path) -> "QwenControl":
    """One of any size; raises ModelFileError naming the first tensor that does not fit."""
    from diffusers.models.controlnets.controlnet_qwenimage import QwenImageControlNetModel

    width, channels = needed(tensors, "img_in.weight").shape
    config: dict[str, Any] = {
        "in_channels": channels,
        "num_layers": count_of(tensors, "transformer_blocks"),
        "attention_head_dim": sum(HEAD),
        "num_attention_heads": width // sum(HEAD),
        "joint_attention_dim": needed(tensors, "txt_in.weight").shape[1],
        "axes_dims_rope": HEAD,
        "extra_condition_channels": needed(tensors, "controlnet_x_embedder.weight").shape[1] - channels,
    }
    with empty_weights():
        module = QwenImageControlNetModel(**config)
    compute = compute.wide
    filled(module, tensors, compute.home, compute.dtype)
    return QwenControl(module)


class QwenControl(TokenNetwork):
    """diffusers' QwenImageControlNetModel."""

    def sizes(self, backbone: Any) -> list[tuple[str, Any, Any]]:
        """See TokenNetwork."""
        own, other = self.config, backbone.config
        names = ("in_channels", "joint_attention_dim")
        width = own.num_attention_heads * own.attention_head_dim
        return [
            ("width", width, backbone.inner_dim),
            *((name, getattr(own, name), getattr(other, name)) for name in names),
        ]

    def prepared(self, hints: Tensor, model: LoadedModel) -> Tensor:
        """See TokenNetwork. One for inpainting sees black where it is to fill, and behind the latents where it is to keep."""
        latents = encoded(hints.clamp(min=0), model)
        return (
            torch.cat([latents, kept_latents(hints, latents)], 1) if self.config.extra_condition_channels else latents
        )

    def residuals(self, call: TokenCall, hint: Tensor, weight: float = 1.0) -> Residuals:
        """See TokenNetwork."""
        size = [side // PATCH for side in call.x.shape[-2:]]
        found = self.module(
            to_tokens(call.x).to(self.dtype),
            to_tokens(self.seen(hint)),
            encoder_hidden_states=torch.stack([*call.texts]).to(self.dtype),
            timestep=call.t / TRAIN_STEPS,
            img_shapes=[[(1, *size)]] * len(call.x),
            return_dict=False,
        )
        return Residuals(blocks=tuple(found or ()))

    def placed(self, found: Residuals) -> Added:
        """See TokenNetwork."""
        return Added(blocks=spread(found.blocks, len(self.backbone.transformer_blocks)))
