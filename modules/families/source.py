"""What a model is built from."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from modules.devices.choice import Compute
from modules.families.ldm_keys import UNET, VAE
from modules.library.prediction import Prediction

BACKBONE = UNET
"""Where the denoising network stands in a single file, of every family."""

TEXTS = "text_encoders."
"""Where the text encoders stand since Stable Diffusion 3: each behind its kind's name, under transformers' names."""

Shapes = Mapping[str, tuple[int, ...]]
"""Of tensors, by name."""

Parts = Mapping[str, str]
"""A checkpoint's parts beside the network, by kind ("vae_kl16", "clip_l", "t5xxl" ...), and the prefix each stands behind."""


Tell = Callable[[str], None]
"""Hears what is being read or made ready, in the words that follow "Loading "."""


def untold(words: str) -> None:
    """Nobody hears it."""


def text_prefix(kind: str) -> str:
    """Where a text encoder of that kind stands since Stable Diffusion 3."""
    return f"{TEXTS}{kind}.transformer."


@dataclass(frozen=True, kw_only=True)
class Source:
    """The tensors of a whole checkpoint under a single file's names, and what is known besides.

    Networks may have their original names or diffusers', behind BACKBONE. `native_size`: pixels, if the file says it.
    `sha256()`: that of its file. `prediction`: what its file says it predicts, if it says so. `tokenizers`: the folder of the tokenizer
    of each kind of text encoder, CLIP's aside, which ships with the program. `check()` is called before each part is taken, and
    raises what stops the loading. `modules`: the names of the separate files among what it is made of.
    """

    tensors: Mapping[str, Tensor]
    name: str
    compute: Compute
    sha256: Callable[[], str] = lambda: ""
    native_size: int | None = None
    prediction: Prediction | None = None
    tokenizers: Mapping[str, Path] = field(default_factory=dict)
    check: Callable[[], None] = lambda: None
    modules: tuple[str, ...] = ()
    tell: Tell = untold

    @property
    def backbone(self) -> dict[str, Tensor]:
        """The denoising network's tensors."""
        return self.part(BACKBONE)

    @property
    def vae(self) -> dict[str, Tensor]:
        """The autoencoder's tensors."""
        return self.part(VAE)

    def text(self, kind: str) -> dict[str, Tensor]:
        """The tensors of a text encoder, as text_prefix has them."""
        return self.part(text_prefix(kind))

    def part(self, prefix: str) -> dict[str, Tensor]:
        """The tensors behind a prefix, under the rest of their names."""
        self.check()
        return without_prefix(self.tensors, prefix)


def without_prefix(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names begin with `prefix`, under the rest of their names."""
    return {key[len(prefix) :]: tensor for key, tensor in tensors.items() if key.startswith(prefix)}
