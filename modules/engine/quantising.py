"""U-Nets in int8: quantised once, by what goes through them while they denoise."""

import logging

import torch

from modules.devices.choice import Compute
from modules.families.compiled import CompiledUNet
from modules.families.model import LoadedModel
from modules.families.source import Tell, untold
from modules.sampling.guidance import Guided
from modules.sampling.noise import NoiseSource
from modules.sampling.registry import build_samplers
from modules.sampling.schedules import build_schedules

log = logging.getLogger(__name__)

PROMPTS = (
    "a portrait photo of an old man with a hat, soft light",
    "a red fox in the snow, watercolour",
    "a city street at night, rain, neon signs",
    "a wooden table with fruit, oil painting",
    "mountains behind a lake, wide landscape, morning",
    "1girl, blue hair, school uniform, smile, anime",
)
NEGATIVE = "blurry, low quality"
STEPS, SCALE = 12, 7.0
SAMPLES = 36
"""Rows that ranges are taken from, of all that these prompts come to."""


def quantised(model: LoadedModel, tell: Tell, warn: Tell = untold) -> LoadedModel:
    """The model, its U-Net in int8 if its compute asks for that and it runs compiled; where that fails, as it was, which `warn` is
    told of, once."""
    unet, compute = model.backbone, model.compute
    if not _wanted(compute) or not isinstance(unet, CompiledUNet):
        return model
    if unet.part.gave_up or unet.part.quantised or unet.part.use_quantised():
        return model
    try:
        unet.part.check_memory()
        tell("the U-Net in int8 (once): drawing to measure it")
        samples = _samples(model, unet)
        tell("the U-Net in int8 (once): quantising it, some minutes")
        unet.part.quantise(samples)
    except RuntimeError as error:
        unet.part.gave_up = True
        said = f"The U-Net stays in bfloat16, it could not be quantised: {error}."
        log.warning("%s", said)
        warn(said)
    return model


def _wanted(compute: Compute) -> bool:
    return compute.compiled is not None and compute.compiled.precision == "int8"


def _samples(model: LoadedModel, unet: CompiledUNet) -> list[tuple[torch.Tensor, ...]]:
    """Evenly spread rows of what the U-Net is asked while it draws PROMPTS at its native size."""
    sampler = build_samplers().get("Euler a")
    sigmas = sampler.sigmas(STEPS, build_schedules().get("Karras"), model.levels)
    side = model.native_size // model.downscale
    rows: list[tuple[torch.Tensor, ...]] = []
    with torch.inference_mode(), unet.watched(rows):
        for seed, prompt in enumerate(PROMPTS):
            noise = NoiseSource([seed], (model.latent_channels, side, side), device=model.compute.device)
            told, untold = model.prompts.encode([prompt]), model.prompts.encode([NEGATIVE])
            extra = None
            if model.extra_channels:
                extra = torch.zeros(1, model.extra_channels, side, side)
            guided = Guided(model.denoiser(), told, untold, scale=SCALE, extra=extra)
            sampler.sample(guided, noise.first() * sigmas[0], sigmas, noise_sampler=noise.sampler)
    return rows[:: max(len(rows) // SAMPLES, 1)][:SAMPLES]
