"""Whole pictures at full size, through the whole program, against diffusers' own pipeline on the same weights and noise.

ATELIER_PARITY_CHECKPOINT names a Stable Diffusion 1.5 in the layout that people download; random weights will do.
"""

import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint, convert_ldm_vae_checkpoint
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline
from diffusers.schedulers.scheduling_euler_discrete import EulerDiscreteScheduler
from PIL import Image
from safetensors.torch import load_file
from transformers.models.clip.configuration_clip import CLIPTextConfig
from transformers.models.clip.modeling_clip import CLIPTextModel

from modules.core.paths import CHECKPOINT, Paths
from modules.core.settings import Settings
from modules.engine import drawing
from modules.engine.build import build_engine
from modules.families.ldm_keys import TEXT
from modules.families.source import without_prefix
from modules.jobs.executors.base import Cancel
from modules.prompting.chunks import make_chunks
from modules.prompting.tokenizer import build_tokenizer
from modules.requests.events import Done, ImageReady, Order
from modules.requests.txt2img import make_request
from modules.sampling.noise import NoiseSource

FILE = os.environ.get("ATELIER_PARITY_CHECKPOINT", "")
PROMPT, NEGATIVE, SEED = "a lighthouse on a cliff, oil painting", "blurry", 11
STEPS = 4  # 999, 666, 333 and 0: between whole times diffusers interpolates levels otherwise than k-diffusion
SIZE = int(os.environ.get("ATELIER_PARITY_SIZE", "512"))

pytestmark = [
    pytest.mark.parity,
    pytest.mark.skipif(not FILE, reason="ATELIER_PARITY_CHECKPOINT names no checkpoint"),
    pytest.mark.timeout(3000),
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),  # of a scheduler of diffusers
]


def ours(tmp_path, monkeypatch):
    """Latents and picture of the whole program."""
    latents = []
    decode = drawing.decode

    def noted(model, plan, found):
        latents.append(found.clone())
        return decode(model, plan, found)

    monkeypatch.setattr(drawing, "decode", noted)
    engine = build_engine(paths=Paths(data=tmp_path, named=((CHECKPOINT, Path(FILE).parent),)), use_cpu=True)
    values = {"prompt": PROMPT, "negative_prompt": NEGATIVE, "width": SIZE, "height": SIZE, "steps": STEPS}
    request = make_request({**values, "cfg_scale": 7.0, "sampler_name": "Euler"})
    changed = {"sd_model_checkpoint": Path(FILE).name, "randn_source": "CPU", "live_previews_enable": False}
    options = Settings().changed(changed).flat()
    events = list(engine.run(Order(job="t", request=request, seed=SEED, options=options), Cancel()))
    assert isinstance(events[-1], Done), events[-1]
    engine._tools.models.unload()  # two models of this size are too many for most machines
    data = next(event.data for event in events if isinstance(event, ImageReady))
    return latents[0], np.asarray(Image.open(io.BytesIO(data)), dtype=int)


def theirs():
    """Latents and picture of diffusers' pipeline, its weights under its own conversion."""
    tensors = {name: tensor.float() for name, tensor in load_file(FILE).items()}
    parts = pipeline_parts(tensors)
    text = parts["text_encoder"]
    del tensors
    scheduler: Any = EulerDiscreteScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        timestep_spacing="linspace",
        steps_offset=1,  # of no use with linspace, but the pipeline insists
    )
    none: Any = None
    pipeline: Any = StableDiffusionPipeline(
        **parts,
        tokenizer=none,
        scheduler=scheduler,
        safety_checker=none,
        feature_extractor=none,
        requires_safety_checker=False,
    )
    pipeline.set_progress_bar_config(disable=True)
    cond, uncond = (encoded(text, words) for words in (PROMPT, NEGATIVE))
    noise = NoiseSource([SEED], (4, SIZE // 8, SIZE // 8), device=torch.device("cpu"), source="CPU").first()
    with torch.inference_mode():
        latents = pipeline(
            prompt_embeds=cond,
            negative_prompt_embeds=uncond,
            latents=noise.clone(),
            num_inference_steps=STEPS,
            guidance_scale=7.0,
            width=SIZE,
            height=SIZE,
            output_type="latent",
        ).images
        pixels = pipeline.vae.decode(latents / 0.18215).sample.add(1).div(2).clamp(0, 1)
    return latents, (pixels[0].permute(1, 2, 0).numpy() * 255).astype(int)


def pipeline_parts(tensors):
    """diffusers' modules of Stable Diffusion 1.5's published configurations."""
    unet = UNet2DConditionModel(sample_size=64, cross_attention_dim=768, attention_head_dim=8)
    unet.load_state_dict(convert_ldm_unet_checkpoint(dict(tensors), dict(unet.config)))
    levels: dict[str, Any] = {
        "block_out_channels": (128, 256, 512, 512),
        "down_block_types": ("DownEncoderBlock2D",) * 4,
        "up_block_types": ("UpDecoderBlock2D",) * 4,
    }
    vae = AutoencoderKL(**levels, layers_per_block=2, latent_channels=4)
    vae.load_state_dict(convert_ldm_vae_checkpoint(dict(tensors), dict(vae.config)))
    text = CLIPTextModel(
        CLIPTextConfig(
            hidden_size=768,
            intermediate_size=3072,
            num_hidden_layers=12,
            num_attention_heads=12,
            vocab_size=49408,
            max_position_embeddings=77,
            projection_dim=768,
        )
    )
    text.load_state_dict(without_prefix(tensors, TEXT), strict=False)
    return {"unet": unet.eval(), "vae": vae.eval(), "text_encoder": text.eval()}


def encoded(text, words):
    chunks = make_chunks(words, build_tokenizer(), attention=True, backtrack=20)
    with torch.inference_mode():
        return text(torch.tensor([chunk.ids for chunk in chunks])).last_hidden_state


def test_a_picture_is_that_of_diffusers_pipeline(tmp_path, monkeypatch, record_property):
    latents, picture = ours(tmp_path, monkeypatch)
    expected, other = theirs()
    error = float((latents - expected).norm() / expected.norm())
    record_property("parity", f"| diffusers' StableDiffusionPipeline, {SIZE} x {SIZE} | {error:.1e} | 1e-03 |")
    assert picture.std() > 1
    assert error < 1e-3
    assert np.abs(picture - other).max() <= 1
