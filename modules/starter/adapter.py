"""The starter's image prompt: an IP-Adapter (arXiv:2308.06721) beside the U-Net's attention to words."""

import random
from pathlib import Path
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import IPAdapterAttnProcessor
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import CLIPVisionModelWithProjection

from modules.detect.starter_clip import normalised
from modules.starter.share import bfloat16

from .base import Base, noised
from .fit import Budget, Recipe, fit
from .lessons import Lessons
from .parts import WIDTH
from .words import tokenize

TOKENS = 4
"""Words that a picture is worth."""


class Projection(nn.Module):
    """(B, D) embeddings -> (B, TOKENS, WIDTH)."""

    def __init__(self, embedded: int = WIDTH) -> None:
        super().__init__()
        self.proj, self.norm = nn.Linear(embedded, TOKENS * WIDTH), nn.LayerNorm(WIDTH)

    def forward(self, embeds: Tensor) -> Tensor:
        return self.norm(self.proj(embeds).unflatten(1, (TOKENS, WIDTH)))


class Adapter(nn.Module):
    """Keys and values of the picture's words for every attention to the prompt; the values are nothing at first."""

    def __init__(self, unet: UNet2DConditionModel) -> None:
        super().__init__()
        self.image_proj = Projection()
        processors: dict[str, Any] = {}
        layers: dict[str, nn.Module] = {}
        for number, (name, plain) in enumerate(unet.attn_processors.items()):
            processors[name] = plain
            if name.endswith("attn2.processor"):
                attention = unet.get_submodule(name.removesuffix(".processor"))
                added = _added(attention)
                processors[name], layers[str(number)] = added, added
        unet.set_attn_processor(processors)
        self.layers = nn.ModuleDict(layers)

    def context(self, states: Tensor, embeds: Tensor) -> Any:
        """What the U-Net reads: the prompt's states and the picture's words, (B, 1, TOKENS, WIDTH)."""
        return states, [self.image_proj(embeds)[:, None]]

    def tensors(self) -> dict[str, Tensor]:
        """Under the names of the paper's files: layers by their place among all of the U-Net's attention."""
        found = {f"image_proj.{name}": value for name, value in self.image_proj.state_dict().items()}
        for number, layer in self.layers.items():
            for part in ("k", "v"):
                weight = getattr(layer, f"to_{part}_ip")[0].weight
                found[f"ip_adapter.{number}.to_{part}_ip.weight"] = weight
        return {name: value.detach().half().contiguous() for name, value in found.items()}


def _added(attention: Any) -> IPAdapterAttnProcessor:
    made: Any = IPAdapterAttnProcessor(
        attention.inner_dim, attention.cross_attention_dim, num_tokens=(TOKENS,), scale=1.0
    )
    with torch.no_grad():
        made.to_k_ip[0].weight.copy_(attention.to_k.weight)
        made.to_v_ip[0].weight.zero_()
    return made


def train_adapter(
    path: Path, budget: Budget, *, base: Base, vision: CLIPVisionModelWithProjection, lessons: Lessons, seed: int = 0, batch: int = 8,
    until_step: int | None = None,
) -> Adapter:  # fmt: skip
    """Trains, or goes on training, the checkpoint at `path`: each picture is its own prompt; its caption is said in a half of the cases."""
    torch.manual_seed(seed)
    model = Adapter(base.unet)
    empty = base.text(tokenize([""])).last_hidden_state
    with torch.no_grad():
        embeds = torch.cat([vision(normalised(part)).image_embeds for part in lessons.pixels.split(50)])

    def loss_at(step: int):
        rng, noise = random.Random(f"adapter {seed}/{step}"), torch.Generator().manual_seed(seed * 1_000_003 + step)
        chosen = rng.sample(range(len(lessons.latents)), batch)
        states, shown = lessons.told(chosen, rng), embeds[chosen]
        states[: batch // 2] = empty
        if rng.random() < batch / 10:
            shown[-1] = 0  # what guidance takes for no picture
        noisy = noised(lessons.latents[chosen].float(), noise)
        with bfloat16():
            made = base.unet(noisy.x, noisy.t, model.context(states, shown)).sample
        return noisy.loss(made)

    recipe = Recipe(rate=1e-3, warmup=20, ema=0.99, decay=0.0)
    return fit(model, loss_at, path=path, budget=budget, recipe=recipe, until_step=until_step)


def write_adapter(model: Adapter, path: Path) -> None:
    """One file with `image_proj.*` and `ip_adapter.*`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(model.tensors(), path)
