"""The starter's small CLIP (arXiv:2103.00020): pictures and words of its world as vectors that point the same way where they mean the same."""

from pathlib import Path

import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional
from torchvision.transforms.functional import center_crop, pil_to_tensor, resize
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from modules.prompting.tokenizer import build_tokenizer

SIDE, PATCH, WIDTH = 128, 16, 128
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
"""CLIP's, of pixels from 0 to 1."""


def make_vision() -> CLIPVisionModelWithProjection:
    """(B, 3, 128, 128), normalised as CLIP's -> embeddings (B, 128)."""
    return CLIPVisionModelWithProjection(
        CLIPVisionConfig(
            hidden_size=WIDTH, intermediate_size=4 * WIDTH, num_hidden_layers=4, num_attention_heads=WIDTH // 64,
            image_size=SIDE, patch_size=PATCH, projection_dim=WIDTH, hidden_act="quick_gelu",
        )
    )  # fmt: skip


def normalised(pixels: Tensor) -> Tensor:
    """(B, 3, H, W) uint8 -> as CLIP's encoders take it."""
    mean, std = (torch.tensor(one)[:, None, None] for one in (MEAN, STD))
    return (pixels.float() / 255 - mean) / std


class Meaning(nn.Module):
    """Into the common space: embeddings of pictures by a matrix; words by a table, a look at both neighbours, and the mean and the
    maximum over them all. `known` (V,): the ids of CLIP's tokenizer that the table has, in order."""

    known: Tensor

    def __init__(self, known: Tensor) -> None:
        super().__init__()
        self.register_buffer("known", known)
        self.table = nn.Embedding(len(known) + 1, WIDTH)  # the last one: any other word
        self.near = nn.Conv1d(WIDTH, WIDTH, 3, padding=1)
        self.words, self.picture = nn.Linear(2 * WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH, bias=False)

    def of_words(self, ids: list[list[int]]) -> Tensor:
        """Ids without start and end -> (B, 128) of length 1."""
        return functional.normalize(torch.stack([self._pooled(one) for one in ids]), dim=1)

    def of_pictures(self, embeds: Tensor) -> Tensor:
        """(B, 128) as the vision encoder gives them -> (B, 128) of length 1."""
        return functional.normalize(self.picture(embeds), dim=1)

    def _pooled(self, ids: list[int]) -> Tensor:
        wanted = torch.tensor(ids or [0])
        places = torch.searchsorted(self.known, wanted).clamp(max=len(self.known) - 1)
        x = self.table(torch.where(self.known[places] == wanted, places, len(self.known))).T[None]  # (1, 128, N)
        x = x + functional.silu(self.near(x))
        return self.words(torch.cat([x.mean(2), x.amax(2)], dim=1))[0]


class StarterClip:
    """The encoder on disk: `vision`, as clip_vision holds it, and beside it the way into the common space."""

    def __init__(self, vision: Path, meaning: Path) -> None:
        self._eyes = make_vision()
        self._eyes.load_state_dict(_floats(vision), strict=False)
        tensors = _floats(meaning)
        self._meaning = Meaning(tensors["known"].long())
        self._meaning.load_state_dict({**tensors, "known": tensors["known"].long()})
        self._encode = build_tokenizer()
        for module in (self._eyes, self._meaning):
            module.requires_grad_(False).eval()

    def pictures(self, images: list[Image.Image]) -> Tensor:
        """(N, 128) of length 1."""
        pixels = [center_crop(resize(pil_to_tensor(one), [SIDE], antialias=True), [SIDE, SIDE]) for one in images]
        return self._meaning.of_pictures(self._eyes(normalised(torch.stack(pixels))).image_embeds)

    def text(self, text: str) -> Tensor:
        """(128,) of length 1."""
        return self._meaning.of_words([self._encode.encode(text.lower(), add_special_tokens=False).ids])[0]


def _floats(path: Path) -> dict[str, Tensor]:
    return {name: value.float() if value.is_floating_point() else value for name, value in load_file(path).items()}
