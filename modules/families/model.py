"""A loaded checkpoint: its parts, and what it can do, as data."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, cast

from torch import Tensor, nn

from modules.devices.choice import Compute
from modules.families.autoencoders import Autoencoder
from modules.families.clip_prompts import PLAIN, TextOptions
from modules.sampling.denoiser import EpsDenoiser, NoiseLevels, VDenoiser
from modules.sampling.flow import FlowDenoiser

Held = TypeVar("Held")

Denoisers = EpsDenoiser | VDenoiser | FlowDenoiser
DENOISERS: Mapping[str, type[Denoisers]] = {"eps": EpsDenoiser, "v": VDenoiser, "flow": FlowDenoiser}


class Prompts(Protocol):
    """What encodes prompts: a PromptEncoder, or several joined."""

    def encode(self, texts: Sequence[str], options: TextOptions = PLAIN) -> Tensor:
        """(len(texts), T, D) float32."""
        ...

    def encode_together(self, texts: Sequence[str], counts: Sequence[int], options: TextOptions = PLAIN) -> Tensor:
        """As `encode`, for the texts of one schedule, each there `counts` times."""
        ...


class Network(Protocol):
    """The denoising network as samplers ask it."""

    def __call__(self, x: Tensor, t: Tensor, context: Tensor) -> Tensor:
        """x (B, C + E, h, w) float32, t (B,) in [0, 1000), context (B, T, D) as the model's prompts give it -> (B, C, h, w) float32."""
        ...


class ToldNetwork(Network, Protocol):
    """A network that is told more than a prompt."""

    def told(self, *, guidance: float, references: Sequence[Tensor] = ()) -> Network:
        """The same, told the scale of the guidance it is distilled from, and shown latents (1, C, h, w) of pictures to go by."""
        ...


@dataclass(frozen=True, kw_only=True)
class LoadedModel:
    """Everything the recipes need of a checkpoint.

    `sha256()` is that of the file it was read from; it waits until that is computed, and raises ModelFileError if it cannot be.
    `backbone` is the module inside `network`, which patches and memory policies work on, or what stands for it where it runs
    compiled. `native_size`: pixels. `prediction`: "eps",
    "v" or "flow". `extra_channels`: what the network sees beside the latents: none, 5 for inpainting (a mask, 1 where to paint, and the
    latents of the picture without that), or 4 for InstructPix2Pix (the latents of the picture to change). `chunked`: prompts come
    in chunks of 77 tokens, so that more of them make prompts equally long. `vae_file`: name and short hash of the file the
    autoencoder came from, if that is not the checkpoint. `modules`: the names of the separate files it is made of. `distilled`: the
    network is told a scale of guidance, `referring`: it can be shown pictures to go by; of both kinds it is a ToldNetwork.
    """

    name: str
    sha256: Callable[[], str]
    family: str
    prediction: str
    native_size: int
    compute: Compute
    levels: NoiseLevels
    prompts: Prompts
    backbone: Any
    network: Network
    autoencoder: Autoencoder
    extra_channels: int = 0
    chunked: bool = True
    vae_file: tuple[str, str] | None = None
    modules: tuple[str, ...] = ()
    distilled: bool = False
    referring: bool = False

    @property
    def latent_channels(self) -> int:
        """Channels of the latents."""
        return self.autoencoder.channels

    @property
    def downscale(self) -> int:
        """Pixels per latent."""
        return self.autoencoder.downscale

    @property
    def inpainting(self) -> bool:
        """Is it made for inpainting?"""
        return self.extra_channels == self.latent_channels + 1

    def denoiser(
        self, levels: NoiseLevels | None = None, *, guidance: float = 3.5, references: Sequence[Tensor] = ()
    ) -> Denoisers:
        """The network as D(x; sigma), over its own levels or others drawn from them.

        `guidance` is told to a distilled one; `references`, latents (1, C, h, w) of any size, are shown to one that takes them.
        """
        network = self.network
        if self.distilled or references:
            network = cast(ToldNetwork, network).told(guidance=guidance, references=references)
        return DENOISERS[self.prediction](network, levels or self.levels)

    def decode(self, latents: Tensor) -> Tensor:
        """Latents (B, C, h, w) -> pictures (B, 3, H, W) in [0, 1], float32, on the CPU."""
        return self.autoencoder.decode(latents)

    def encode(self, images: Tensor, noise: Tensor) -> Tensor:
        """Pictures (B, 3, H, W) in [0, 1] -> latents (B, C, h, w), float32; noise is shaped as they."""
        return self.autoencoder.encode(images, noise)


def modules_inside(thing: Any) -> list[nn.Module]:
    """The networks that an object of ours, or a list or table in it, holds, each once and in order."""
    return inside(thing, nn.Module)


def inside(thing: Any, kind: type[Held] | tuple[type[Held], ...]) -> list[Held]:
    """What an object of ours, or a list or table in it, holds of that kind, each once and in order; what those hold is not looked at."""
    return list({id(found): found for found in _inside(thing, kind, set())}.values())


def _inside(thing: Any, kind: type[Held] | tuple[type[Held], ...], seen: set[int]) -> Iterator[Held]:
    if id(thing) in seen:
        return
    seen.add(id(thing))
    if isinstance(thing, kind):
        yield thing
        return
    if isinstance(thing, Mapping):
        inner = list(thing.values())
    elif isinstance(thing, list | tuple):
        inner = list(thing)
    else:
        inner = list(vars(thing).values()) if type(thing).__module__.startswith("modules.") else []
    for part in inner:
        yield from _inside(part, kind, seen)
