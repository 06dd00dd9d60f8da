"""Tiny whole pipelines of seeded random weights, made by diffusers' own classes and saved as folders."""

import string
from pathlib import Path
from typing import Any

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.autoencoders.vq_model import VQModel
from diffusers.models.transformers.prior_transformer import PriorTransformer
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.models.unets.unet_stable_cascade import StableCascadeUNet
from diffusers.pipelines.deepfloyd_if.pipeline_if import IFPipeline
from diffusers.pipelines.deepfloyd_if.pipeline_if_superresolution import IFSuperResolutionPipeline
from diffusers.pipelines.deprecated.wuerstchen.modeling_paella_vq_model import PaellaVQModel
from diffusers.pipelines.kandinsky2_2.pipeline_kandinsky2_2 import KandinskyV22Pipeline
from diffusers.pipelines.kandinsky2_2.pipeline_kandinsky2_2_prior import KandinskyV22PriorPipeline
from diffusers.pipelines.stable_cascade.pipeline_stable_cascade import StableCascadeDecoderPipeline
from diffusers.pipelines.stable_cascade.pipeline_stable_cascade_prior import StableCascadePriorPipeline
from diffusers.pipelines.stable_diffusion.pipeline_stable_unclip import StableUnCLIPPipeline
from diffusers.pipelines.stable_diffusion.stable_unclip_image_normalizer import StableUnCLIPImageNormalizer
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from diffusers.schedulers.scheduling_ddpm import DDPMScheduler
from diffusers.schedulers.scheduling_ddpm_wuerstchen import DDPMWuerstchenScheduler
from diffusers.schedulers.scheduling_unclip import UnCLIPScheduler
from torch import nn
from transformers.models.clip.configuration_clip import CLIPTextConfig, CLIPVisionConfig
from transformers.models.clip.image_processing_clip import CLIPImageProcessor
from transformers.models.clip.modeling_clip import (
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPVisionModelWithProjection,
)
from transformers.models.clip.tokenization_clip import CLIPTokenizer
from transformers.tokenization_utils_tokenizers import PreTrainedTokenizerFast

from tests.tiny_t5 import tiny_t5, tiny_tokenizer

WIDTH = 32
Unet: Any = UNet2DConditionModel  # the libraries' annotations are narrower than what they take
Vae: Any = AutoencoderKL
Cascade: Any = StableCascadeUNet
Unclip: Any = StableUnCLIPPipeline


def clip_tokenizer() -> CLIPTokenizer:
    """CLIP's, of single letters."""
    letters = [*string.ascii_lowercase, *string.digits, *string.punctuation]
    tokens = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(vocab={token: i for i, token in enumerate(tokens)}, merges=[], model_max_length=77)


def text_config() -> CLIPTextConfig:
    """Of the letters' text encoders."""
    count = len(clip_tokenizer())
    return CLIPTextConfig(
        vocab_size=count,
        bos_token_id=count - 2,
        eos_token_id=count - 1,
        pad_token_id=count - 1,
        hidden_size=WIDTH,
        intermediate_size=37,
        num_hidden_layers=2,
        num_attention_heads=4,
        projection_dim=WIDTH,
    )


def prior() -> PriorTransformer:
    """An unCLIP prior whose statistics are not the plain ones."""
    made: Any = PriorTransformer(
        num_attention_heads=2, attention_head_dim=8, num_layers=1, embedding_dim=WIDTH, num_embeddings=77
    )
    made.clip_mean.data.normal_()
    made.clip_std.data.uniform_(0.5, 1.5)
    return made


def karlo_scheduler() -> UnCLIPScheduler:
    """That of the priors of Karlo and Kandinsky."""
    return UnCLIPScheduler(prediction_type="sample", clip_sample_range=5.0, variance_type="fixed_small_log")


def vae() -> AutoencoderKL:
    """Of 4 levels, as Stable Diffusion's."""
    return Vae(
        block_out_channels=(32,) * 4,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        latent_channels=4,
    )


def stable_unclip() -> StableUnCLIPPipeline:
    """The whole of it."""
    normalizer = StableUnCLIPImageNormalizer(embedding_dim=WIDTH)
    normalizer.mean.data.normal_()
    normalizer.std.data.uniform_(0.5, 1.5)
    unet = Unet(
        block_out_channels=(32, 64),
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        layers_per_block=1,
        attention_head_dim=(2, 4),
        cross_attention_dim=WIDTH,
        class_embed_type="projection",
        projection_class_embeddings_input_dim=2 * WIDTH,
        use_linear_projection=True,
    )
    return Unclip(
        prior_tokenizer=clip_tokenizer(),
        prior_text_encoder=CLIPTextModelWithProjection(text_config()),
        prior=prior(),
        prior_scheduler=DDPMScheduler.from_config(karlo_scheduler().config),
        image_normalizer=normalizer,
        image_noising_scheduler=DDPMScheduler(beta_schedule="squaredcos_cap_v2"),
        tokenizer=clip_tokenizer(),
        text_encoder=CLIPTextModel(text_config()),
        unet=unet,
        scheduler=DDIMScheduler(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, steps_offset=1),
        vae=vae(),
    )


def kandinsky_prior() -> KandinskyV22PriorPipeline:
    """Its first half."""
    vision = CLIPVisionConfig(
        hidden_size=WIDTH,
        intermediate_size=37,
        num_hidden_layers=1,
        num_attention_heads=4,
        projection_dim=WIDTH,
        image_size=32,
        patch_size=8,
    )
    return KandinskyV22PriorPipeline(
        prior=prior(),
        image_encoder=CLIPVisionModelWithProjection(vision),
        text_encoder=CLIPTextModelWithProjection(text_config()),
        tokenizer=clip_tokenizer(),
        scheduler=karlo_scheduler(),
        image_processor=CLIPImageProcessor(),
    )


def kandinsky() -> KandinskyV22Pipeline:
    """Its second half."""
    levels = 4
    unet = Unet(
        in_channels=4,
        out_channels=8,
        addition_embed_type="image",
        down_block_types=("ResnetDownsampleBlock2D", "SimpleCrossAttnDownBlock2D"),
        up_block_types=("SimpleCrossAttnUpBlock2D", "ResnetUpsampleBlock2D"),
        mid_block_type="UNetMidBlock2DSimpleCrossAttn",
        block_out_channels=(32, 64),
        layers_per_block=1,
        encoder_hid_dim=WIDTH,
        encoder_hid_dim_type="image_proj",
        cross_attention_dim=WIDTH,
        attention_head_dim=4,
        resnet_time_scale_shift="scale_shift",
        class_embed_type=None,
    )
    movq = VQModel(
        block_out_channels=(32,) * levels,
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        latent_channels=4,
        vq_embed_dim=4,
        num_vq_embeddings=12,
        norm_type="spatial",
    )
    betas: dict[str, Any] = {"beta_schedule": "linear", "beta_start": 0.00085, "beta_end": 0.012}
    scheduler = DDPMScheduler(**betas, variance_type="learned_range", clip_sample=False)
    return KandinskyV22Pipeline(unet=unet, movq=movq, scheduler=scheduler)


def cascade_prior() -> StableCascadePriorPipeline:
    """Stage C."""
    unet = Cascade(
        in_channels=16,
        out_channels=16,
        timestep_ratio_embedding_dim=16,
        conditioning_dim=WIDTH,
        block_out_channels=(32, 32),
        num_attention_heads=(2, 2),
        down_num_layers_per_block=(1, 1),
        up_num_layers_per_block=(1, 1),
        switch_level=(False,),
        clip_text_in_channels=WIDTH,
        clip_text_pooled_in_channels=WIDTH,
        clip_image_in_channels=WIDTH,
        dropout=(0.1, 0.1),
    )
    return StableCascadePriorPipeline(prior=unet, **_cascade_text())


def cascade() -> StableCascadeDecoderPipeline:
    """Stages B and A."""
    unet = Cascade(
        in_channels=4,
        out_channels=4,
        timestep_ratio_embedding_dim=16,
        patch_size=2,
        conditioning_dim=WIDTH,
        block_out_channels=(32, 32),
        num_attention_heads=(-1, 2),
        down_num_layers_per_block=(1, 1),
        up_num_layers_per_block=(1, 1),
        block_types_per_layer=(
            ("SDCascadeResBlock", "SDCascadeTimestepBlock"),
            ("SDCascadeResBlock", "SDCascadeTimestepBlock", "SDCascadeAttnBlock"),
        ),
        clip_text_pooled_in_channels=WIDTH,
        clip_seq=4,
        effnet_in_channels=16,
        pixel_mapper_in_channels=3,
        self_attn=False,
        timestep_conditioning_type=("sca",),
    )
    vqgan = PaellaVQModel(bottleneck_blocks=1, num_vq_embeddings=12, embed_dim=16)
    return StableCascadeDecoderPipeline(decoder=unet, vqgan=vqgan, **_cascade_text())


def floyd(*, larger: bool = False) -> Any:
    """Stage I, or stage II."""
    unet = Unet(
        sample_size=16,
        in_channels=6 if larger else 3,
        out_channels=6,
        layers_per_block=1,
        block_out_channels=(32, 32, 32),
        down_block_types=("ResnetDownsampleBlock2D",) * 3,
        mid_block_type="UNetMidBlock2DSimpleCrossAttn",
        up_block_types=("ResnetUpsampleBlock2D",) * 3,
        cross_attention_dim=WIDTH,
        encoder_hid_dim=WIDTH,
        attention_head_dim=8,
        addition_embed_type="text",
        addition_embed_type_num_heads=2,
        resnet_time_scale_shift="scale_shift",
        time_embedding_act_fn="gelu",
        class_embed_type="timestep" if larger else None,
        mid_block_scale_factor=1.414,
    )
    scheduler = DDPMScheduler(
        beta_schedule="squaredcos_cap_v2", variance_type="learned_range", thresholding=True, sample_max_value=1.5
    )
    parts: dict[str, Any] = {
        "tokenizer": PreTrainedTokenizerFast(tokenizer_object=tiny_tokenizer(), pad_token="<pad>", eos_token="</s>"),
        "text_encoder": tiny_t5(width=WIDTH),
        "unet": unet,
        "scheduler": scheduler,
        "safety_checker": None,
        "feature_extractor": None,
        "watermarker": None,
        "requires_safety_checker": False,
    }
    if not larger:
        return IFPipeline(**parts)
    noising = DDPMScheduler(beta_schedule="squaredcos_cap_v2")
    return IFSuperResolutionPipeline(**parts, image_noising_scheduler=noising)


def floyd_larger() -> Any:
    """Stage II."""
    return floyd(larger=True)


def _cascade_text() -> dict[str, Any]:
    return {
        "tokenizer": clip_tokenizer(),
        "text_encoder": CLIPTextModelWithProjection(text_config()),
        "scheduler": DDPMWuerstchenScheduler(),
    }


PIPELINES = {
    "unclip": stable_unclip,
    "kandinsky-decoder": kandinsky,
    "kandinsky-prior": kandinsky_prior,
    "if": floyd,
    "if-larger": floyd_larger,
    "cascade": cascade,
    "cascade-prior": cascade_prior,
}


def write(folder: Path, *names: str) -> dict[str, Any]:
    """Save those pipelines as folders of their names; the pipelines."""
    made = {}
    for name in names or PIPELINES:
        torch.manual_seed(0)
        made[name] = PIPELINES[name]()
        for part in made[name].components.values():
            if isinstance(part, nn.Module):
                part.eval()
        made[name].set_progress_bar_config(disable=True)
        made[name].save_pretrained(folder / name)
    return made
