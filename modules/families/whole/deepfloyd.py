"""DeepFloyd IF: pixels drawn at 64 x 64 by stage I, and made four times as large by stage II, where its folder is beside and 256 x 256 are asked for (arXiv:2205.11487).

Its prompts are read by T5 in lower case, filled up to 77 tokens. Neither the safety checker nor the watermark of its folder is used.
"""

from pathlib import Path
from typing import Any

from torch import Tensor

from modules.devices.choice import Compute
from modules.families.clip_prompts import TextOptions
from modules.families.t5 import Filling, T5Prompts, t5_prompts
from modules.families.whole.folders import companion
from modules.families.whole.model import Ask
from modules.families.whole.parts import Folder

LABEL = "DeepFloyd IF"
CLASSES = ("IFPipeline",)
COMPANIONS = {"IFSuperResolutionPipeline": "stage II of DeepFloyd IF"}
TOKENS = 77
FACTOR = 4
UPSCALE_STEPS = 50  # diffusers' defaults for stage II
UPSCALE_GUIDANCE = 4.0


def load(path: Path, compute: Compute) -> "DeepFloyd":
    """Its parts put together; raises ModelFileError naming what is missing."""
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
    from diffusers.pipelines.deepfloyd_if.pipeline_if import IFPipeline
    from diffusers.pipelines.deepfloyd_if.pipeline_if_superresolution import IFSuperResolutionPipeline
    from diffusers.schedulers.scheduling_ddpm import DDPMScheduler

    def stage(folder: Folder, kind: Any, **more: Any) -> Any:
        unread = dict.fromkeys(("tokenizer", "text_encoder", "safety_checker", "feature_extractor", "watermarker"))
        pipeline = kind(
            unet=folder.network("unet", UNet2DConditionModel, compute.device, compute.dtype),
            scheduler=folder.scheduler("scheduler", (DDPMScheduler,)),
            requires_safety_checker=False,
            **unread,
            **more,
        )
        pipeline.set_progress_bar_config(disable=True)
        return pipeline

    own, second = Folder(path=path), companion(path, COMPANIONS)
    larger = None
    if second:
        noising = second.scheduler("image_noising_scheduler", (DDPMScheduler,))
        larger = stage(second, IFSuperResolutionPipeline, image_noising_scheduler=noising)
    prompts = t5_prompts(own.weights("text_encoder"), path / "tokenizer", compute, Filling(least=TOKENS))
    return DeepFloyd(stage(own, IFPipeline), larger, prompts)


class DeepFloyd:
    """IFPipeline with the steps and the guidance asked for, then IFSuperResolutionPipeline, 50 steps, for what is 4 times stage I's own size."""

    label = LABEL
    seeded = False  # the pipeline draws all noise itself

    def __init__(self, base: Any, larger: Any | None, prompts: T5Prompts) -> None:
        self._base = base
        self._larger = larger
        self._prompts = prompts
        self.multiple = _halvings(base)
        if larger:
            self.multiple = max(FACTOR * self.multiple, _halvings(larger))

    def calls(self, steps: int, width: int, height: int) -> int:
        """As Pipeline's."""
        return steps + (UPSCALE_STEPS if self._enlarges(width, height) else 0)

    def draw(self, ask: Ask) -> Tensor:
        """As Pipeline's."""
        enlarges = self._enlarges(ask.width, ask.height)
        factor = FACTOR if enlarges else 1
        texts = [text.lower().strip() for text in (ask.negative, ask.prompt)]
        states, _ = self._prompts.read(texts, TextOptions(emphasis="None"))
        negative, prompt = states[:, :-1].chunk(2)
        told = {
            "prompt_embeds": prompt,
            "negative_prompt_embeds": negative,
            "generator": ask.generator,
            "callback": lambda *_: ask.on_step(),
            "output_type": "pt",
            "return_dict": False,
        }
        size = {"width": ask.width // factor, "height": ask.height // factor}
        pixels = self._base(**told, **size, num_inference_steps=ask.steps, guidance_scale=ask.scale)[0]
        if enlarges and self._larger:
            pixels = self._larger(
                **told,
                image=pixels,
                width=ask.width,
                height=ask.height,
                num_inference_steps=UPSCALE_STEPS,
                guidance_scale=UPSCALE_GUIDANCE,
            )[0]
        return pixels.float().cpu().add(1).div(2).clamp(0, 1)

    def _enlarges(self, width: int, height: int) -> bool:
        return self._larger is not None and min(width, height) >= FACTOR * self._base.unet.config.sample_size


def _halvings(pipeline: Any) -> int:
    """What the sides of a U-Net's pictures are multiples of: it halves them between its levels, and A1111's are multiples of 8."""
    return max(8, 2 ** (len(pipeline.unet.config.block_out_channels) - 1))
