"""Whose names are read, and as what."""

import pytest

from modules.networks.naming import TEXT_1, TEXT_2, TEXT_3, UNET, Name, read_name

Q = "down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q"
DOTS = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"
CLIP = "encoder_layers_0_self_attn_q_proj"


@pytest.mark.parametrize(
    ("key", "name"),
    [
        (f"lora_unet_{Q}.lora_up.weight", Name(UNET, Q, "up")),
        (f"lora_unet_{Q}.alpha", Name(UNET, Q, "alpha")),
        (f"lycoris_{Q}.hada_w1_a", Name(UNET, Q, "hada_w1_a")),
        (f"unet.{DOTS}.lora_A.weight", Name(UNET, Q, "down")),
        (f"unet.{DOTS}.lora_A.default.weight", Name(UNET, Q, "down")),
        (f"base_model.model.{DOTS}.lora_B.weight", Name(UNET, Q, "up")),
        (f"unet.{DOTS}.lora.down.weight", Name(UNET, Q, "down")),
        (f"unet.{DOTS.removesuffix('.to_q')}.processor.to_q_lora.up.weight", Name(UNET, Q, "up")),
        (
            f"unet.{DOTS.removesuffix('.to_q')}.processor.to_out_lora.up.weight",
            Name(UNET, Q.replace("to_q", "to_out_0"), "up"),
        ),
        (
            "transformer.transformer_blocks.0.attn.to_q.lora_A.weight",
            Name(UNET, "transformer_blocks_0_attn_to_q", "down"),
        ),
        ("transformer_blocks.0.attn.to_q.lora_A.weight", Name(UNET, "transformer_blocks_0_attn_to_q", "down")),
        ("diffusion_model.layers.0.attention.qkv.lora_A.weight", Name(UNET, "layers_0_attention_qkv", "down")),
        ("lora_te_text_model_encoder_layers_0_self_attn_q_proj.lora_down.weight", Name(TEXT_1, CLIP, "down")),
        ("lora_te2_text_model_encoder_layers_0_self_attn_q_proj.dora_scale", Name(TEXT_2, CLIP, "dora_scale")),
        ("lycoris_text_model_encoder_layers_0_self_attn_q_proj.lokr_w1", Name(TEXT_1, CLIP, "lokr_w1")),
        (
            "text_encoder.text_model.encoder.layers.0.self_attn.q_proj.lora_linear_layer.up.weight",
            Name(TEXT_1, CLIP, "up"),
        ),
        (
            "lora_te3_encoder_block_0_layer_0_SelfAttention_q.lora_up.weight",
            Name(TEXT_3, "encoder_block_0_layer_0_SelfAttention_q", "up"),
        ),
        ("text_encoders.t5xxl.transformer.shared.diff", Name(TEXT_3, "shared", "diff")),
        (f"unet.{DOTS}.lora_magnitude_vector", Name(UNET, Q, "magnitude")),
        ("lora_unet_x_to_k.on_input", Name(UNET, "x_to_k", "on_input")),
        ("lora_unet_x.oft_blocks", Name(UNET, "x", "oft_blocks")),
        ("lora_unet_x.a1.weight", Name(UNET, "x", "a1")),
        (f"base_model.model.{DOTS}.ia3_l", Name(UNET, Q, "ia3")),
        (f"base_model.model.{DOTS}.oft_R.weight", Name(UNET, Q, "oft_upper")),
        (f"unet.{DOTS}.oft_R.default.weight", Name(UNET, Q, "oft_upper")),
        (f"unet.{DOTS}.oft_r", Name(UNET, Q, "oft_whole")),
        (f"unet.{DOTS}.oft_s", Name(UNET, Q, "oft_scales")),
        ("something", None),
        ("unet.block.lora_A", None),
    ],
)
def test_names(key, name):
    assert read_name(key) == name
