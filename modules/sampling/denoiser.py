"""A discrete-time diffusion model as a denoiser D(x; sigma)."""

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

TRAIN_STEPS = 1000


class NoiseLevels:
    """sigma_t = sqrt((1 - a_t) / a_t) of a discrete model, and the continuous time between its steps.

    In between, log sigma is linear in t (as k-diffusion does). `quantized`: times are those of the nearest trained level.
    """

    def __init__(self, alphas_cumprod: Tensor, *, quantized: bool = False) -> None:
        self.alphas_cumprod = alphas_cumprod.float()
        # (1000,), rising. Half precision stays so to the logarithm, where it can hold the level.
        sigmas = ((1 - alphas_cumprod) / alphas_cumprod).sqrt()
        exact = ((1 - self.alphas_cumprod) / self.alphas_cumprod).sqrt()
        self.sigmas = torch.where(sigmas.isfinite(), sigmas.float(), exact)
        self.log_sigmas = torch.where(sigmas.isfinite(), sigmas.log().float(), exact.log())
        self._quantized = quantized

    @property
    def sigma_min(self) -> float:
        """The lowest noise level the model was trained at."""
        return self.sigmas[0].item()

    @property
    def sigma_max(self) -> float:
        """The highest noise level the model was trained at."""
        return self.sigmas[-1].item()

    def sigma(self, t: Tensor) -> Tensor:
        """sigma at real times `t` in [0, 999]."""
        t = t.float().to(self.sigmas.device)
        low, high, w = t.floor().long(), t.ceil().long(), t.frac()
        return ((1 - w) * self.log_sigmas[low] + w * self.log_sigmas[high]).exp()

    def t(self, sigma: Tensor) -> Tensor:
        """The real time whose noise level is `sigma`, clamped to the range of the model."""
        if self._quantized:
            return self.nearest(sigma).float()
        log_sigma = sigma.log()
        distances = log_sigma - self.log_sigmas[:, None]
        low = distances.ge(0).cumsum(dim=0).argmax(dim=0).clamp(max=self.log_sigmas.shape[0] - 2)
        high = low + 1
        w = ((self.log_sigmas[low] - log_sigma) / (self.log_sigmas[low] - self.log_sigmas[high])).clamp(0, 1)
        return ((1 - w) * low + w * high).view(sigma.shape)

    def nearest(self, sigma: Tensor) -> Tensor:
        """Indices of the trained levels nearest to `sigma` in log sigma, shaped as it."""
        return (sigma.log() - self.log_sigmas[:, None]).abs().argmin(dim=0).view(sigma.shape)

    def quantized(self) -> "NoiseLevels":
        """The same levels with times rounded to trained ones."""
        return NoiseLevels(self.alphas_cumprod, quantized=True)

    def downcast(self) -> "NoiseLevels":
        """Those that come of a rounded to half precision, as A1111 computed them before 1.7."""
        return NoiseLevels(self.alphas_cumprod.half(), quantized=self._quantized)

    def zero_terminal(self) -> "NoiseLevels":
        """sqrt(a) shifted and scaled to reach 0 at the last step (arXiv:2305.08891, algorithm 1), there A1111's a = 4.9e-8."""
        root = self.alphas_cumprod.sqrt()
        root = (root - root[-1]) * (root[0] / (root[0] - root[-1]))
        alphas = root**2
        alphas[-1] = 4.8973451890853435e-08
        return NoiseLevels(alphas, quantized=self._quantized)


class ConsistencyLevels(NoiseLevels):
    """The 50 levels that latent consistency models are distilled on (arXiv:2310.04378), of a model's 1000: t = 19, 39 ... 999."""

    STRIDE = 20

    def __init__(self, levels: NoiseLevels) -> None:
        super().__init__(levels.alphas_cumprod[self.STRIDE - 1 :: self.STRIDE])

    def sigma(self, t: Tensor) -> Tensor:
        """sigma at real times in [19, 999]; below, that at 19."""
        return super().sigma(((t.float() - (self.STRIDE - 1)) / self.STRIDE).clamp(0, len(self.sigmas) - 1))

    def t(self, sigma: Tensor) -> Tensor:
        """The time of the nearest of the 50 levels."""
        return (self.nearest(sigma) * self.STRIDE + self.STRIDE - 1).float()


def scaled_linear_alphas_cumprod(start: float = 0.00085, end: float = 0.012) -> Tensor:
    """Stable Diffusion's schedule: sqrt(beta) linear, in float64, the product in float32. (1000,)"""
    betas = torch.linspace(start**0.5, end**0.5, TRAIN_STEPS, dtype=torch.float64) ** 2
    return (1 - betas).cumprod(0).float()


class Denoiser(Protocol):
    """What samplers call: `denoised = model(x, sigma, **extra_args)`.

    CFG++ samplers need one that also answers `both(x, sigma, **extra_args) -> (denoised, denoised_uncond)`.
    """

    def __call__(self, x: Tensor, sigma: Tensor, **extra_args: object) -> Tensor:
        """x (B, C, H, W), latent space; sigma (B,); the estimate of the clean latents, shaped as x."""
        ...


class ContextDenoiser(Protocol):
    """What guidance calls: a denoiser that takes the conditioning.

    One of a network that sees more than x also takes `extra` (B, E, H, W), latents that are laid beside x unscaled.
    """

    def __call__(self, x: Tensor, sigma: Tensor, *, context: Tensor) -> Tensor:
        """x (B, C, H, W), sigma (B,), context (B, T, D) -> (B, C, H, W)."""
        ...


Network = Callable[[Tensor, Tensor, Tensor], Tensor]  # (x (B, C, H, W), t (B,), context (B, T, D)) -> output as x


def beside(x: Tensor, extra: Tensor | None) -> Tensor:
    """What the network sees: x (B, C, H, W) and then extra (B, E, H, W), if there is any: (B, C + E, H, W)."""
    return x if extra is None else torch.cat([x, extra.to(x)], dim=1)


class EpsDenoiser:
    """D(x; sigma) = x - sigma eps(c_in x, t), c_in = 1 / sqrt(sigma^2 + 1)."""

    def __init__(self, network: Network, levels: NoiseLevels) -> None:
        self._network = network
        self._levels = levels

    def __call__(self, x: Tensor, sigma: Tensor, *, context: Tensor, extra: Tensor | None = None) -> Tensor:
        """x (B, C, H, W), sigma (B,), context (B, T, D), extra (B, E, H, W) -> (B, C, H, W)."""
        s = sigma.view(-1, 1, 1, 1)
        eps = self._network(beside(x / (s**2 + 1).sqrt(), extra), self._levels.t(sigma), context)
        return x - s * eps


class VDenoiser:
    """D(x; sigma) = c_in^2 x - sigma c_in v(c_in x, t), c_in = 1 / sqrt(sigma^2 + 1): v = alpha eps - sigma_t x_0 of the network's
    own z_t = alpha x_0 + sigma_t eps, where x_0 = alpha z - sigma_t v (arXiv:2202.00512, appendix D), alpha = c_in, sigma_t = sigma c_in.
    """

    def __init__(self, network: Network, levels: NoiseLevels) -> None:
        self._network = network
        self._levels = levels

    def __call__(self, x: Tensor, sigma: Tensor, *, context: Tensor, extra: Tensor | None = None) -> Tensor:
        """x (B, C, H, W), sigma (B,), context (B, T, D), extra (B, E, H, W) -> (B, C, H, W)."""
        s = sigma.view(-1, 1, 1, 1)
        c_in = (s**2 + 1).rsqrt()
        v = self._network(beside(x * c_in, extra), self._levels.t(sigma), context)
        return x * c_in**2 - s * c_in * v


class ConsistencyDenoiser:
    """A consistency function f = c_skip x + c_out D, c_skip = s^2 / (t'^2 + s^2), c_out = t' / sqrt(t'^2 + s^2),
    t' = 10 t, s = 1/2 (arXiv:2310.04378, eq. 9 and appendix)."""

    def __init__(self, denoiser: ContextDenoiser, levels: ConsistencyLevels) -> None:
        self._denoiser = denoiser
        self._levels = levels

    def __call__(self, x: Tensor, sigma: Tensor, **conditioning: Tensor) -> Tensor:
        """x (B, C, H, W), sigma (B,), context (B, T, D), extra (B, E, H, W) or absent -> (B, C, H, W)."""
        t = 10 * self._levels.t(sigma).view(-1, 1, 1, 1)
        c_skip, c_out = 0.25 / (t**2 + 0.25), t / (t**2 + 0.25).sqrt()
        return c_out * self._denoiser(x, sigma, **conditioning) + c_skip * x
