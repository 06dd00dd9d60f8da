"""T2I style adapters (arXiv:2302.08453's repository): a picture as a few words that are laid behind the prompt's."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from modules.control.turns import Turn
from modules.core.errors import ModelFileError
from modules.devices.choice import Compute
from modules.families.assembly import count_of, empty_weights, filled, needed
from modules.families.unet import Call
from modules.sampling.view import Row

HEADS = 8
LAYERS = "transformer_layes"  # so the files spell it
MARK = "style_embedding"


class _Block(nn.Module):
    """A transformer layer under the names of OpenAI's CLIP."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.attn = nn.MultiheadAttention(width, HEADS, batch_first=True)
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.mlp = nn.ModuleDict({"c_fc": nn.Linear(width, inner), "c_proj": nn.Linear(inner, width)})

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, C), as it comes out."""
        seen = self.ln_1(x)
        x = x + self.attn(seen, seen, seen, need_weights=False)[0]
        inner = self.mlp["c_fc"](self.ln_2(x))
        return x + self.mlp["c_proj"](inner * torch.sigmoid(1.702 * inner))  # quick GELU


class _Style(nn.Module):
    def __init__(self, *, words: int, width: int, inner: int, layers: int, context: int) -> None:
        super().__init__()
        self.style_embedding = nn.Parameter(torch.empty(1, words, width))
        self.ln_pre, self.ln_post = nn.LayerNorm(width), nn.LayerNorm(width)
        self.transformer_layes = nn.ModuleList(_Block(width, inner) for _ in range(layers))
        self.proj = nn.Parameter(torch.empty(width, context))

    def forward(self, features: Tensor) -> Tensor:
        """(B, N, C) of CLIP's last layer -> (B, words, D)."""
        asked = self.style_embedding.expand(len(features), -1, -1)
        x = self.ln_pre(torch.cat([features, asked], dim=1))
        for layer in self.transformer_layes:
            x = layer(x)
        return self.ln_post(x[:, -asked.shape[1] :]) @ self.proj


class StyleAdapter:
    """`embedded`: the width of the vision network that it reads; `context`: of the words that it gives."""

    whole = True

    def __init__(self, module: nn.Module, *, embedded: int, context: int) -> None:
        self.module = module
        self.embedded = embedded
        self.context = context

    def words(self, features: Tensor) -> Tensor:
        """(B, N, C) of the vision network's last layer -> (B, words, D), float32."""
        like = next(self.module.parameters())
        return self.module(features.to(like.device, like.dtype)).float()


def build_style(tensors: Mapping[str, Tensor], compute: Compute, file: Path) -> StyleAdapter:
    """The adapter; raises ModelFileError naming the first tensor that does not fit."""
    named = {name.removeprefix("adapter."): tensor for name, tensor in tensors.items()}
    _, words, width = needed(named, MARK).shape
    inner = needed(named, f"{LAYERS}.0.mlp.c_fc.weight").shape[0]
    context = needed(named, "proj").shape[1]
    if width % HEADS:
        raise ModelFileError(f'"{file.name}" is {width} wide, which no T2I style adapter is. Choose another.')
    with empty_weights():
        module = _Style(words=words, width=width, inner=inner, layers=count_of(named, LAYERS), context=context)
    filled(module, named, compute.home, compute.dtype)
    return StyleAdapter(module, embedded=width, context=context)


@dataclass(frozen=True, kw_only=True)
class StyleWords(Turn):
    """A unit at work. `words` (P, T, D), one set a picture or one for all."""

    words: Tensor

    def changed(self, call: Call, rows: Sequence[Row]) -> Call:
        """The call with them behind the prompt, by the unit's weight; where the negative prompt guides, as many zeros."""
        words = self.words.to(call.context) * self.unit.weight
        told = [words[row.picture % len(words)] * float(row.guided) for row in rows]
        return call._replace(context=torch.cat([call.context, torch.stack(told)], dim=1))
