"""Qwen-Image and its edit models (arXiv:2508.02324): a two-stream transformer that reads Qwen2.5-VL 7B.

Shift e^1.15 = 3.16 is what ComfyUI draws with; the authors let e^mu rise with the picture's size, mu = 0.5 ... 0.9. Prompts end
after 1024 tokens. The authors also scale guided predictions back to the length of D_c's; ComfyUI's users know them without.

Edit models have the same shapes: they draw from text alone too, and are shown pictures to go by. That of 2511, marked in ComfyUI's
files, sees those at time 0.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from modules.devices.choice import Compute
from modules.families.adding import Added, Adding, TokenCall
from modules.families.assembly import count_of, empty_weights, filled, needed
from modules.families.flux_network import from_tokens, to_tokens
from modules.families.language_models import qwen25
from modules.families.language_prompts import Template, language_prompts
from modules.families.ldm_keys import VAE
from modules.families.model import LoadedModel
from modules.families.packing import by_length, text_rows, whole_patches
from modules.families.qwen_vae import QwenAutoencoder, build_qwen_vae
from modules.families.source import BACKBONE, Parts, Shapes, Source, text_prefix
from modules.sampling.denoiser import TRAIN_STEPS
from modules.sampling.flow import FlowLevels

LABEL = "Qwen-Image"
TEXT = "qwen25_7b"
SHIFT = math.exp(1.15)
PATCH = 2
HEAD = (16, 56, 56)  # of a head's 128 dimensions, those that turn with frame, row and column
TIME_ZERO = "__index_timestep_zero__"
TEMPLATE = Template(
    text="<|im_start|>system\nDescribe the image by detailing the color, shape, size, texture, quantity, text, spatial "
    "relationships of the objects and background:<|im_end|>\n<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n",
    drop=34,  # up to the prompt
    longest=1024 + 34,
)


def detect(shapes: Shapes) -> bool:
    """Is this Qwen-Image's network? That of layered pictures, which is also told of layers, is not."""
    return (
        f"{BACKBONE}txt_norm.weight" in shapes
        and f"{BACKBONE}transformer_blocks.0.img_mod.1.weight" in shapes
        and f"{BACKBONE}time_text_embed.addition_t_embedding.weight" not in shapes
    )


def parts(shapes: Shapes) -> Parts:
    """Where its parts stand."""
    return {"vae_qwen": VAE, TEXT: text_prefix(TEXT)}


def load(source: Source) -> LoadedModel:
    """Build it; raises ModelFileError naming the first tensor that does not fit."""
    compute = source.compute
    backbone: Any = build_backbone(source.backbone, compute)
    width = backbone.config.joint_attention_dim
    prompts = language_prompts(source, TEXT, qwen25(), TEMPLATE, width=width)
    return LoadedModel(
        name=source.name,
        sha256=source.sha256,
        family="qwen-image",
        prediction="flow",
        native_size=source.native_size or 1328,
        compute=compute,
        levels=FlowLevels(SHIFT, device=compute.device),
        prompts=prompts,
        backbone=backbone,
        network=Network(backbone),
        autoencoder=autoencoder(source.vae, compute),
        chunked=False,
        referring=True,
    )


def autoencoder(tensors: Mapping[str, Tensor], compute: Compute) -> QwenAutoencoder:
    """Its autoencoder of those tensors; raises ModelFileError naming the first that does not fit."""
    return QwenAutoencoder(build_qwen_vae(tensors, compute), compute)


def build_backbone(tensors: Mapping[str, Tensor], compute: Compute) -> nn.Module:
    """diffusers' network of the shape that the tensors have; the authors' names are diffusers'."""
    from diffusers.models.transformers.transformer_qwenimage import QwenImageTransformer2DModel

    width, patch = needed(tensors, "img_in.weight").shape
    config: dict[str, Any] = {
        "patch_size": PATCH,
        "in_channels": patch,
        "out_channels": needed(tensors, "proj_out.weight").shape[0] // PATCH**2,
        "num_layers": count_of(tensors, "transformer_blocks"),
        "attention_head_dim": sum(HEAD),
        "num_attention_heads": width // sum(HEAD),
        "joint_attention_dim": needed(tensors, "txt_in.weight").shape[1],
        "axes_dims_rope": HEAD,
        "zero_cond_t": TIME_ZERO in tensors,
    }
    with empty_weights():
        network = QwenImageTransformer2DModel(**config)
    compute = compute.wide
    return filled(network, tensors, compute.home, compute.dtype)


class Network:
    """As model.Network; `references`: latents (1, C, h, w) of pictures to go by, of any size."""

    def __init__(self, backbone: Any, references: Sequence[Tensor] = (), added: Adding | None = None) -> None:
        self._backbone = backbone
        self._added = added or Adding()
        self.adding = self._added.adding
        self._references = [whole_patches(reference, PATCH) for reference in references]

    def told(self, *, guidance: float, references: Sequence[Tensor] = ()) -> "Network":
        """The same, shown those pictures; it knows no guidance."""
        return Network(self._backbone, references, self._added)

    def __call__(self, x: Tensor, t: Tensor, context: Tensor) -> Tensor:
        """As Network's."""
        found = torch.empty_like(x)
        for rows, states in by_length(text_rows(context)):
            call = TokenCall(whole_patches(x[rows], PATCH), t[rows], states.unbind())
            with self._added.within(self._backbone, call, rows, len(x), self._spell):
                found[rows] = self._ask(x[rows], t[rows], states).to(found)
        return found

    def _ask(self, x: Tensor, t: Tensor, states: Tensor) -> Tensor:
        """Texts of one length: states (B, T, D)."""
        height, width = x.shape[-2:]
        pictures = [whole_patches(x, PATCH), *(reference.to(x) for reference in self._references)]
        sizes = [tuple(side // PATCH for side in picture.shape[-2:]) for picture in pictures]
        dtype = self._backbone.dtype
        tokens = torch.cat([to_tokens(picture).expand(len(x), -1, -1) for picture in pictures], dim=1)
        v = self._backbone(
            hidden_states=tokens.to(dtype),
            timestep=t / TRAIN_STEPS,
            encoder_hidden_states=states.to(dtype),
            img_shapes=[[(1, *size) for size in sizes]] * len(x),
            return_dict=False,
        )[0]
        rows, columns = sizes[0]
        return from_tokens(v[:, : rows * columns], rows)[..., :height, :width]

    def _spell(self, added: Added, like: Tensor) -> dict[str, Any]:
        """What is added to the picture's tokens, as diffusers' transformer takes it; to those of other pictures nothing is."""
        return {"controlnet_block_samples": added.like(like, like.shape[1]).blocks}
