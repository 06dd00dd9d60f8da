"""Z-Image and Z-Image Turbo (arXiv:2511.22699): a single-stream transformer over FLUX.1's latents that reads Qwen3 4B.

Shift 3 is Turbo's, and what ComfyUI draws both with; the authors give the base model 6. Prompts end after 512 tokens, as the
authors have it. Its guidance scale is one less than the usual one in diffusers and the authors' code: theirs of 4 is CFG 5.
"""

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from modules.devices.choice import Compute
from modules.families.adding import Added, Adding, TokenCall
from modules.families.assembly import count_of, empty_weights, filled, needed
from modules.families.autoencoders import KlAutoencoder
from modules.families.language_models import qwen3
from modules.families.language_prompts import Template, language_prompts
from modules.families.ldm_keys import VAE
from modules.families.model import LoadedModel
from modules.families.packing import text_rows, whole_patches
from modules.families.source import BACKBONE, Parts, Shapes, Source, text_prefix
from modules.families.vae import build_vae
from modules.sampling.denoiser import TRAIN_STEPS
from modules.sampling.flow import FlowLevels

LABEL = "Z-Image"
TEXT = "qwen3_4b"
SHIFT = 3.0
LATENT_SCALE, LATENT_SHIFT = 0.3611, 0.1159  # FLUX.1's autoencoder
PATCH = 2
HEAD = (32, 48, 48)  # of a head's 128 dimensions, those that turn with time, row and column
LONGEST = 2048  # positions there are angles for: 32,768 pixels
TEMPLATE = Template(text="<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n")
OWN = re.compile(r"norm_final\.weight$|siglip_")  # what the network does not use, or only with pictures for a prompt


def detect(shapes: Shapes) -> bool:
    """Is this Z-Image's network? Only it has padding tokens of its own."""
    return f"{BACKBONE}cap_pad_token" in shapes and f"{BACKBONE}cap_embedder.1.weight" in shapes


def parts(shapes: Shapes) -> Parts:
    """Where its parts stand."""
    return {"vae_kl16": VAE, TEXT: text_prefix(TEXT)}


def load(source: Source) -> LoadedModel:
    """Build it; raises ModelFileError naming the first tensor that does not fit."""
    compute = source.compute
    backbone: Any = build_backbone(source.backbone, compute)
    width = backbone.config.cap_feat_dim
    prompts = language_prompts(source, TEXT, qwen3(), TEMPLATE, (-2,), width=width)
    return LoadedModel(
        name=source.name,
        sha256=source.sha256,
        family="z-image",
        prediction="flow",
        native_size=source.native_size or 1024,
        compute=compute,
        levels=FlowLevels(SHIFT, device=compute.device),
        prompts=prompts,
        backbone=backbone,
        network=Network(backbone),
        autoencoder=autoencoder(source.vae, compute),
        chunked=False,
    )


def autoencoder(tensors: Mapping[str, Tensor], compute: Compute) -> KlAutoencoder:
    """Its autoencoder of those tensors; raises ModelFileError naming the first that does not fit."""
    vae = build_vae(tensors, compute.home, compute.vae_dtype)
    return KlAutoencoder(vae, compute, scale=LATENT_SCALE, shift=LATENT_SHIFT)


def build_backbone(tensors: Mapping[str, Tensor], compute: Compute) -> nn.Module:
    """diffusers' network of the shape that the tensors have, under the original names or diffusers'."""
    from diffusers.loaders.single_file_utils import convert_z_image_transformer_checkpoint_to_diffusers
    from diffusers.models.transformers.transformer_z_image import ZImageTransformer2DModel

    weights = {name: tensor for name, tensor in tensors.items() if not OWN.match(name)}
    if "x_embedder.weight" in weights:
        weights = convert_z_image_transformer_checkpoint_to_diffusers(weights)
    width, patch = needed(weights, "all_x_embedder.2-1.weight").shape
    config: dict[str, Any] = {
        "in_channels": patch // PATCH**2,
        "dim": width,
        "n_layers": count_of(weights, "layers"),
        "n_refiner_layers": count_of(weights, "noise_refiner"),
        "n_heads": width // sum(HEAD),
        "n_kv_heads": width // sum(HEAD),
        "cap_feat_dim": needed(weights, "cap_embedder.1.weight").shape[1],
        "axes_dims": [*HEAD],
        "axes_lens": [LONGEST] * 3,
    }
    with empty_weights():
        network = ZImageTransformer2DModel(**config)
    compute = compute.wide
    return filled(network, weights, compute.home, compute.dtype)


class Network:
    """As model.Network; the network itself is told 1 - sigma, and answers with x_0 - eps."""

    def __init__(self, backbone: Any) -> None:
        self._backbone = backbone
        self._added = Adding()
        self.adding = self._added.adding

    def __call__(self, x: Tensor, t: Tensor, context: Tensor) -> Tensor:
        """As Network's."""
        dtype, (height, width) = self._backbone.dtype, x.shape[-2:]
        whole = whole_patches(x, PATCH).to(dtype)
        rows = [row.to(dtype) for row in text_rows(context)]
        call = TokenCall(whole, t, rows)
        with self._added.within(self._backbone, call, range(len(x)), len(x), self._spell):
            found = self._backbone([*whole[:, :, None]], 1 - t / TRAIN_STEPS, rows, return_dict=False)[0]
        return -torch.stack([*found])[:, :, 0, :height, :width].float()

    def _spell(self, added: Added, like: Tensor) -> dict[str, Any]:
        """What is added, as diffusers' transformer takes it: by the numbers of its layers."""
        found = enumerate(added.like(like).blocks)
        return {"controlnet_block_samples": {number: one for number, one in found if one is not None}}
