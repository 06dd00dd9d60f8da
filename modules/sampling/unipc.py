"""UniPC (Zhao et al. 2023, arXiv:2302.04867) in data prediction, lambda = -log sigma: one model call a step, used twice."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from modules.sampling.denoiser import Denoiser
from modules.sampling.dpm_plus import exponential_step
from modules.sampling.steps import Callback, Extra, NoiseSampler, Steps, preserving

LOWEST = 0.001  # stands for a last level of 0, which is infinitely far in lambda


def sample_unipc(
    model: Denoiser,
    x: Tensor,
    sigmas: Tensor,
    extra_args: Extra = None,
    callback: Callback | None = None,
    noise_sampler: NoiseSampler | None = None,
    *,
    variant: str = "bh1",
    order: int = 3,
    lower_order_final: bool = True,
) -> Tensor:
    """Algorithms 5 to 8; `variant`: B(h) = h ("bh1"), e^h - 1 ("bh2"), or "vary_coeff".

    Each step predicts, asks the model there, and corrects with the answer; the last only predicts. What is left at the last
    level is returned at the network's own scale.
    """
    steps = Steps(model, x, extra_args, callback)
    sigmas = torch.where(sigmas > 0, sigmas, torch.full_like(sigmas, LOWEST))
    n = len(sigmas) - 1
    order = min(order, n)
    update = _vary if variant == "vary_coeff" else _bh2 if variant == "bh2" else _bh1
    denoised = steps.denoise(x, sigmas[0])
    steps.report(0, sigmas[0], x, denoised)
    past = [(sigmas[0], denoised)]  # newest first
    for i in range(1, n + 1):
        p = min(order, i, n + 1 - i if lower_order_final and i >= order else order)
        target, base = sigmas[i], exponential_step(x, past[0][1], past[0][0], sigmas[i])
        predicted = base + update(past[:p], target, None)
        if i == n:
            x = predicted
            break
        denoised = steps.denoise(predicted, target)
        steps.report(i, target, predicted, denoised)
        x = base + update(past[:p], target, denoised)
        past = [(target, denoised), *past][:order]
    return preserving(x, sigmas[-1])


Past = list[tuple[Tensor, Tensor]]


def _bh1(past: Past, target: Tensor, denoised: Tensor | None) -> Tensor:
    return _bh(past, target, denoised, lambda h: h)


def _bh2(past: Past, target: Tensor, denoised: Tensor | None) -> Tensor:
    return _bh(past, target, denoised, math.expm1)


def _bh(past: Past, target: Tensor, denoised: Tensor | None, b_of: Callable[[float], float]) -> Tensor:
    """-B(-h) sum_k rho_k D_k / r_k (eq. 3 and 9), with D(target) among them when it is known."""
    h, r, changes = _differences(past, target, denoised)
    if not changes:
        return torch.zeros_like(past[0][1])
    psi, b = _psi(-h, len(r) + 2), b_of(-h)
    size = len(changes)
    if size == 1 and (denoised is None or len(past) == 1):
        rho = [0.5]  # order 1's corrector and order 2's predictor, simplified as the authors do
    else:
        right = torch.tensor([math.factorial(i) * psi[i + 1] / b for i in range(1, size + 1)], dtype=torch.float64)
        powers = torch.tensor([[r_k**i for r_k in r] for i in range(size)], dtype=torch.float64)
        rho = torch.linalg.solve(powers, right).tolist()
    return -b * sum(
        (weight * change for weight, change in zip(rho, changes, strict=True)), torch.zeros_like(changes[0])
    )


def _vary(past: Past, target: Tensor, denoised: Tensor | None) -> Tensor:
    """The same with coefficients that vary with h (appendix C). The corrector's weight of the newest difference is that of
    the authors' program, which takes row p - 1 of the inverse for p > 1."""
    h, r, changes = _differences(past, target, denoised)
    if not changes:
        return torch.zeros_like(past[0][1])
    psi, size = _psi(-h, len(r) + 2), len(changes)
    c = torch.tensor([[r_k**k / math.factorial(k + 1) for k in range(size)] for r_k in r], dtype=torch.float64)
    inverse = torch.linalg.inv(c).tolist()
    total = torch.zeros_like(changes[0])
    rows = size if denoised is None else size - 1
    for k in range(rows):
        old = changes if denoised is None else changes[:-1]
        for weight, change in zip(inverse[k], old, strict=False):
            total = total - psi[k + 2] * weight * change
    if denoised is not None:
        total = total - psi[size + 1] * inverse[max(rows - 1, 0)][-1] * changes[-1]
    return total


def _differences(past: Past, target: Tensor, denoised: Tensor | None) -> tuple[float, list[float], list[Tensor]]:
    """(h, r_k = (lambda_k - lambda_0) / h, (D_k - D_0) / r_k) of the older points, and of the target at r = 1 when known."""
    (sigma_0, d_0), *older = past
    h = math.log(sigma_0.item() / target.item())
    r = [math.log(sigma_0.item() / sigma.item()) / h for sigma, _ in older]
    changes = [(d - d_0) / r_k for (_, d), r_k in zip(older, r, strict=True)]
    if denoised is not None:
        r.append(1.0)
        changes.append(denoised - d_0)
    return h, r, changes


def _psi(h: float, count: int) -> list[float]:
    """psi_k = h phi_k(h) for k = 0 ... count - 1, phi_(k+1) = (phi_k - 1/k!) / h; psi_0 is not used."""
    psi = [h * math.exp(h), math.expm1(h)]
    while len(psi) < count:
        psi.append(psi[-1] / h - 1 / math.factorial(len(psi) - 1))
    return psi
