"""The samplers users can choose, with A1111's names, aliases and defaults, and those ComfyUI's users know."""

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from modules.core.registry import Registry
from modules.requests.catalogue import SamplerEntry
from modules.sampling import (
    adams,
    cfg_plus,
    dpm_plus,
    dpm_solver,
    euler,
    flow,
    res,
    sa_solver,
    stochastic,
    trajectory,
    unipc,
)
from modules.sampling.sampler import Sampler


def build_samplers() -> Registry[Sampler]:
    """All samplers: A1111's in its order, then the others."""
    registry: Registry[Sampler] = Registry("sampler_name")
    for sampler in (*_a1111(), *_others()):
        registry.add(sampler.entry.name, sampler, sampler.entry.aliases)
    return registry.freeze()


def _sampler(
    name: str,
    sample: Callable[..., Tensor],
    *aliases: str,
    eta: str = "",
    levels_of: str = "schedule",
    guidance: float = 1.0,
    consistency: bool = False,
    fixed: Mapping[str, Any] | None = None,
    renoises: bool = False,
    on_flow: Callable[..., Tensor] | None = None,
    timed: bool = False,
    **entry: Any,
) -> Sampler:
    return Sampler(
        entry=SamplerEntry(
            name=name, aliases=aliases, eta=eta, heeds_schedule=levels_of not in ("ddim", "unipc"), **entry
        ),
        sample=sample,
        levels_of=levels_of,
        guidance=guidance,
        consistency=consistency,
        fixed=fixed or {},
        renoises=renoises,
        on_flow=on_flow,
        timed=timed,
    )


def _a1111() -> list[Sampler]:
    ancestral: dict[str, Any] = {"eta": "eta_ancestral", "draws_noise": True}
    sde: dict[str, Any] = {"eta": "eta_ancestral", "brownian_noise": True, "s_noise": True}
    churned: dict[str, Any] = {"churn": True, "s_noise": True}
    return [
        _sampler("DPM++ 2M", dpm_plus.sample_dpmpp_2m, "k_dpmpp_2m", schedule="Karras"),
        _sampler("DPM++ SDE", dpm_plus.sample_dpmpp_sde, "k_dpmpp_sde", schedule="Karras", second_order=True, **sde),
        _sampler("DPM++ 2M SDE", dpm_plus.sample_dpmpp_2m_sde, "k_dpmpp_2m_sde", schedule="Exponential", **sde),
        _sampler(
            "DPM++ 2M SDE Heun",
            dpm_plus.sample_dpmpp_2m_sde,
            "k_dpmpp_2m_sde_heun",
            schedule="Exponential",
            solver="heun",
            fixed={"solver": "heun"},
            **sde,
        ),
        _sampler(
            "DPM++ 2S a",
            dpm_plus.sample_dpmpp_2s_ancestral,
            "k_dpmpp_2s_a",
            schedule="Karras",
            second_order=True,
            s_noise=True,
            **ancestral,
        ),
        _sampler(
            "DPM++ 3M SDE",
            dpm_plus.sample_dpmpp_3m_sde,
            "k_dpmpp_3m_sde",
            schedule="Exponential",
            discard_penultimate=True,
            **sde,
        ),
        _sampler(
            "Euler a",
            euler.sample_euler_ancestral,
            "k_euler_a",
            "k_euler_ancestral",
            on_flow=flow.sample_euler_ancestral_flow,
            **ancestral,
        ),
        _sampler("Euler", euler.sample_euler, "k_euler", **churned),
        _sampler("LMS", adams.sample_lms, "k_lms"),
        _sampler("Heun", euler.sample_heun, "k_heun", second_order=True, **churned),
        _sampler(
            "DPM2",
            dpm_solver.sample_dpm_2,
            "k_dpm_2",
            schedule="Karras",
            second_order=True,
            discard_penultimate=True,
            **churned,
        ),
        _sampler(
            "DPM2 a",
            dpm_solver.sample_dpm_2_ancestral,
            "k_dpm_2_a",
            schedule="Karras",
            second_order=True,
            discard_penultimate=True,
            s_noise=True,
            **ancestral,
        ),
        _sampler("DPM fast", dpm_solver.sample_dpm_fast, "k_dpm_fast", levels_of="span", s_noise=True, **ancestral),
        _sampler("DPM adaptive", dpm_solver.sample_dpm_adaptive, "k_dpm_ad", levels_of="span", **ancestral),
        _sampler("Restart", euler.sample_restart, "restart", schedule="Karras", second_order=True, renoises=True),
        _sampler("DDIM", euler.sample_ddim, "ddim", levels_of="ddim", eta="eta_ddim"),
        _sampler(
            "DDIM CFG++",
            cfg_plus.sample_ddim_cfgpp,
            "ddim_cfgpp",
            levels_of="ddim",
            eta="eta_ddim",
            guidance=1 / 12.5,  # A1111's scales of up to 12.5 stand for lambda in [0, 1]
        ),
        _sampler("PLMS", adams.sample_plms, "plms", levels_of="ddim"),
        _sampler("UniPC", unipc.sample_unipc, "unipc", levels_of="unipc"),
        _sampler("LCM", euler.sample_lcm, "k_lcm", consistency=True, renoises=True),
    ]


def _others() -> list[Sampler]:
    ancestral: dict[str, Any] = {"eta": "eta_ancestral", "draws_noise": True}
    return [
        _sampler("HeunPP2", euler.sample_heunpp2, second_order=True),
        _sampler("IPNDM", adams.sample_ipndm),
        _sampler("IPNDM_V", adams.sample_ipndm_v),
        _sampler("DEIS", adams.sample_deis),
        _sampler("DDPM", euler.sample_ddpm, draws_noise=True),
        _sampler("LCM plain", euler.sample_lcm, "lcm_plain", renoises=True),  # ComfyUI's "lcm": no consistency function
        _sampler(
            "TCD",
            trajectory.sample_tcd,
            "tcd",
            schedule="SGM Uniform",
            eta="tcd_gamma",
            draws_noise=True,
            timed=True,
        ),
        _sampler(  # ComfyUI's: A1111's leaves the last but one level out
            "DPM++ 3M SDE plain",
            dpm_plus.sample_dpmpp_3m_sde,
            "dpmpp_3m_sde_plain",
            schedule="Exponential",
            eta="eta_ancestral",
            brownian_noise=True,
            s_noise=True,
        ),
        _sampler("UniPC bh1", unipc.sample_unipc, "uni_pc", fixed={"variant": "bh1"}, discard_penultimate=True),
        _sampler("UniPC bh2", unipc.sample_unipc, "uni_pc_bh2", fixed={"variant": "bh2"}, discard_penultimate=True),
        _sampler("RES multistep", res.sample_res_multistep, "res_multistep"),
        _sampler("RES multistep a", res.sample_res_multistep_ancestral, "res_multistep_ancestral", **ancestral),
        _sampler("RES multistep CFG++", res.sample_res_multistep_cfg_pp, "res_multistep_cfg_pp", renoises=True),
        _sampler("Gradient estimation", res.sample_gradient_estimation, "gradient_estimation"),
        _sampler(
            "Gradient estimation CFG++",
            res.sample_gradient_estimation_cfg_pp,
            "gradient_estimation_cfg_pp",
            renoises=True,
        ),
        _sampler("ER SDE", stochastic.sample_er_sde, "er_sde", draws_noise=True, s_noise=True),
        _sampler("SEEDS 2", stochastic.sample_seeds_2, "seeds_2", second_order=True, s_noise=True, **ancestral),
        _sampler("SEEDS 3", stochastic.sample_seeds_3, "seeds_3", second_order=True, s_noise=True, **ancestral),
        _sampler("SA-Solver", sa_solver.sample_sa_solver, "sa_solver", s_noise=True, **ancestral),
        _sampler(
            "SA-Solver PECE",
            sa_solver.sample_sa_solver_pece,
            "sa_solver_pece",
            second_order=True,
            s_noise=True,
            **ancestral,
        ),
        _sampler("Euler CFG++", cfg_plus.sample_euler_cfg_pp, "euler_cfg_pp", renoises=True),
        _sampler("Euler a CFG++", cfg_plus.sample_euler_ancestral_cfg_pp, "euler_ancestral_cfg_pp", **ancestral),
        _sampler("DPM++ 2M CFG++", cfg_plus.sample_dpmpp_2m_cfg_pp, "dpmpp_2m_cfg_pp", renoises=True),
        _sampler(
            "DPM++ 2S a CFG++",
            cfg_plus.sample_dpmpp_2s_ancestral_cfg_pp,
            "dpmpp_2s_ancestral_cfg_pp",
            second_order=True,
            s_noise=True,
            **ancestral,
        ),
    ]
