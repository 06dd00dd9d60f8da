"""What other programs call samplers and schedules, and A1111's names (or this program's, where A1111 has none) for them."""

_COMFY_SAMPLERS = {
    "euler": "Euler",
    "euler_cfg_pp": "Euler CFG++",
    "euler_ancestral": "Euler a",
    "euler_ancestral_cfg_pp": "Euler a CFG++",
    "heun": "Heun",
    "heunpp2": "HeunPP2",
    "dpm_2": "DPM2",
    "dpm_2_ancestral": "DPM2 a",
    "lms": "LMS",
    "dpm_fast": "DPM fast",
    "dpm_adaptive": "DPM adaptive",
    "dpmpp_2s_ancestral": "DPM++ 2S a",
    "dpmpp_2s_ancestral_cfg_pp": "DPM++ 2S a CFG++",
    "dpmpp_sde": "DPM++ SDE",
    "dpmpp_2m": "DPM++ 2M",
    "dpmpp_2m_cfg_pp": "DPM++ 2M CFG++",
    "dpmpp_2m_sde": "DPM++ 2M SDE",
    "dpmpp_2m_sde_heun": "DPM++ 2M SDE Heun",
    "dpmpp_3m_sde": "DPM++ 3M SDE plain",
    "ddpm": "DDPM",
    "lcm": "LCM plain",
    "ipndm": "IPNDM",
    "ipndm_v": "IPNDM_V",
    "deis": "DEIS",
    "restart": "Restart",
    "res_multistep": "RES multistep",
    "res_multistep_ancestral": "RES multistep a",
    "res_multistep_cfg_pp": "RES multistep CFG++",
    "gradient_estimation": "Gradient estimation",
    "gradient_estimation_cfg_pp": "Gradient estimation CFG++",
    "er_sde": "ER SDE",
    "seeds_2": "SEEDS 2",
    "seeds_3": "SEEDS 3",
    "sa_solver": "SA-Solver",
    "sa_solver_pece": "SA-Solver PECE",
    "ddim": "Euler",  # there it is Euler's method but for inpainting
    "uni_pc": "UniPC bh1",
    "uni_pc_bh2": "UniPC bh2",
}
_COMFY_SCHEDULES = {
    "normal": "Normal",
    "karras": "Karras",
    "exponential": "Exponential",
    "polyexponential": "Polyexponential",
    "sgm_uniform": "SGM Uniform",
    "simple": "Simple",
    "ddim_uniform": "DDIM",
    "beta": "Beta",
    "linear_quadratic": "Linear Quadratic",
    "kl_optimal": "KL Optimal plain",
    "align_your_steps": "Align Your Steps",
    "turbo": "Turbo",
}
_NOVELAI_SAMPLERS = {
    "k_euler": "Euler",
    "k_euler_ancestral": "Euler a",
    "k_dpmpp_2m": "DPM++ 2M",
    "k_dpmpp_2m_sde": "DPM++ 2M SDE",
    "k_dpmpp_2s_ancestral": "DPM++ 2S a",
    "k_dpmpp_sde": "DPM++ SDE",
    "k_dpm_2": "DPM2",
    "k_dpm_2_ancestral": "DPM2 a",
    "k_dpm_fast": "DPM fast",
    "k_dpm_adaptive": "DPM adaptive",
    "k_lms": "LMS",
    "k_heun": "Heun",
    "ddim": "DDIM",
    "ddim_v3": "DDIM",
    "plms": "PLMS",
}
_INVOKE_SAMPLERS = {
    "ddim": "DDIM",
    "ddpm": "DDPM",
    "deis": "DEIS",
    "lms": "LMS",
    "pndm": "PLMS",
    "plms": "PLMS",
    "heun": "Heun",
    "euler": "Euler",
    "euler_a": "Euler a",
    "kdpm_2": "DPM2",
    "kdpm_2_a": "DPM2 a",
    "dpm_2": "DPM2",
    "dpm_2_a": "DPM2 a",
    "dpmpp_2": "DPM++ 2M",
    "dpmpp_2s": "DPM++ 2S a",
    "dpmpp_2m": "DPM++ 2M",
    "dpmpp_2m_sde": "DPM++ 2M SDE",
    "dpmpp_3m": "DPM++ 3M SDE",
    "dpmpp_sde": "DPM++ SDE",
    "unipc": "UniPC",
    "lcm": "LCM",
    "tcd": "TCD",
}


def comfy_sampler(name: str) -> str | None:
    """A1111's name; those that end in _gpu differ only in where their noise is drawn."""
    return _COMFY_SAMPLERS.get(name.removesuffix("_gpu"))


def comfy_schedule(name: str) -> str | None:
    """A1111's name."""
    return _COMFY_SCHEDULES.get(name)


def novelai_sampler(name: str) -> str | None:
    """A1111's name."""
    return _NOVELAI_SAMPLERS.get(name)


def invoke_sampler(name: str) -> tuple[str | None, str | None]:
    """A1111's names of sampler and schedule: `k` in front (2.x) or behind (later) has to do with Karras' levels in the latter."""
    if (old := name.removeprefix("k_")) != name:
        return _INVOKE_SAMPLERS.get(old), None
    plain = name.removesuffix("_k")
    return _INVOKE_SAMPLERS.get(plain), "Karras" if plain != name else None
