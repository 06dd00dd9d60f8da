"""Noise found in img2img's pictures, instead of that of the seeds."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

from modules.core.errors import InputError
from modules.engine.conditions import Guides
from modules.engine.plan import Plan
from modules.families.clip_prompts import TextOptions
from modules.families.model import LoadedModel
from modules.images.detail_map import detail_map
from modules.requests.generation import GenerationRequest
from modules.requests.guidance import TECHNIQUES
from modules.requests.img2img import Img2ImgRequest
from modules.sampling.conditioning import Composed, Scheduled
from modules.sampling.denoiser import NoiseLevels
from modules.sampling.inversion import Retouched, inverted, mixed


@dataclass(frozen=True, kw_only=True)
class Search:
    """How noise is looked for. `cfg_scale` None: by the prompt alone. `deviation`: it is brought to deviation 1 rather than divided by
    its level. `prompts`: those that guide it, None for the picture's own. `renoise` (h, w): how much of each place is the seed's noise."""

    steps: int
    cfg_scale: float | None = None
    prompts: tuple[str, str] | None = None
    at_lower: bool = False
    deviation: bool = False
    retouch: float = 1.0
    randomness: float = 0.0
    renoise: Tensor | None = None

    def plan(self, plan: Plan) -> Plan:
        """The plan as it guides the search: without techniques but tiles."""
        without = dict.fromkeys(name for name in TECHNIQUES if name != "tiled_diffusion")
        scale = 1.0 if self.cfg_scale is None else self.cfg_scale
        request = plan.request.model_copy(update={**without, "cfg_scale": scale, "cfg_rescale": 0.0})
        return replace(plan, request=request, options={**plan.options, "s_min_uncond": 0, "skip_early_cond": 0})

    def guides(self, model: LoadedModel, options: Mapping[str, Any], own: Guides) -> Guides:
        """What guides it: its prompts, which do not change on the way, or the picture's own."""
        if self.prompts is None:
            return own
        text = TextOptions(
            clip_skip=options["CLIP_stop_at_last_layers"],
            emphasis=options["emphasis"],
            comma_padding_backtrack=options["comma_padding_backtrack"],
        )
        cond, uncond = (
            Scheduled.constant(model.prompts.encode([prompt], one)[0])
            for prompt, one in zip(self.prompts, (text, replace(text, negative=True)), strict=True)
        )
        return Guides(cond=Composed(((cond, 1.0),)), uncond=uncond, fields={}, cells=own.cells)

    def levels(self, levels: NoiseLevels) -> NoiseLevels:
        """The model's levels as the search asks at them."""
        return Retouched(levels, self.retouch) if self.retouch != 1 else levels

    def found(
        self, denoiser: Callable[[Tensor, Tensor], Tensor], latents: Tensor, sigmas: Tensor, tell: Callable[[int], None]
    ) -> Tensor:
        """Unit noise (B, C, h, w) at sigmas[0], the levels falling to 0."""
        x = inverted(denoiser, latents, sigmas.flip(0), at_lower=self.at_lower, tell=tell)
        return x / x.std() if self.deviation else x / sigmas[0]

    def noise(self, found: Tensor, latents: Tensor, own: Tensor, top: Tensor) -> Tensor:
        """What is laid over the latents at the beginning of a run whose highest level is `top`: with it nothing is left of them there."""
        if self.deviation or self.renoise is None:
            return mixed(found, own, self.randomness) - latents / top
        return mixed(found - latents / top, own, self.renoise.to(own))


def search_of(request: Any, picture: Image.Image, shape: tuple[int, int]) -> Search | None:
    """What the request asks for, over latents of that height and width; `picture` is the one to draw on."""
    if not isinstance(request, Img2ImgRequest):
        return None
    tiled = request.tiled_diffusion
    if asked := request.inversion:
        return Search(
            steps=asked.steps,
            cfg_scale=asked.cfg_scale,
            prompts=(asked.prompt, asked.negative_prompt),
            at_lower=asked.adjusted,
            deviation=not asked.adjusted,
            randomness=asked.randomness,
        )
    if tiled is None or not tiled.noise_inverse:
        return None
    renoise = None
    if strength := tiled.noise_inverse_renoise_strength:
        detail = torch.from_numpy(detail_map(picture, tiled.noise_inverse_renoise_kernel))
        small = interpolate(detail[None, None], size=shape, mode="bilinear")[0, 0]
        renoise = ((1 - small) * strength).clamp(0, 1)
    return Search(steps=tiled.noise_inverse_steps, retouch=tiled.noise_inverse_retouch, renoise=renoise)


def check_search(model: LoadedModel, request: GenerationRequest) -> None:
    """Raise InputError for a model that noise cannot be found with."""
    if model.prediction == "flow":
        field = "inversion" if getattr(request, "inversion", None) else "tiled_diffusion.noise_inverse"
        raise InputError(
            field,
            f'{field} finds noise with models that predict noise or v; "{model.name}" is a flow model. Turn it off.',
        )
