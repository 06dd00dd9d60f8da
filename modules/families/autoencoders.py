"""From latents to pictures and back."""

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from modules.core.faults import fault
from modules.devices.choice import Compute


class Autoencoder(Protocol):
    """`channels` of its latents, `downscale`: pixels per latent. `space`: equal for those that understand each other's latents.

    `module` is what patches and memory policies work on. `finer`: asked when a result is not finite.
    """

    channels: int
    downscale: int
    space: tuple[object, ...]
    module: nn.Module
    finer: "Finer | None"

    def decode(self, latents: Tensor) -> Tensor:
        """Latents (B, C, h, w) -> pictures (B, 3, H, W) in [0, 1], float32, on the CPU."""
        ...

    def encode(self, images: Tensor, noise: Tensor) -> Tensor:
        """Pictures (B, 3, H, W) in [0, 1] -> latents (B, C, h, w), float32, with noise of their shape where it draws them."""
        ...


Finer = Callable[[torch.dtype], torch.dtype]
"""Asked when what a type gave is not finite: the type to go on with, or it raises NotANumber."""


class Halved:
    """What autoencoders share that may compute in half precision. Without `finer` their results are not looked at.

    `_decode` gives pictures in [-1, 1], on the CPU, `_encode` what `encode` does.
    """

    def __init__(self, module: Any, compute: Compute) -> None:
        self.module = module
        self.device = compute.device
        self.dtype = compute.vae_dtype
        self.finer: Finer | None = None

    def decode(self, latents: Tensor) -> Tensor:
        """As Autoencoder's; raises NotANumber."""
        return self._sound(lambda: fault("decode", self._decode(latents)), latents).add(1).div(2).clamp(0, 1)

    def encode(self, images: Tensor, noise: Tensor) -> Tensor:
        """As Autoencoder's; raises NotANumber."""
        return self._sound(lambda: self._encode(images, noise), images)

    def _sound(self, compute: Callable[[], Tensor], given: Tensor) -> Tensor:
        """What is computed, in a finer type from now on if it is not finite and what was given is."""
        while True:
            found = compute()
            if not self.finer or found.sum().isfinite() or not given.isfinite().all():
                return found
            self.dtype = self.finer(self.dtype)
            self.module.to(self.dtype)

    def _decode(self, latents: Tensor) -> Tensor:
        raise NotImplementedError

    def _encode(self, images: Tensor, noise: Tensor) -> Tensor:
        raise NotImplementedError


class KlAutoencoder(Halved):
    """diffusers' AutoencoderKL; a network's latents are (z - shift) x scale. One picture at a time, to spare memory."""

    def __init__(self, module: Any, compute: Compute, *, scale: float, shift: float = 0.0) -> None:
        super().__init__(module, compute)
        self.channels: int = module.config.latent_channels
        self.downscale: int = 2 ** (len(module.config.block_out_channels) - 1)
        self.space: tuple[object, ...] = (self.channels, self.downscale, scale, shift)
        self._scale = scale
        self._shift = shift

    def _decode(self, latents: Tensor) -> Tensor:
        z = (latents / self._scale + self._shift).to(self.dtype)
        images = [self.module.decode(one[None], return_dict=False)[0].float().cpu() for one in z]
        return torch.cat(images)

    def _encode(self, images: Tensor, noise: Tensor) -> Tensor:
        """As Autoencoder's: mean + deviation x noise."""
        pixels = images.mul(2).sub(1).to(self.device, self.dtype)
        found = [self.module.encode(one[None], return_dict=False)[0] for one in pixels]
        latents = [p.mean.float() + p.std.float() * n.to(p.mean.device) for p, n in zip(found, noise, strict=True)]
        return (torch.cat(latents) - self._shift) * self._scale
