"""IP-Adapters that go by faces: Face ID, Face ID plus and its second version (tencent-ailab/IP-Adapter), and Instant-ID's (arXiv:2401.07519)."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from modules.control.ip_adapter import ImagePrompt, IPAdapter, Words
from modules.control.turns import Moment
from modules.patches.hooks import Hooks

FACE_ID, FACE_ID_PLUS, INSTANT_ID = "Face ID", "Face ID plus", "Instant-ID"

SECOND = re.compile("plus.?v2")
"""In the names of files of the second version, which adds its words to those of the face alone: tensors do not tell."""

INSTANT = re.compile("instant.?id")
"""In the names of Instant-ID's files: its ControlNet's tensors do not tell either."""

OWN_LORA = re.compile(r"<lora:[^:>]*face.?id", re.IGNORECASE)
"""A prompt that brings the LoRA of a Face ID adapter itself, as users of the extension write it."""

_LORA = re.compile(r"ip_adapter\.(\d+)\.to_(q|k|v|out)_lora\.(down|up)\.weight")

Pair = tuple[Tensor, Tensor]  # down (R, I), up (O, R)


class FaceAdapter(IPAdapter):
    """`kind` is one of those above. `loras`: (number of the attention, q, k, v or out) -> what is added to that layer beside."""

    def __init__(
        self,
        projection: nn.Module,
        layers: Mapping[int, tuple[Tensor, Tensor]],
        *,
        embedded: int,
        kind: str,
        loras: Mapping[tuple[int, str], Pair],
    ) -> None:
        super().__init__(projection, layers, embedded=embedded, whole=kind == FACE_ID_PLUS)
        self.kind = kind
        self.loras = loras

    def of_faces(self, faces: Tensor, seen: tuple[Tensor, Tensor] | None = None) -> Words:
        """Of faces (P, 512). `seen`: what CLIP says of their pictures (P, N, C), and of none (1, N, C), for Face ID plus."""
        none = torch.zeros_like(faces[:1])
        shown, nothing = (self._words(*each) for each in zip((faces, none), seen or (None, None), strict=True))
        return Words(shown=shown, nothing=nothing)

    def _words(self, faces: Tensor, seen: Tensor | None) -> Tensor:
        module: Any = self.module
        like = next(module.parameters())
        given = faces.to(like.device, like.dtype)
        if seen is not None:
            module.clip_embeds = seen.to(like.device, like.dtype)[:, None]
            try:
                return module(given)
            finally:
                module.clip_embeds = None
        return module(given[:, None] if self.kind == INSTANT_ID else given)


def face_loras(tensors: Mapping[str, Tensor], keep: Callable[[Tensor], Tensor]) -> dict[tuple[int, str], Pair]:
    """The LoRA that is inside the file; `keep` puts a tensor where it is used. Raises KeyError for half a pair."""
    parts: dict[tuple[int, str], dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        if match := _LORA.fullmatch(name):
            parts.setdefault((int(match[1]), match[2]), {})[match[3]] = keep(tensor)
    return {place: (pair["down"], pair["up"]) for place, pair in parts.items()}


@dataclass(frozen=True, kw_only=True)
class FacePrompt(ImagePrompt):
    """A unit with such an adapter at work. `bare`: without its LoRA, which the prompt brings."""

    bare: bool = False

    def attach(self, unet: Any, hook: Hooks, moment: Moment) -> None:
        """See ImagePrompt; and the LoRA to the layers it has something for, always whole, as its authors have it."""
        super().attach(unet, hook, moment)
        if self.bare or not isinstance(self.adapter, FaceAdapter):
            return
        names = [name.removesuffix(".processor") for name in unet.attn_processors]
        for (number, part), pair in self.adapter.loras.items():
            layer = unet.get_submodule(f"{names[number]}.to_{part}{'.0' if part == 'out' else ''}")
            hook.around(layer, partial(self._with_lora, pair, moment))

    def _with_lora(
        self, pair: Pair, moment: Moment, forward: Callable[..., Tensor], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Tensor:
        found = forward(*args, **kwargs)
        if not self.works(moment):
            return found
        down, up = (weight.to(found) for weight in pair)
        return found + linear(linear(args[0].to(found), down), up)
