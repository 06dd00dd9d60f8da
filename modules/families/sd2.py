"""Stable Diffusion 2.x: SD 1's U-Net and autoencoder with OpenCLIP's text encoder, predicting noise (base) or v (768).

The text encoder's states are those before its last layer, normalised; padding is token 0. Clip skip has no effect, as in A1111.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from modules.devices.choice import Compute
from modules.families.assembly import empty_weights, filled
from modules.families.clip_prompts import PromptEncoder
from modules.families.compiled import text_of, unet_of
from modules.families.ldm_keys import UNET, VAE
from modules.families.model import LoadedModel
from modules.families.open_clip_keys import to_clip
from modules.families.sd1 import IN_CHANNELS, autoencoder, levels_of
from modules.families.source import Parts, Shapes, Source
from modules.families.unet import UNetNetwork
from modules.library.prediction import Prediction
from modules.prompting.tokenizer import END, build_tokenizer
from modules.sampling.denoiser import TRAIN_STEPS

LABEL = "Stable Diffusion 2.x"
TEXT = "cond_stage_model.model."
NATIVE = {"eps": 512, "v": 768}


def detect(shapes: Shapes) -> bool:
    """Is this the U-Net of an SD 2.x?"""
    first = shapes.get(f"{UNET}input_blocks.0.0.weight")
    return bool(
        first
        and first[1] in IN_CHANNELS
        and f"{UNET}label_emb.0.0.weight" not in shapes
        and len(shapes.get(f"{UNET}middle_block.1.proj_in.weight", ())) == 2
    )


def parts(shapes: Shapes) -> Parts:
    """Where its parts stand."""
    return {"vae_kl4": VAE, "clip_h": TEXT}


def load(source: Source) -> LoadedModel:
    """Build it; without a prediction said, the U-Net is asked. Raises ModelFileError naming the first tensor that does not fit."""
    compute = source.compute
    unet, text = unet_of(source), open_clip_of(source, TEXT)
    prediction = source.prediction or Prediction(kind="v" if predicts_v(unet, compute) else "eps")
    whole = f"{TEXT}text_projection" in source.tensors  # diffusers' folders hold neither that nor the last layer
    return LoadedModel(
        name=source.name,
        sha256=source.sha256,
        family="sd2",
        prediction=prediction.kind,
        native_size=source.native_size or NATIVE.get(prediction.kind, 768),
        compute=compute,
        levels=levels_of(prediction, compute.device),
        prompts=PromptEncoder(build_tokenizer(), TextEncoder(text, compute.device, layer=-2 if whole else -1)),
        backbone=unet,
        network=UNetNetwork(unet, compute),
        autoencoder=autoencoder(source.vae, compute, source.tell),
        extra_channels=unet.config.in_channels - 4,
    )


@torch.inference_mode()
def predicts_v(unet: Any, compute: Compute) -> bool:
    """Does it answer noise alone with about -x_0, which is v, rather than with the noise?

    Shown a flat 0.5 at the last time step, a network that predicts noise answers about 0.5, and one that predicts v with the
    picture it supposes, of the other sign and further off; A1111 draws the line at a mean difference of -1.
    """
    kind: Any = {"device": compute.home, "dtype": compute.dtype}
    x = torch.full((1, unet.config.in_channels, 8, 8), 0.5, **kind)
    context = torch.full((1, 2, unet.config.cross_attention_dim), 0.5, **kind)
    t = torch.tensor([TRAIN_STEPS - 1], device=compute.home)
    answer = unet(x, t, encoder_hidden_states=context, return_dict=False)[0]
    return bool((answer.float() - x[:, :4].float()).mean() < -1)


class TextEncoder:
    """OpenCLIP's hidden states after that layer (-2: before the last one), normalised."""

    def __init__(self, text: Any, device: torch.device, *, layer: int) -> None:
        self._text = text
        self._device = device
        self._layer = layer

    def __call__(self, ids: Tensor, clip_skip: int) -> Tensor:
        """ids (B, 77) -> (B, 77, D) float32."""
        states = self._text(padded_with_zeros(ids).to(self._device), output_hidden_states=True).hidden_states
        return self._text.final_layer_norm(states[self._layer]).float()


def padded_with_zeros(ids: Tensor) -> Tensor:
    """What follows the first end token (B, 77) becomes 0, OpenCLIP's padding."""
    after = (ids == END).cumsum(dim=1) - (ids == END).long() > 0
    return ids.masked_fill(after, 0)


def open_clip_of(source: Source, prefix: str) -> Any:
    """The OpenCLIP behind a prefix, in transformers' CLIP."""
    tensors, device = to_clip(source.part(prefix)), source.compute.home
    return text_of(tensors, lambda dtype: _build(tensors, device, dtype), source.compute, source.tell)


def _build(weights: Mapping[str, Tensor], device: torch.device, dtype: torch.dtype) -> nn.Module:
    """transformers' CLIP text encoder as OpenCLIP's are; heads are 64 wide."""
    from transformers.models.clip.configuration_clip import CLIPTextConfig
    from transformers.models.clip.modeling_clip import CLIPTextModel

    vocabulary, width = weights["embeddings.token_embedding.weight"].shape
    config = CLIPTextConfig(
        vocab_size=vocabulary,
        hidden_size=width,
        intermediate_size=weights["encoder.layers.0.mlp.fc1.weight"].shape[0],
        num_hidden_layers=1 + max(int(key.split(".")[2]) for key in weights if key.startswith("encoder.layers.")),
        num_attention_heads=width // 64,
        max_position_embeddings=weights["embeddings.position_embedding.weight"].shape[0],
        hidden_act="gelu",
        eos_token_id=END,
    )
    with empty_weights():
        text = CLIPTextModel(config)
    return filled(text, weights, device, dtype)
