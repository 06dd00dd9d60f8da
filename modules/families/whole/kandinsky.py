"""Kandinsky 2.2: a prior makes an image embedding of the prompt, a U-Net draws latents of it, MoVQ decodes them (arXiv:2310.03502).

People have it as two folders, the decoder's and the prior's, side by side; a folder saved from the combined pipeline has both.
"""

from pathlib import Path
from typing import Any

from torch import Tensor

from modules.devices.choice import Compute
from modules.families.whole.folders import class_of, needed_companion
from modules.families.whole.model import Ask
from modules.families.whole.parts import Folder

LABEL = "Kandinsky 2.2"
CLASSES = ("KandinskyV22Pipeline", "KandinskyV22CombinedPipeline")
COMPANIONS = {"KandinskyV22PriorPipeline": "the prior of Kandinsky 2.2"}
PRIOR_STEPS = 25  # these two are diffusers' defaults
PRIOR_SCALE = 4.0


def load(path: Path, compute: Compute) -> "Kandinsky":
    """Its parts put together; raises ModelFileError naming what is missing."""
    own = Folder(path=path)
    if class_of(path) == CLASSES[0]:
        return Kandinsky(
            _prior(needed_companion(path, COMPANIONS, LABEL, "its prior"), "", compute), _decoder(own, compute)
        )
    return Kandinsky(_prior(own, "prior_", compute), _decoder(own, compute))


def _prior(folder: Folder, before: str, compute: Compute) -> Any:
    from diffusers.models.transformers.prior_transformer import PriorTransformer
    from diffusers.pipelines.kandinsky2_2.pipeline_kandinsky2_2_prior import KandinskyV22PriorPipeline
    from diffusers.schedulers.scheduling_unclip import UnCLIPScheduler
    from transformers.models.clip.image_processing_clip import CLIPImageProcessor
    from transformers.models.clip.modeling_clip import CLIPTextModelWithProjection, CLIPVisionModelWithProjection

    device, dtype = compute.device, compute.dtype
    pipeline = KandinskyV22PriorPipeline(
        prior=folder.network(f"{before}prior", PriorTransformer, device, dtype),
        image_encoder=folder.network(f"{before}image_encoder", CLIPVisionModelWithProjection, device, dtype),
        text_encoder=folder.network(f"{before}text_encoder", CLIPTextModelWithProjection, device, dtype),
        tokenizer=folder.clip_tokenizer(f"{before}tokenizer"),
        scheduler=folder.scheduler(f"{before}scheduler", (UnCLIPScheduler,)),
        image_processor=CLIPImageProcessor(),  # for pictures among the prompts, which there are none of
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def _decoder(folder: Folder, compute: Compute) -> Any:
    from diffusers.models.autoencoders.vq_model import VQModel
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
    from diffusers.pipelines.kandinsky2_2.pipeline_kandinsky2_2 import KandinskyV22Pipeline
    from diffusers.schedulers.scheduling_ddim import DDIMScheduler
    from diffusers.schedulers.scheduling_ddpm import DDPMScheduler

    pipeline = KandinskyV22Pipeline(
        unet=folder.network("unet", UNet2DConditionModel, compute.device, compute.dtype),
        scheduler=folder.scheduler("scheduler", (DDPMScheduler, DDIMScheduler)),
        movq=folder.network("movq", VQModel, compute.device, compute.vae_dtype),
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


class Kandinsky:
    """KandinskyV22PriorPipeline, 25 steps, then KandinskyV22Pipeline with the steps asked for."""

    label = LABEL
    multiple = 64  # the pipeline rounds other sizes up
    seeded = True

    def __init__(self, prior: Any, decoder: Any) -> None:
        self._prior = prior
        self._decoder = decoder

    def calls(self, steps: int, width: int, height: int) -> int:
        """As Pipeline's."""
        return PRIOR_STEPS + steps

    def draw(self, ask: Ask) -> Tensor:
        """As Pipeline's. No negative prompt is the embedding of a black picture, as the authors have it."""

        def stepped(pipeline: Any, step: int, time: Any, tensors: dict[str, Any]) -> dict[str, Any]:
            ask.on_step()
            return tensors

        embedding, negative = self._prior(
            prompt=ask.prompt,
            negative_prompt=ask.negative or None,
            num_inference_steps=PRIOR_STEPS,
            guidance_scale=PRIOR_SCALE,
            generator=ask.generator,
            callback_on_step_end=stepped,
            return_dict=False,
        )
        movq, unet = self._decoder.movq, self._decoder.unet
        factor = self._decoder.movq_scale_factor
        latents = self._decoder(
            image_embeds=embedding,
            negative_image_embeds=negative,
            width=ask.width,
            height=ask.height,
            num_inference_steps=ask.steps,
            guidance_scale=ask.scale,
            latents=ask.noise((unet.config.in_channels, ask.height // factor, ask.width // factor)).to(unet.dtype),
            generator=ask.generator,
            callback_on_step_end=stepped,
            output_type="latent",
            return_dict=False,
        )[0]
        pixels = movq.decode(latents.to(movq.dtype), force_not_quantize=True, return_dict=False)[0]
        return pixels.float().cpu().add(1).div(2).clamp(0, 1)
