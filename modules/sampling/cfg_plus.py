"""CFG++ (Chung et al. 2024, arXiv:2406.08070): towards the guided estimate, along the unguided slope d_u = (x - D_u) / sigma."""

from torch import Tensor

from modules.sampling.denoiser import Denoiser
from modules.sampling.steps import Callback, Extra, NoiseSampler, Steps, ancestral_step, derivative, preserving


def sample_euler_cfg_pp(
    model: Denoiser,
    x: Tensor,
    sigmas: Tensor,
    extra_args: Extra = None,
    callback: Callback | None = None,
    noise_sampler: NoiseSampler | None = None,
) -> Tensor:
    """Algorithm 2: x = D + sigma' d_u."""
    return sample_euler_ancestral_cfg_pp(model, x, sigmas, extra_args, callback, noise_sampler, eta=0.0)


def sample_euler_ancestral_cfg_pp(
    model: Denoiser,
    x: Tensor,
    sigmas: Tensor,
    extra_args: Extra = None,
    callback: Callback | None = None,
    noise_sampler: NoiseSampler | None = None,
    *,
    eta: float = 1.0,
) -> Tensor:
    """The same with fresh noise after each step."""
    steps = Steps(model, x, extra_args, callback, noise_sampler)
    for i in range(len(sigmas) - 1):
        denoised, unguided = steps.denoise_both(x, sigmas[i])
        steps.report(i, sigmas[i], x, denoised)
        down, up = ancestral_step(sigmas[i], sigmas[i + 1], eta)
        x = denoised + derivative(x, sigmas[i], unguided) * down
        if up > 0:
            x = x + steps.noise(sigmas[i], sigmas[i + 1]) * up
    return x


def sample_ddim_cfgpp(
    model: Denoiser,
    x: Tensor,
    sigmas: Tensor,
    extra_args: Extra = None,
    callback: Callback | None = None,
    noise_sampler: NoiseSampler | None = None,
    *,
    eta: float = 0.0,
) -> Tensor:
    """DDIM with CFG++. Made for sigmas that end above 0; what is left there is returned at the network's own scale."""
    x = sample_euler_ancestral_cfg_pp(model, x, sigmas, extra_args, callback, noise_sampler, eta=eta)
    return preserving(x, sigmas[-1])


def sample_dpmpp_2m_cfg_pp(
    model: Denoiser,
    x: Tensor,
    sigmas: Tensor,
    extra_args: Extra = None,
    callback: Callback | None = None,
    noise_sampler: NoiseSampler | None = None,
) -> Tensor:
    """DPM-Solver++(2M) from D, with the change since the last unguided estimate for its second order (ComfyUI's form)."""
    steps = Steps(model, x, extra_args, callback)
    old, h_last = None, None
    for i in range(len(sigmas) - 1):
        denoised, unguided = steps.denoise_both(x, sigmas[i])
        steps.report(i, sigmas[i], x, denoised)
        if sigmas[i + 1] == 0:
            return denoised
        h = sigmas[i].log() - sigmas[i + 1].log()
        x = denoised + (-h).exp() * (x - unguided)
        if old is not None and h_last is not None:
            x = x - (-h).expm1() * (h / h_last) / 2 * (denoised - old)
        old, h_last = unguided, h
    return x


def sample_dpmpp_2s_ancestral_cfg_pp(
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
    """DPM-Solver++(2S) on the unguided estimate; the guidance D - D_u of the step's start is added at its end."""
    from modules.sampling.dpm_plus import exponential_step

    steps = Steps(model, x, extra_args, callback, noise_sampler)
    for i in range(len(sigmas) - 1):
        denoised, unguided = steps.denoise_both(x, sigmas[i])
        steps.report(i, sigmas[i], x, denoised)
        down, up = ancestral_step(sigmas[i], sigmas[i + 1], eta)
        if down == 0:
            x = unguided
        else:
            middle = sigmas[i].log().lerp(down.log(), 0.5).exp()
            _, inner = steps.denoise_both(exponential_step(x, unguided, sigmas[i], middle), middle)
            x = exponential_step(x, inner, sigmas[i], down)
        if up > 0:
            x = x + steps.noise(sigmas[i], sigmas[i + 1]) * s_noise * up
        x = x + denoised - unguided
    return x
