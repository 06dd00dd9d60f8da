"""Parts in files of their own: told apart by names and shapes, named as a single file has them."""

import pytest
import torch

from modules.families import naming
from modules.families.pieces import PIECES, describe, piece_of, preferred
from modules.families.source import BACKBONE, text_prefix
from modules.families.vae import build_vae
from tests.families.test_sdxl import Parts
from tests.tiny import ldm_tensors, tiny_parts

CLIP = {"embeddings.token_embedding.weight": (49408, 768), "encoder.layers.0.mlp.fc1.weight": (3072, 768)}
T5 = {"shared.weight": (32128, 4096), "encoder.block.0.layer.0.SelfAttention.q.weight": (4096, 4096)}
BIAS = "encoder.block.{}.layer.0.SelfAttention.relative_attention_bias.weight"


def language(width, *inside, prefix="model."):
    names = ("self_attn.q_proj.weight", *inside)
    layers = {f"{prefix}layers.0.{name}": (width, width) for name in names}
    return {f"{prefix}embed_tokens.weight": (1000, width), **layers}


def with_prefix(prefix, shapes):
    return {prefix + name: shape for name, shape in shapes.items()}


def vae(*first, **more):
    return {"decoder.conv_in.weight": first, "decoder.norm_out.weight": (8,), **more}


@pytest.mark.parametrize(
    ("shapes", "kind"),
    [
        (CLIP, "clip_l"),
        (with_prefix("text_model.", CLIP), "clip_l"),
        (with_prefix("transformer.text_model.", CLIP), "clip_l"),
        (with_prefix("text_encoders.clip_l.transformer.text_model.", CLIP), "clip_l"),
        ({"token_embedding.weight": (49408, 1024), "transformer.resblocks.0.ln_1.weight": (1024,)}, "clip_h"),
        ({"text_model.embeddings.token_embedding.weight": (49408, 1280)}, "clip_g"),
        (T5, "t5xxl"),
        (with_prefix("transformer.", T5), "t5xxl"),
        ({**T5, BIAS.format(0): (32, 64)}, "t5xxl"),
        ({**T5, BIAS.format(1): (32, 64)}, "umt5xxl"),
        (
            {"encoder.block.0.layer.0.SelfAttention.q.weight": (2048, 2048), BIAS.format(1): (32, 64)},
            "pile_t5xl",
        ),
        (language(3584, "self_attn.q_proj.bias"), "qwen25_7b"),
        (language(3584, "self_attn.q_proj.bias", prefix="model.language_model."), "qwen25_7b"),
        (language(2560, "self_attn.q_norm.weight"), "qwen3_4b"),
        (language(4096, "self_attn.q_norm.weight", prefix=""), "qwen3_8b"),
        (language(2304, "pre_feedforward_layernorm.weight"), "gemma2_2b"),
        (language(5120), "mistral3_24b"),
        (language(4096, "mlp.gate_up_proj.weight", prefix=""), "glm4"),
        (vae(512, 4, 3, 3), "vae_kl4"),
        (with_prefix("first_stage_model.", vae(512, 16, 3, 3)), "vae_kl16"),
        (vae(512, 32, 3, 3), "vae_flux2"),
        (vae(384, 16, 3, 3, 3), "vae_qwen"),
        ({"decoder.conv1.weight": (384, 16, 3, 3, 3)}, "vae_qwen"),
        ({"encoder.stages.0.op_list.0.main.conv1.conv.weight": (128, 128, 3, 3)}, "vae_dc"),
        ({"double_blocks.0.img_attn.qkv.weight": (9, 3)}, None),
        ({"lora_unet_mid.lora_up.weight": (9, 3)}, None),
    ],
)
def test_each_is_told_by_names_and_shapes(shapes, kind):
    found = piece_of(shapes)
    assert (found.kind if found else None) == kind


def test_a_width_that_none_has_is_told_by_the_files_name():
    tiny = {"text_model.embeddings.token_embedding.weight": (1000, 64)}
    assert [getattr(piece_of(tiny, file), "kind", None) for file in ("clip_g.safetensors", "x.safetensors")] == [
        "clip_g",
        "clip_l",
    ]


@pytest.mark.parametrize(
    ("shapes", "said"),
    [
        ({"lora_unet_mid.lora_up.weight": (9, 3)}, "is a LoRA"),
        ({"transformer.x.lora_A.weight": (9, 3)}, "is a LoRA"),
        ({"control_model.input_blocks.0.0.weight": (9, 3)}, "is a ControlNet"),
        ({"emb_params": (2, 768)}, "is an embedding"),
        ({"model.0.weight": (64, 3, 3, 3)}, "is an upscaler"),
        (T5, "is the text encoder T5-XXL, not a whole model"),
        ({"model.diffusion_model.time_embed.guidance_embedder.linear_1.weight": (9, 9)}, "is Sana Sprint"),
        ({"cfg_embedder.mlp.0.weight": (9, 9)}, "is Sana Sprint"),
        (
            {"model.diffusion_model.clip_txt_mapper.weight": (9, 9)},
            "is a stage of Stable Cascade, which is drawn with from its diffusers folders alone",
        ),
        ({"whatever": (1,)}, "is of a kind that is not known here"),
    ],
)
def test_what_is_no_model_is_described(shapes, said):
    assert describe(shapes) == said


def test_well_known_names_come_first():
    names = {"ae.safetensors": 1, "sd3_vae.safetensors": 2, "sub/flux1.safetensors": 3}
    piece = PIECES["vae_kl16"]
    assert preferred("Stable Diffusion 3", piece, names) == ["sd3_vae.safetensors"]
    assert preferred("FLUX.1", piece, names) == ["ae.safetensors", "sub/flux1.safetensors"]
    assert preferred("FLUX.1", piece, {"x": 1, "y": 2}) == ["x", "y"]


def test_text_encoders_get_transformers_names_and_back():
    parts = Parts(refiner=False)
    big_g = dict(parts.big_g.named_parameters())
    named = naming.text_named("clip_g", big_g)
    assert "text_model.encoder.layers.0.self_attn.q_proj.weight" in named
    found = naming.part_named("clip_g", big_g, "conditioner.embedders.1.model.")
    wanted = {name: t for name, t in parts.tensors.items() if name.startswith("conditioner.embedders.1.model.")}
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)
    again = naming.text_named("clip_g", found)
    assert again.keys() == named.keys()
    assert all(torch.equal(again[name], named[name]) for name in named)
    assert f"{text_prefix('clip_g')}text_projection.weight" in naming.part_named("clip_g", found, text_prefix("clip_g"))


def test_networks_of_any_program_stand_behind_the_backbone():
    whole = ldm_tensors(tiny_parts())
    wanted = {name: t for name, t in whole.items() if name.startswith(BACKBONE)}
    bare = {name.removeprefix(BACKBONE): t for name, t in wanted.items()}
    module = dict(tiny_parts()["unet"].named_parameters())
    for tensors in (wanted, bare, naming.prefixed("diffusion_model.", bare), module):
        found = naming.checkpoint_named(tensors)
        assert found.keys() == wanted.keys()
        assert all(torch.equal(found[name], wanted[name]) for name in wanted)


def test_headers_alone_are_named_alike():
    module = dict(tiny_parts()["unet"].named_parameters())
    real = naming.shapes_of(naming.checkpoint_named(module))
    assert naming.shapes_of(naming.checkpoint_named(naming.weightless(naming.shapes_of(module)))) == real


def test_vaes_of_either_naming_become_one():
    parts = tiny_parts()
    found = naming.vae_named(naming.prefixed("vae.", dict(parts["vae"].named_parameters())))
    built = build_vae(found, torch.device("cpu"), torch.float32)
    assert all(
        torch.equal(own, other)
        for (_, own), (_, other) in zip(built.named_parameters(), parts["vae"].named_parameters(), strict=True)
    )
