"""Stable unCLIP: a prior makes an image embedding of the prompt (arXiv:2204.06125), a Stable Diffusion 2.1 draws it.

A folder of StableUnCLIPPipeline has all of it. Stability's own folders, of StableUnCLIPImg2ImgPipeline, lack the prior: that of
Karlo (kakaobrain/karlo-v1-alpha), a folder beside, stands in, as diffusers' documentation has it.
"""

from pathlib import Path
from typing import Any

from torch import Tensor

from modules.devices.choice import Compute
from modules.families.autoencoders import KlAutoencoder
from modules.families.whole.folders import class_of, needed_companion
from modules.families.whole.model import Ask
from modules.families.whole.parts import Folder

LABEL = "Stable unCLIP"
CLASSES = ("StableUnCLIPPipeline", "StableUnCLIPImg2ImgPipeline")
COMPANIONS = {"UnCLIPPipeline": "Karlo, whose prior serves Stable unCLIP"}
PRIOR_STEPS = 25  # diffusers' default, and that of its guidance, 4


def load(path: Path, compute: Compute) -> "StableUnclip":
    """Its parts put together; raises ModelFileError naming what is missing."""
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
    from diffusers.models.transformers.prior_transformer import PriorTransformer
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
    from diffusers.pipelines.stable_diffusion.pipeline_stable_unclip import StableUnCLIPPipeline
    from diffusers.pipelines.stable_diffusion.stable_unclip_image_normalizer import StableUnCLIPImageNormalizer
    from diffusers.schedulers.scheduling_ddpm import DDPMScheduler
    from transformers.models.clip.modeling_clip import CLIPTextModel, CLIPTextModelWithProjection

    own = Folder(path=path)
    whole = class_of(path) == CLASSES[0]
    prior = own if whole else needed_companion(path, COMPANIONS, LABEL, "a prior (that of Karlo serves)")
    before = "prior_" if whole else ""
    device, dtype = compute.device, compute.dtype
    vae = own.network("vae", AutoencoderKL, device, compute.vae_dtype)
    pipeline = StableUnCLIPPipeline(
        prior_tokenizer=prior.clip_tokenizer(f"{before}tokenizer"),
        prior_text_encoder=prior.network(f"{before}text_encoder", CLIPTextModelWithProjection, device, dtype),
        prior=prior.network("prior", PriorTransformer, device, dtype),
        prior_scheduler=_prior_scheduler(prior),
        image_normalizer=own.network("image_normalizer", StableUnCLIPImageNormalizer, device, dtype),
        image_noising_scheduler=own.scheduler("image_noising_scheduler", (DDPMScheduler,)),
        tokenizer=own.clip_tokenizer("tokenizer"),
        text_encoder=own.network("text_encoder", CLIPTextModel, device, dtype),
        unet=own.network("unet", UNet2DConditionModel, device, dtype),
        scheduler=own.scheduler("scheduler", _schedulers()),
        vae=vae,
    )
    pipeline.set_progress_bar_config(disable=True)
    return StableUnclip(pipeline, KlAutoencoder(vae, compute, scale=vae.config.scaling_factor))


class StableUnclip:
    """StableUnCLIPPipeline: first 25 steps of the prior, then the steps asked for."""

    label = LABEL
    multiple = 8
    seeded = True

    def __init__(self, pipeline: Any, autoencoder: KlAutoencoder) -> None:
        self._pipeline = pipeline
        self._autoencoder = autoencoder

    def calls(self, steps: int, width: int, height: int) -> int:
        """As Pipeline's."""
        return PRIOR_STEPS + steps

    def draw(self, ask: Ask) -> Tensor:
        """As Pipeline's."""
        scale = self._autoencoder.downscale
        noise = ask.noise((self._autoencoder.channels, ask.height // scale, ask.width // scale))
        latents = self._pipeline(
            prompt=ask.prompt,
            negative_prompt=ask.negative,
            width=ask.width,
            height=ask.height,
            num_inference_steps=ask.steps,
            prior_num_inference_steps=PRIOR_STEPS,
            guidance_scale=ask.scale,
            latents=noise.to(self._pipeline.unet.dtype),
            generator=ask.generator,
            callback=lambda *_: ask.on_step(),
            output_type="latent",
            return_dict=False,
        )[0]
        return self._autoencoder.decode(latents.float())


def _prior_scheduler(prior: Folder) -> Any:
    """DDPM, with Karlo's settings where they are for diffusers' old UnCLIPScheduler (the cosine schedule)."""
    from diffusers.schedulers.scheduling_ddpm import DDPMScheduler
    from diffusers.schedulers.scheduling_unclip import UnCLIPScheduler

    found = prior.scheduler("prior_scheduler", (DDPMScheduler, UnCLIPScheduler))
    return DDPMScheduler.from_config(found.config) if isinstance(found, UnCLIPScheduler) else found


def _schedulers() -> tuple[Any, ...]:
    """Those that the U-Net's folder may name: what Stability's folders do, and what users put there."""
    from diffusers.schedulers.scheduling_ddim import DDIMScheduler
    from diffusers.schedulers.scheduling_ddpm import DDPMScheduler
    from diffusers.schedulers.scheduling_euler_discrete import EulerDiscreteScheduler
    from diffusers.schedulers.scheduling_pndm import PNDMScheduler

    return (PNDMScheduler, DDIMScheduler, DDPMScheduler, EulerDiscreteScheduler)
