"""The starter's three modules, untrained: Stable Diffusion 1.x made small."""

from typing import Any

from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

LATENT_SCALE = 0.18215
TOKENS, PAD, START = 77, 49407, 49406
WIDTH = 128
CHANNELS = (64, 128, 192)


def make_autoencoder() -> AutoencoderKL:
    """(B, 3, 128, 128) in [-1, 1] <-> (B, 4, 16, 16)."""
    levels: dict[str, Any] = {
        "down_block_types": ("DownEncoderBlock2D",) * 4,
        "up_block_types": ("UpDecoderBlock2D",) * 4,
        "block_out_channels": (32, 64, 64, 128),
    }
    return AutoencoderKL(
        **levels, layers_per_block=1, latent_channels=4, norm_num_groups=32, scaling_factor=LATENT_SCALE
    )


def make_text_encoder() -> CLIPTextModel:
    """(B, 77) token ids -> (B, 77, 128)."""
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=49408, hidden_size=WIDTH, intermediate_size=4 * WIDTH, num_hidden_layers=4, num_attention_heads=WIDTH // 64,
            max_position_embeddings=TOKENS, hidden_act="quick_gelu", bos_token_id=START, eos_token_id=PAD, pad_token_id=PAD,
        )
    )  # fmt: skip


def make_unet(channels: tuple[int, ...] = CHANNELS) -> UNet2DConditionModel:
    """(B, 4, 16, 16) noisy latents, time steps, (B, 77, 128) -> predicted noise."""
    last = len(channels) - 1
    return UNet2DConditionModel(
        sample_size=16,
        block_out_channels=channels,
        down_block_types=("CrossAttnDownBlock2D",) * last + ("DownBlock2D",),
        up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * last,
        layers_per_block=1,
        attention_head_dim=8,  # diffusers' name for the number of heads in SD 1.x
        cross_attention_dim=WIDTH,
    )
