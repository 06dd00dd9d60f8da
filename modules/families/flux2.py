"""FLUX.2 (Black Forest Labs, 2025): dev, which reads Mistral Small 3, and Klein 4B and 9B, which read Qwen3 4B and 8B.

Shift e^2.02 = 7.5 is what ComfyUI draws with; the authors let mu rise with the picture's size and fall with the steps. Prompts
are filled up to 512 tokens, which the network sees as text, the language model not: so the authors and diffusers. A network that
was distilled with guidance (dev) is told its scale.
"""

import math
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from modules.devices.choice import Compute
from modules.families.assembly import count_of, empty_weights, filled, needed
from modules.families.flux2_network import Network
from modules.families.flux2_vae import Flux2Autoencoder, build_flux2_vae
from modules.families.language_models import Architecture, mistral3, qwen3
from modules.families.language_prompts import Template, language_prompts
from modules.families.ldm_keys import VAE
from modules.families.model import LoadedModel
from modules.families.source import BACKBONE, Parts, Shapes, Source, text_prefix
from modules.sampling.flow import FlowLevels

LABEL = "FLUX.2"
DEV, KLEIN_4B, KLEIN_9B = "mistral3_24b", "qwen3_4b", "qwen3_8b"
TEXTS = {3 * 5120: DEV, 3 * 2560: KLEIN_4B, 3 * 4096: KLEIN_9B}  # by the width of three layers' states
SHIFT = math.exp(2.02)
HEAD = (32, 32, 32, 32)  # of a head's 128 dimensions, those that turn with picture, row, column and position
LONGEST = 512
DEV_TEMPLATE = Template(
    text="<s>[SYSTEM_PROMPT]You are an AI that reasons about image descriptions. You give structured responses focusing on "
    "object relationships, object\nattribution and actions without speculation.[/SYSTEM_PROMPT][INST]{}[/INST]",
    longest=LONGEST,
    padding="<pad>",
    before=True,
    least=LONGEST,
)
KLEIN_TEMPLATE = Template(
    text="<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n",
    longest=LONGEST,
    padding="<|endoftext|>",
    least=LONGEST,
)


def detect(shapes: Shapes) -> bool:
    """Is this FLUX.2's network? Its blocks share their modulation."""
    return any(f"{BACKBONE}double_stream_modulation_img.{name}.weight" in shapes for name in ("lin", "linear"))


def text_kind(shapes: Shapes) -> str:
    """The text encoder that a network wants: by the width of its states; of another size, dev alone knows guidance."""
    names = [f"{BACKBONE}{name}.weight" for name in ("txt_in", "context_embedder")]
    width = next((shapes[name][1] for name in names if name in shapes), 0)
    guided = any("guidance_in." in name or "guidance_embedder." in name for name in shapes)
    return TEXTS.get(width, DEV if guided else KLEIN_4B)


def parts(shapes: Shapes) -> Parts:
    """Where its parts stand."""
    kind = text_kind(shapes)
    return {"vae_flux2": VAE, kind: text_prefix(kind)}


def load(source: Source) -> LoadedModel:
    """Build it; raises ModelFileError naming the first tensor that does not fit."""
    compute = source.compute
    kind = text_kind({name: tuple(tensor.shape) for name, tensor in source.tensors.items()})
    backbone: Any = build_backbone(source.backbone, compute)
    architecture, template, layers = reading(kind)
    width = backbone.config.joint_attention_dim
    return LoadedModel(
        name=source.name,
        sha256=source.sha256,
        family="flux2",
        prediction="flow",
        native_size=source.native_size or 1024,
        compute=compute,
        levels=FlowLevels(SHIFT, device=compute.device),
        prompts=language_prompts(source, kind, architecture, template, layers, width=width),
        backbone=backbone,
        network=Network(backbone),
        autoencoder=autoencoder(source.vae, compute),
        chunked=False,
        distilled=backbone.config.guidance_embeds,
        referring=True,
    )


def reading(kind: str) -> tuple[Architecture, Template, tuple[int, ...]]:
    """How a text encoder of that kind is asked, and the layers whose states go side by side."""
    if kind == DEV:
        return mistral3(), DEV_TEMPLATE, (10, 20, 30)
    return qwen3(), KLEIN_TEMPLATE, (9, 18, 27)


def autoencoder(tensors: Mapping[str, Tensor], compute: Compute) -> Flux2Autoencoder:
    """Its autoencoder of those tensors; raises ModelFileError naming the first that does not fit."""
    return build_flux2_vae(tensors, compute)


def build_backbone(tensors: Mapping[str, Tensor], compute: Compute) -> nn.Module:
    """diffusers' network of the shape that the tensors have, under the authors' names or diffusers'."""
    from diffusers.loaders.single_file_utils import convert_flux2_transformer_checkpoint_to_diffusers
    from diffusers.models.transformers.transformer_flux2 import Flux2Transformer2DModel

    weights = dict(tensors)
    if "img_in.weight" in tensors or "double_stream_modulation_img.lin.weight" in tensors:
        weights = convert_flux2_transformer_checkpoint_to_diffusers(weights)
    width, channels = needed(weights, "x_embedder.weight").shape
    time = "time_guidance_embed.{}.linear_1.weight"
    config: dict[str, Any] = {
        "in_channels": channels,
        "num_layers": count_of(weights, "transformer_blocks"),
        "num_single_layers": count_of(weights, "single_transformer_blocks"),
        "attention_head_dim": sum(HEAD),
        "num_attention_heads": width // sum(HEAD),
        "joint_attention_dim": needed(weights, "context_embedder.weight").shape[1],
        "timestep_guidance_channels": needed(weights, time.format("timestep_embedder")).shape[1],
        "mlp_ratio": needed(weights, "transformer_blocks.0.ff.linear_out.weight").shape[1] / width,
        "axes_dims_rope": HEAD,
        "guidance_embeds": time.format("guidance_embedder") in weights,
    }
    with empty_weights():
        network = Flux2Transformer2DModel(**config)
    compute = compute.wide
    return filled(network, weights, compute.home, compute.dtype)
