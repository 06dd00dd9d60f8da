"""DPM-Solver++ (Lu et al. 2022, arXiv:2211.01095) in data prediction, lambda = -log sigma; its SDE forms draw Brownian noise."""

from torch import Tensor

from modules.sampling.denoiser import Denoiser
from modules.sampling.steps import Callback, Extra, NoiseSampler, Steps, ancestral_step


def exponential_step(x: Tensor, denoised: Tensor, sigma: Tensor, sigma_next: Tensor) -> Tensor:
    """x sigma'/sigma + (1 - sigma'/sigma) D: exact for a constant D (eq. 9 of order 1)."""
    h = sigma.log() - sigma_next.log()
    return sigma_next / sigma * x - (-h).expm1() * denoised


def sample_dpmpp_2s_ancestral(
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
    """DPM-Solver++(2S) (algorithm 1, r = 1/2) with fresh noise after each step."""
    steps = Steps(model, x, extra_args, callback, noise_sampler)
    for i in range(len(sigmas) - 1):
        denoised = steps.denoise(x, sigmas[i])
        steps.report(i, sigmas[i], x, denoised)
        down, up = ancestral_step(sigmas[i], sigmas[i + 1], eta)
        if down == 0:
            x = denoised
        else:
            middle = sigmas[i].log().lerp(down.log(), 0.5).exp()
            u = exponential_step(x, denoised, sigmas[i], middle)
            x = exponential_step(x, steps.denoise(u, middle), sigmas[i], down)
        if up > 0:
            x = x + steps.noise(sigmas[i], sigmas[i + 1]) * s_noise * up
    return x


def sample_dpmpp_2m(
    model: Denoiser,
    x: Tensor,
    sigmas: Tensor,
    extra_args: Extra = None,
    callback: Callback | None = None,
    noise_sampler: NoiseSampler | None = None,
) -> Tensor:
    """DPM-Solver++(2M) (algorithm 2)."""
    steps = Steps(model, x, extra_args, callback, noise_sampler)
    old_denoised, h_last = None, None
    for i in range(len(sigmas) - 1):
        denoised = steps.denoise(x, sigmas[i])
        steps.report(i, sigmas[i], x, denoised)
        h = sigmas[i].log() - sigmas[i + 1].log()
        d = denoised
        if old_denoised is not None and h_last is not None and sigmas[i + 1] > 0:
            r = h_last / h
            d = (1 + 1 / (2 * r)) * denoised - (1 / (2 * r)) * old_denoised
        x = exponential_step(x, d, sigmas[i], sigmas[i + 1])
        old_denoised, h_last = denoised, h
    return x


def sample_dpmpp_sde(
    model: Denoiser,
    x: Tensor,
    sigmas: Tensor,
    extra_args: Extra = None,
    callback: Callback | None = None,
    noise_sampler: NoiseSampler | None = None,
    *,
    eta: float = 1.0,
    s_noise: float = 1.0,
    r: float = 1 / 2,
) -> Tensor:
    """DPM-Solver++(2S) with noise also in the stage between (k-diffusion's DPM++ SDE)."""
    steps = Steps(model, x, extra_args, callback, noise_sampler)
    for i in range(len(sigmas) - 1):
        sigma, sigma_next = sigmas[i], sigmas[i + 1]
        denoised = steps.denoise(x, sigma)
        steps.report(i, sigma, x, denoised)
        if sigma_next == 0:
            x = denoised
            continue
        t, t_next = -sigma.log(), -sigma_next.log()
        sigma, middle, sigma_next = (
            (-t).exp(),
            (-(t + (t_next - t) * r)).exp(),
            (-t_next).exp(),
        )  # as rounded as k-diffusion's
        down, up = ancestral_step(sigma, middle, eta)
        u = exponential_step(x, denoised, sigma, down) + steps.noise(sigma, middle) * s_noise * up
        denoised_2 = steps.denoise(u, middle)
        down, up = ancestral_step(sigma, sigma_next, eta)
        d = denoised.lerp(denoised_2, 1 / (2 * r))
        x = exponential_step(x, d, sigma, down) + steps.noise(sigma, sigma_next) * s_noise * up
    return x


def sample_dpmpp_2m_sde(
    model: Denoiser,
    x: Tensor,
    sigmas: Tensor,
    extra_args: Extra = None,
    callback: Callback | None = None,
    noise_sampler: NoiseSampler | None = None,
    *,
    eta: float = 1.0,
    s_noise: float = 1.0,
    solver: str = "midpoint",
) -> Tensor:
    """SDE-DPM-Solver++(2M) (eq. 18 and 19, generalised to eta); `solver`: how the second order is weighted, midpoint or heun."""
    steps = Steps(model, x, extra_args, callback, noise_sampler)
    old_denoised, h_last = None, None
    for i in range(len(sigmas) - 1):
        denoised = steps.denoise(x, sigmas[i])
        steps.report(i, sigmas[i], x, denoised)
        if sigmas[i + 1] == 0:
            return denoised
        h = sigmas[i].log() - sigmas[i + 1].log()
        decay = -(-(1 + eta) * h).expm1()  # 1 - e^(-(1 + eta) h)
        x = sigmas[i + 1] / sigmas[i] * (-eta * h).exp() * x + decay * denoised
        if old_denoised is not None and h_last is not None:
            weight = decay / 2 if solver == "midpoint" else 1 - decay / ((1 + eta) * h)
            x = x + weight * (h / h_last) * (denoised - old_denoised)
        if eta:
            x = x + steps.noise(sigmas[i], sigmas[i + 1]) * sigmas[i + 1] * (-(-2 * eta * h).expm1()).sqrt() * s_noise
        old_denoised, h_last = denoised, h
    return x


def sample_dpmpp_3m_sde(
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
    """The third order of the same: D's first and second derivative in lambda from its last three values."""
    steps = Steps(model, x, extra_args, callback, noise_sampler)
    past: list[tuple[Tensor, Tensor]] = []  # (D, the h of the step from it), newest first
    for i in range(len(sigmas) - 1):
        denoised = steps.denoise(x, sigmas[i])
        steps.report(i, sigmas[i], x, denoised)
        if sigmas[i + 1] == 0:
            return denoised
        h = sigmas[i].log() - sigmas[i + 1].log()
        k = (1 + eta) * h
        x = sigmas[i + 1] / sigmas[i] * (-eta * h).exp() * x - (-k).expm1() * denoised
        phi_2 = (-k).expm1() / k + 1
        if len(past) == 1:
            x = x + phi_2 * (denoised - past[0][0]) * (h / past[0][1])
        elif past:
            (d_1, h_1), (d_2, h_2) = past
            r_0, r_1 = h_1 / h, h_2 / h
            slope, slope_old = (denoised - d_1) / r_0, (d_1 - d_2) / r_1
            bend = (slope - slope_old) / (r_0 + r_1)
            x = x + phi_2 * (slope + bend * r_0) - (phi_2 / k - 0.5) * bend
        if eta:
            x = x + steps.noise(sigmas[i], sigmas[i + 1]) * sigmas[i + 1] * (-(-2 * eta * h).expm1()).sqrt() * s_noise
        past = [(denoised, h), *past[:1]]
    return x
