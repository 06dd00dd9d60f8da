"""Stable Cascade (arXiv:2306.00637): stage C draws latents 42 times smaller than the picture, stage B finer ones of them, stage A, a VQGAN, decodes.

People have it as two folders, stabilityai's stable-cascade (stages B and A) and stable-cascade-prior (stage C), side by side.
"""

import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from modules.devices.choice import Compute
from modules.families.whole.folders import class_of, needed_companion
from modules.families.whole.model import Ask
from modules.families.whole.parts import Folder

LABEL = "Stable Cascade"
CLASSES = ("StableCascadeDecoderPipeline", "StableCascadeCombinedPipeline")
COMPANIONS = {"StableCascadePriorPipeline": "the prior (stage C) of Stable Cascade"}
DECODER_STEPS = 10  # diffusers' default; and there is no guidance in stage B


def load(path: Path, compute: Compute) -> "StableCascade":
    """Its parts put together; raises ModelFileError naming what is missing."""
    own = Folder(path=path)
    if class_of(path) == CLASSES[0]:
        prior = needed_companion(path, COMPANIONS, LABEL, "its prior (stage C)")
        return StableCascade(_prior(prior, "", compute), _decoder(own, compute), compute)
    return StableCascade(_prior(own, "prior_", compute), _decoder(own, compute), compute)


def _prior(folder: Folder, before: str, compute: Compute) -> Any:
    """Stage C in bfloat16 where others are in float16, whose range it leaves."""
    from diffusers.models.unets.unet_stable_cascade import StableCascadeUNet
    from diffusers.pipelines.stable_cascade.pipeline_stable_cascade_prior import StableCascadePriorPipeline

    dtype = torch.bfloat16 if compute.dtype == torch.float16 else compute.dtype
    pipeline = StableCascadePriorPipeline(
        prior=folder.network(f"{before}prior", StableCascadeUNet, compute.device, dtype),
        **_text(folder, before, compute.device, dtype),
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def _decoder(folder: Folder, compute: Compute) -> Any:
    from diffusers.models.unets.unet_stable_cascade import StableCascadeUNet
    from diffusers.pipelines.deprecated.wuerstchen.modeling_paella_vq_model import PaellaVQModel
    from diffusers.pipelines.stable_cascade.pipeline_stable_cascade import StableCascadeDecoderPipeline

    pipeline = StableCascadeDecoderPipeline(
        decoder=folder.network("decoder", StableCascadeUNet, compute.device, compute.dtype),
        vqgan=folder.network("vqgan", PaellaVQModel, compute.device, compute.vae_dtype),
        **_text(folder, "", compute.device, compute.dtype),
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def _text(folder: Folder, before: str, device: torch.device, dtype: torch.dtype) -> dict[str, Any]:
    """What both pipelines have of the same kind: OpenCLIP's bigG, and the scheduler."""
    from diffusers.schedulers.scheduling_ddpm_wuerstchen import DDPMWuerstchenScheduler
    from transformers.models.clip.modeling_clip import CLIPTextModelWithProjection

    return {
        "tokenizer": folder.clip_tokenizer(f"{before}tokenizer"),
        "text_encoder": folder.network(f"{before}text_encoder", CLIPTextModelWithProjection, device, dtype),
        "scheduler": folder.scheduler(f"{before}scheduler", (DDPMWuerstchenScheduler,)),
    }


class StableCascade:
    """StableCascadePriorPipeline with the steps and the guidance asked for, then StableCascadeDecoderPipeline, 10 steps without."""

    label = LABEL
    multiple = 128  # others come out at another size than asked for: stage C has a latent for 42.67 pixels
    seeded = True

    def __init__(self, prior: Any, decoder: Any, compute: Compute) -> None:
        self._prior = prior
        self._decoder = decoder
        self._compute = compute

    def calls(self, steps: int, width: int, height: int) -> int:
        """As Pipeline's."""
        return steps + DECODER_STEPS

    def draw(self, ask: Ask) -> Tensor:
        """As Pipeline's."""

        def stepped(pipeline: Any, step: int, time: Any, tensors: dict[str, Any]) -> dict[str, Any]:
            ask.on_step()
            return tensors

        told = {
            "prompt": ask.prompt,
            "negative_prompt": ask.negative,
            "generator": ask.generator,
            "callback_on_step_end": stepped,
        }
        prior = self._prior.prior
        h, w = (math.ceil(side / self._prior.config.resolution_multiple) for side in (ask.height, ask.width))
        embedding = self._prior(
            **told,
            width=ask.width,
            height=ask.height,
            num_inference_steps=ask.steps,
            guidance_scale=ask.scale,
            latents=ask.noise((prior.config.in_channels, h, w)).to(prior.dtype),
            return_dict=False,
        )[0]
        latents = self._decoder(
            embedding.to(self._compute.dtype),
            **told,
            num_inference_steps=DECODER_STEPS,
            guidance_scale=0.0,
            output_type="latent",
            return_dict=False,
        )
        vqgan = self._decoder.vqgan
        return (
            vqgan.decode(latents.to(vqgan.dtype) * vqgan.config.scale_factor, return_dict=False)[0]
            .float()
            .cpu()
            .clamp(0, 1)
        )
