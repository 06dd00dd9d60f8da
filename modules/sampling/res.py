"""Two-value multistep methods: RES (arXiv:2308.02157) and gradient estimation (Permenter & Yuan 2024, arXiv:2306.04848)."""

from torch import Tensor

from modules.sampling.denoiser import Denoiser
from modules.sampling.steps import Callback, Extra, NoiseSampler, Steps, ancestral_step, derivative


def sample_res_multistep(
    model: Denoiser,
    x: Tensor,
    sigmas: Tensor,
    extra_args: Extra = None,
    callback: Callback | None = None,
    noise_sampler: NoiseSampler | None = None,
) -> Tensor:
    """RES's second-order multistep: D linear in lambda = -log sigma through its last two values, integrated exactly."""
    return _res(model, x, sigmas, extra_args, callback, noise_sampler, eta=0.0, s_noise=1.0, plus=False)


def sample_res_multistep_ancestral(
    model: Denoiser,
    x: Tensor,
    sigmas: Tensor,
    extra_args: Extra = None,
    callback: Callback | None = None,
    noise_sampler: NoiseSampler | None = None,
    *,
    eta: float = 1.0,
    s_noise: float = 1.0,
) -> Tensor:
    """The same with fresh noise after each step."""
    return _res(model, x, sigmas, extra_args, callback, noise_sampler, eta=eta, s_noise=s_noise, plus=False)


def sample_res_multistep_cfg_pp(
    model: Denoiser,
    x: Tensor,
    sigmas: Tensor,
    extra_args: Extra = None,
    callback: Callback | None = None,
    noise_sampler: NoiseSampler | None = None,
) -> Tensor:
    """RES on the unguided estimate, moved by the guidance before each step (CFG++, ComfyUI's form)."""
    return _res(model, x, sigmas, extra_args, callback, noise_sampler, eta=0.0, s_noise=1.0, plus=True)


def _res(
    model: Denoiser,
    x: Tensor,
    sigmas: Tensor,
    extra_args: Extra,
    callback: Callback | None,
    noise_sampler: NoiseSampler | None,
    *,
    eta: float,
    s_noise: float,
    plus: bool,
) -> Tensor:
    steps = Steps(model, x, extra_args, callback, noise_sampler)
    old: tuple[Tensor, Tensor, Tensor] | None = None  # (D, sigma there, the level its step went down to)
    for i in range(len(sigmas) - 1):
        denoised, d = steps.denoise_both(x, sigmas[i]) if plus else (steps.denoise(x, sigmas[i]),) * 2
        steps.report(i, sigmas[i], x, denoised)
        down, up = ancestral_step(sigmas[i], sigmas[i + 1], eta)
        if down == 0 or old is None:
            x = denoised + derivative(x, sigmas[i], d) * down
        else:
            h = sigmas[i].log() - down.log()
            c_2 = (old[2].log() - old[1].log()) / h
            phi_1 = (-h).expm1() / -h
            phi_2 = (phi_1 - 1) / -h
            x = (-h).exp() * (x + denoised - d) + h * ((phi_1 - phi_2 / c_2) * d + phi_2 / c_2 * old[0])
        if up > 0:
            x = x + steps.noise(sigmas[i], sigmas[i + 1]) * s_noise * up
        old = (d, sigmas[i], down)
    return x


def sample_gradient_estimation(
    model: Denoiser,
    x: Tensor,
    sigmas: Tensor,
    extra_args: Extra = None,
    callback: Callback | None = None,
    noise_sampler: NoiseSampler | None = None,
    *,
    gamma: float = 2.0,
) -> Tensor:
    """Euler's step along gamma d_i + (1 - gamma) d_(i-1) (algorithm 2); the last along d."""
    return _gradient(model, x, sigmas, extra_args, callback, gamma, plus=False)


def sample_gradient_estimation_cfg_pp(
    model: Denoiser,
    x: Tensor,
    sigmas: Tensor,
    extra_args: Extra = None,
    callback: Callback | None = None,
    noise_sampler: NoiseSampler | None = None,
    *,
    gamma: float = 2.0,
) -> Tensor:
    """The same along unguided slopes from the guided estimate (CFG++)."""
    return _gradient(model, x, sigmas, extra_args, callback, gamma, plus=True)


def _gradient(
    model: Denoiser,
    x: Tensor,
    sigmas: Tensor,
    extra_args: Extra,
    callback: Callback | None,
    gamma: float,
    *,
    plus: bool,
) -> Tensor:
    steps = Steps(model, x, extra_args, callback)
    d_last = None
    for i in range(len(sigmas) - 1):
        denoised, base = steps.denoise_both(x, sigmas[i]) if plus else (steps.denoise(x, sigmas[i]),) * 2
        steps.report(i, sigmas[i], x, denoised)
        if sigmas[i + 1] == 0:
            return denoised
        d = derivative(x, sigmas[i], base)
        x = denoised + d * sigmas[i + 1]
        if d_last is not None:
            x = x + (gamma - 1) * (d - d_last) * (sigmas[i + 1] - sigmas[i])
        d_last = d
    return x
