"""The guidance techniques, token merging, caching and tiling that a request asks for, put to work on a loaded model."""

import math
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from torch import Tensor

from modules.core.errors import InputError
from modules.engine.plan import Plan
from modules.engine.small_coding import DECODE, SmallCoding
from modules.engine.tiled import check_tiled
from modules.families.model import LoadedModel
from modules.families.small_decoders import TAESD
from modules.families.unet import UNetNetwork
from modules.patches.caching import Rows
from modules.patches.deep_cache import branches, deep_cache
from modules.patches.first_block_cache import blocks_of, first_block_cache
from modules.patches.freeu import freeu
from modules.patches.middle_attention import Watch, identity_attention, watched_attention
from modules.patches.tiling import tiling
from modules.patches.token_merging import token_merging
from modules.sampling.attention_guidance import PerturbedAttention, SelfAttention
from modules.sampling.denoiser import TRAIN_STEPS, NoiseLevels
from modules.sampling.flow import FlowLevels
from modules.sampling.guidance import Extras
from modules.sampling.tempering import Rescale, Threshold


class Techniques:
    """What a plan asks for. `sigmas`: the run's noise levels, `levels` the model's. Raises InputError for one that the model has no place for."""

    def __init__(self, plan: Plan, model: LoadedModel, sigmas: Tensor, levels: NoiseLevels) -> None:
        check_techniques(plan, model)
        self._plan = plan
        self._model = model
        self._watch = Watch()
        self._rows = Rows()
        self._sigmas = sigmas
        self._levels = levels
        self._flow = isinstance(levels, FlowLevels)

    @contextmanager
    def patched(self) -> Iterator[None]:
        """The model, patched as long as sampling lasts."""
        request, unet = self._plan.request, self._model.backbone
        with ExitStack() as stack:
            stack.enter_context(tiled(self._model, self._plan))  # previews are decoded meanwhile
            if ratio := self._plan.options["token_merging_ratio"]:
                stack.enter_context(token_merging(unet, ratio))
            if f := request.freeu:
                times = self._times(f.start, f.end)
                patch = freeu(unet, b=(f.b1, f.b2), s=(f.s1, f.s2), adaptive=f.version == 2, times=times)
                stack.enter_context(patch)
            if request.self_attention_guidance:
                stack.enter_context(watched_attention(unet, self._watch))
            if deep := request.deep_cache:
                stack.enter_context(deep_cache(unet, self._rows, interval=deep.interval, branch=deep.branch))
            if cache := request.first_block_cache:
                stack.enter_context(first_block_cache(unet, self._rows, threshold=cache.threshold))
            yield

    @property
    def extras(self) -> Extras:
        """Its part in guidance."""
        request, watch, unet = self._plan.request, self._watch, self._model.backbone
        threshold = self_attention = perturbed = None
        if (fix := request.dynamic_thresholding) and request.cfg_scale:
            threshold = Threshold(
                mimic=fix.mimic_scale / request.cfg_scale,
                percentile=fix.threshold_percentile,
                per_channel=fix.separate_feature_channels == "enable",
                centred=fix.subtract_mean,
                phi=fix.interpolate_phi,
            )
        if sag := request.self_attention_guidance:
            self_attention = SelfAttention(
                attention=lambda: watch.received,
                scale=sag.scale,
                blur=sag.blur_sigma,
                threshold=sag.threshold,
                flow=self._flow,
            )
        if pag := request.perturbed_attention_guidance:
            perturbed = PerturbedAttention(perturbed=lambda: identity_attention(unet), scale=pag.scale)
        rescale = Rescale(phi=request.cfg_rescale, flow=self._flow) if request.cfg_rescale else None
        told = self._rows if request.deep_cache or request.first_block_cache else None
        return Extras(
            threshold=threshold, rescale=rescale, self_attention=self_attention, perturbed=perturbed, told=told
        )

    def _times(self, start: float, end: float) -> tuple[float, float] | None:
        """The model's times at the steps that lie from `start` to `end` of the way, first and last; None where all do."""
        last = max(len(self._sigmas) - 2, 0)  # of the steps
        first, final = math.ceil(start * last), math.floor(end * last)
        if first == 0 and final == last:
            return None
        if first > final:
            return -1.0, 0.0  # none
        ends = self._sigmas[[first, final + 1]].clamp(min=self._levels.sigma_min)
        times = TRAIN_STEPS * ends if self._flow else self._levels.t(ends)
        first_time, next_time = times.tolist()
        return (math.inf if first == 0 else first_time + SLACK), (-1.0 if final == last else next_time + SLACK)


def check_techniques(plan: Plan, model: LoadedModel) -> None:
    """Raise InputError if the plan asks for what the model's network cannot do, or for two things that do not go together."""
    check_tiled(plan)
    if isinstance(model.network, UNetNetwork):
        _check_caching(plan, model)
        return
    if plan.request.first_block_cache and not blocks_of(model.backbone):
        raise InputError(
            "first_block_cache",
            f'first_block_cache does not know the network of "{model.name}", of the family {model.family}. Turn it off.',
        )
    if field := next(iter(asked_of_unets(plan)), None):
        raise InputError(
            field,
            f'{field} changes the U-Nets of Stable Diffusion 1.x, 2.x and XL; "{model.name}" is of the family '
            f"{model.family} and has none. Turn it off.",
        )


def _check_caching(plan: Plan, model: LoadedModel) -> None:
    """Raise InputError if a U-Net cannot use the caches that the plan asks for."""
    request = plan.request
    if request.first_block_cache:
        raise InputError(
            "first_block_cache",
            f'first_block_cache is for transformers; "{model.name}" has a U-Net. Use deep_cache instead.',
        )
    if not request.deep_cache:
        return
    for field in ("self_attention_guidance", "perturbed_attention_guidance"):
        if getattr(request, field):
            raise InputError(
                "deep_cache",
                f"deep_cache leaves out the middle of the U-Net, which {field} works on. Turn one of them off.",
            )
    if (branch := request.deep_cache.branch) >= (count := branches(model.backbone.config)):
        raise InputError(
            "deep_cache.branch",
            f'deep_cache.branch is {branch}: the U-Net of "{model.name}" has branches 0 to {count - 1}. Use one of them.',
        )


def asked_of_unets(plan: Plan) -> list[str]:
    """What the plan asks for that changes how a U-Net computes, by its fields."""
    request = plan.request
    asked = {
        "freeu": request.freeu,
        "self_attention_guidance": request.self_attention_guidance,
        "perturbed_attention_guidance": request.perturbed_attention_guidance,
        "deep_cache": request.deep_cache,
        "tiling": plan.tiling,
        "token_merging_ratio": plan.options["token_merging_ratio"],
    }
    return [field for field, value in asked.items() if value]


SLACK = 1e-3  # in the model's times, against rounding


@contextmanager
def tiled(model: LoadedModel, plan: Plan) -> Iterator[None]:
    """U-Net and autoencoder for pictures that tile, if the plan asks for them."""
    if not plan.tiling:
        yield
        return
    with tiling(model.backbone, model.autoencoder.module):
        yield


def decode(model: LoadedModel, plan: Plan, latents: Tensor, small: SmallCoding | None = None) -> Tensor:
    """`model.decode` as the plan asks for it: (B, C, H/8, W/8) -> (B, 3, H, W) in [0, 1]; by TAESD where the settings want it."""
    if small and plan.options[DECODE] == TAESD:
        return small.decode(model, latents)
    with tiled(model, plan):
        return model.decode(latents)
