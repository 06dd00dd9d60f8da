"""The noise that a picture would be drawn from: Euler's steps, walked backwards (arXiv:2010.02502, section 4.3)."""

from collections.abc import Callable

import torch
from torch import Tensor

from modules.sampling.denoiser import NoiseLevels
from modules.sampling.steps import derivative


def inverted(
    model: Callable[[Tensor, Tensor], Tensor],
    x: Tensor,
    sigmas: Tensor,
    *,
    at_lower: bool,
    tell: Callable[[int], None] = lambda step: None,
) -> Tensor:
    """Latents x (B, C, H, W) at the last of the levels `sigmas`, which rise from 0. The model is asked at the upper level of each
    step, or `at_lower` at the lower one, where the first step has none and changes nothing."""
    ones = x.new_ones(len(x))
    for i in range(1, len(sigmas)):
        tell(i)
        level = sigmas[i - 1] if at_lower else sigmas[i]
        if level > 0:
            x = x + derivative(x, level, model(x, level * ones)) * (sigmas[i] - sigmas[i - 1])
    return x


def mixed(first: Tensor, second: Tensor, share: Tensor | float) -> Tensor:
    """Unit noise of two, `share` of it the second's."""
    share = torch.as_tensor(share)
    return ((1 - share) * first + share * second) / (share**2 + (1 - share) ** 2).sqrt()


class Retouched(NoiseLevels):
    """The same levels, at each of which the model is asked at its time divided by `retouch`."""

    def __init__(self, levels: NoiseLevels, retouch: float) -> None:
        super().__init__(levels.alphas_cumprod)
        self.retouch = retouch

    def t(self, sigma: Tensor) -> Tensor:
        """As NoiseLevels."""
        return super().t(sigma) / self.retouch
