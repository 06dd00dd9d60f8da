"""Drawing in a part of the picture: at each step the rest is put back."""

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from modules.requests.img2img import SoftInpainting


class Guide(Protocol):
    """What samplers ask: Guided and what stands for it."""

    def __call__(self, x: Tensor, sigma: Tensor) -> Tensor:
        """x (B, C, h, w), sigma (B,) -> D."""
        ...

    def both(self, x: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        """x (B, C, h, w), sigma (B,) -> D and D_u."""
        ...


@dataclass(frozen=True, kw_only=True)
class Masking:
    """What stays: `original`, latents (B, C, h, w), where `changing` (B, 1, h, w) is 0; it is 1 where the sampler has its way.

    `soft`: greys let through the more, the less noise there is.
    """

    original: Tensor
    changing: Tensor
    soft: SoftInpainting | None = None

    def blend(self, latents: Tensor, sigma: Tensor, scale: Tensor | float = 1.0) -> Tensor:
        """`latents` with the original times `scale` put back, in the middle of a run at levels sigma (B,)."""
        original = self.original * scale
        if self.soft is None:
            return latents * self.changing + original * (1 - self.changing)
        weight = self.changing ** (sigma.view(-1, 1, 1, 1) ** self.soft.mask_blend_power * self.soft.mask_blend_scale)
        return between(original, latents, weight, self.soft.inpaint_detail_preservation)

    def finish(self, latents: Tensor) -> Tensor:
        """The latents that the run ended with and the original; soft masks are blended in the picture instead."""
        return latents if self.soft else latents * self.changing + self.original * (1 - self.changing)


def between(a: Tensor, b: Tensor, t: Tensor, preservation: float) -> Tensor:
    """From a to b (B, C, h, w) by t (B, 1, h, w), each place's vector as long as the power mean of theirs: the higher
    `preservation`, its exponent, the nearer to the longer one, so that detail is not averaged away."""
    mixed = a * (1 - t) + b * t
    lengths = [part.norm(dim=1, keepdim=True) for part in (a, b)]
    top = lengths[0].maximum(lengths[1]).clamp(min=1e-12)  # powers of what is at most 1 stay in range
    wanted = (1 - t) * (lengths[0] / top) ** preservation + t * (lengths[1] / top) ** preservation
    return mixed * (top * wanted ** (1 / preservation) / (mixed.norm(dim=1, keepdim=True) + 1e-5))


class Masked:
    """A guide whose answers hold the original where it stays. `before`: as in A1111 of the samplers in the model's times, not the
    answers are blended but, at the network's scale, what it is shown; the original in it has no noise."""

    def __init__(self, guide: Guide, masking: Masking, *, before: bool) -> None:
        self._guide = guide
        self._masking = masking
        self._before = before

    def __call__(self, x: Tensor, sigma: Tensor) -> Tensor:
        """x (B, C, h, w), sigma (B,) -> D."""
        if not self._before:
            return self._masking.blend(self._guide(x, sigma), sigma)
        shown = self._shown(x, sigma)
        return x - (shown - self._guide(shown, sigma))

    def both(self, x: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        """x (B, C, h, w), sigma (B,) -> D and D_u."""
        if not self._before:
            d, d_u = self._guide.both(x, sigma)
            return self._masking.blend(d, sigma), d_u
        shown = self._shown(x, sigma)
        d, d_u = self._guide.both(shown, sigma)
        return x - (shown - d), x - (shown - d_u)

    def _shown(self, x: Tensor, sigma: Tensor) -> Tensor:
        return self._masking.blend(x, sigma, (1 + sigma.view(-1, 1, 1, 1) ** 2).sqrt())
