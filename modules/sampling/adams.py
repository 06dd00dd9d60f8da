"""Linear multistep methods: slopes d = (x - D) / sigma of past steps, weighted."""

import numpy as np
from numpy.polynomial import Polynomial
from numpy.typing import NDArray
from torch import Tensor

from modules.sampling.denoiser import Denoiser
from modules.sampling.steps import Callback, Extra, NoiseSampler, Steps, derivative, preserving

# Adams-Bashforth for equal steps, newest slope first
BASHFORTH = ((1.0,), (3 / 2, -1 / 2), (23 / 12, -16 / 12, 5 / 12), (55 / 24, -59 / 24, 37 / 24, -9 / 24))


def weighted(weights: tuple[float, ...] | list[float], slopes: list[Tensor]) -> Tensor:
    """The sum of the newest slopes, newest first, by their weights."""
    total = slopes[-1] * weights[0]
    for weight, slope in zip(weights[1:], slopes[-2::-1], strict=False):
        total = total + weight * slope
    return total


def lagrange(points: list[float], start: float, end: float) -> list[float]:
    """Integrals from start to end of the Lagrange polynomials through `points`; float64."""
    base, span = points[0], (points[0] - end) or 1.0  # centred and scaled, for the sake of rounding
    nodes = [(p - base) / span for p in points]
    integrals = []
    for j, node in enumerate(nodes):
        others = [other for k, other in enumerate(nodes) if k != j]
        basis = Polynomial.fromroots(others) if others else Polynomial([1.0])
        antiderivative = (basis / np.prod([node - other for other in others])).integ()
        integrals.append(float(antiderivative((end - base) / span) - antiderivative((start - base) / span)) * span)
    return integrals


def sample_lms(
    model: Denoiser,
    x: Tensor,
    sigmas: Tensor,
    extra_args: Extra = None,
    callback: Callback | None = None,
    noise_sampler: NoiseSampler | None = None,
    *,
    order: int = 4,
) -> Tensor:
    """Adams-Bashforth for unequal steps: the polynomial through the last four slopes, integrated over sigma."""
    steps = Steps(model, x, extra_args, callback)
    levels = sigmas.double().tolist()
    slopes: list[Tensor] = []
    for i in range(len(sigmas) - 1):
        denoised = steps.denoise(x, sigmas[i])
        steps.report(i, sigmas[i], x, denoised)
        slopes = [*slopes, derivative(x, sigmas[i], denoised)][-order:]
        points = levels[i::-1][: len(slopes)]
        x = x + weighted(lagrange(points, levels[i], levels[i + 1]), slopes)
    return x


def sample_plms(
    model: Denoiser,
    x: Tensor,
    sigmas: Tensor,
    extra_args: Extra = None,
    callback: Callback | None = None,
    noise_sampler: NoiseSampler | None = None,
) -> Tensor:
    """PLMS (arXiv:2202.09778, algorithm 2) after a first step of improved Euler; DDIM's step is Euler's in sigma.

    Made for sigmas that end above 0; what is left there is returned at the network's own scale.
    """
    steps = Steps(model, x, extra_args, callback)
    slopes: list[Tensor] = []
    for i in range(len(sigmas) - 1):
        denoised = steps.denoise(x, sigmas[i])
        steps.report(i, sigmas[i], x, denoised)
        slopes = [*slopes, derivative(x, sigmas[i], denoised)][-4:]
        dt = sigmas[i + 1] - sigmas[i]
        d = weighted(BASHFORTH[len(slopes) - 1], slopes)
        if len(slopes) == 1 and sigmas[i + 1] > 0:
            x_2 = x + d * dt
            d = (d + derivative(x_2, sigmas[i + 1], steps.denoise(x_2, sigmas[i + 1]))) / 2
        x = x + d * dt
    return preserving(x, sigmas[-1])


def sample_ipndm(
    model: Denoiser,
    x: Tensor,
    sigmas: Tensor,
    extra_args: Extra = None,
    callback: Callback | None = None,
    noise_sampler: NoiseSampler | None = None,
) -> Tensor:
    """iPNDM (arXiv:2204.13902, eq. 40): Adams-Bashforth weights of equal steps, a whole denoising last."""
    return _multistep(model, x, sigmas, extra_args, callback, "equal")


def sample_ipndm_v(
    model: Denoiser,
    x: Tensor,
    sigmas: Tensor,
    extra_args: Extra = None,
    callback: Callback | None = None,
    noise_sampler: NoiseSampler | None = None,
) -> Tensor:
    """iPNDM with the weights of the steps' true sizes, a whole denoising last."""
    return _multistep(model, x, sigmas, extra_args, callback, "true")


def sample_deis(
    model: Denoiser,
    x: Tensor,
    sigmas: Tensor,
    extra_args: Extra = None,
    callback: Callback | None = None,
    noise_sampler: NoiseSampler | None = None,
) -> Tensor:
    """tAB-DEIS (arXiv:2204.13902, eq. 14 and 15): the polynomial through the last three slopes in the time t of the
    continuous VP diffusion, integrated over sigma."""
    return _multistep(model, x, sigmas, extra_args, callback, "time")


def _multistep(
    model: Denoiser, x: Tensor, sigmas: Tensor, extra_args: Extra, callback: Callback | None, kind: str
) -> Tensor:
    """Slopes up to order 4 (3 in `time`), Euler's step into sigma 0."""
    steps = Steps(model, x, extra_args, callback)
    levels = sigmas.double().tolist()
    slopes: list[Tensor] = []
    for i in range(len(sigmas) - 1):
        denoised = steps.denoise(x, sigmas[i])
        steps.report(i, sigmas[i], x, denoised)
        slopes = [*slopes, derivative(x, sigmas[i], denoised)][-3 if kind == "time" else -4 :]
        if levels[i + 1] == 0:
            return denoised
        points = levels[i::-1][: len(slopes)]
        if kind == "equal":
            step = levels[i + 1] - levels[i]
            weights = [step * weight for weight in BASHFORTH[len(slopes) - 1]]
        elif kind == "true":
            weights = lagrange(points, levels[i], levels[i + 1])
        else:
            weights = _tab_weights(points, levels[i + 1])
        x = x + weighted(weights, slopes)
    return x


def _tab_weights(points: list[float], end: float) -> list[float]:
    """Integrals over sigma of Lagrange polynomials in t, where sigma^2 = exp(a t + b t^2 / 2) - 1 is 0.002^2 at t = 0.001
    and 80^2 at t = 1 (the range of arXiv:2206.00364)."""
    a, b = np.linalg.solve([[0.001, 0.001**2 / 2], [1.0, 0.5]], [np.log1p(0.002**2), np.log1p(80.0**2)])

    def time(sigma: NDArray[np.float64]) -> NDArray[np.float64]:
        return (np.sqrt(a**2 + 2 * b * np.log1p(sigma**2)) - a) / b

    nodes, weights = np.polynomial.legendre.leggauss(32)
    half = (end - points[0]) / 2
    t, times = time(points[0] + half * (nodes + 1)), time(np.array(points))
    found = []
    for j, t_j in enumerate(times):
        others = np.delete(times, j)
        basis = np.prod((t[:, None] - others) / (t_j - others), axis=1)
        found.append(float((weights * basis).sum() * half))
    return found
