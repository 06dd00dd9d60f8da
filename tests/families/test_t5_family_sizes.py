"""The published sizes of models that read T5, known from shapes alone: no tensor here has memory. And half precision, on tiny ones."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from accelerate import init_empty_weights
from diffusers.models.transformers.auraflow_transformer_2d import AuraFlowTransformer2DModel
from diffusers.models.transformers.transformer_flux import FluxTransformer2DModel
from diffusers.models.transformers.transformer_sd3 import SD3Transformer2DModel

from modules.families import aura_flow, chroma, flux, sd3
from modules.families.t5 import build_t5
from tests.tiny_flux import flux_parts, tiny_chroma, tiny_flux
from tests.tiny_modern import CPU, source_of, tensors_of
from tests.tiny_sd3 import aura_parts, sd3_named, sd3_parts, tiny_aura, tiny_sd3
from tests.tiny_t5 import write_tokenizer

NOWHERE = replace(CPU, device=torch.device("meta"))
FLUX: dict[str, Any] = {"guidance_embeds": True}  # the rest are diffusers' defaults: FLUX.1 dev's
SD3: dict[str, Any] = {"pooled_projection_dim": 2048, "joint_attention_dim": 4096, "in_channels": 16}


@pytest.mark.parametrize(
    "config", [FLUX, {}, {**FLUX, "in_channels": 384, "out_channels": 64}], ids=["dev", "schnell", "Fill"]
)
def test_flux(config):
    with init_empty_weights():
        theirs = FluxTransformer2DModel(**config)
    ours: Any = flux.build_backbone(tensors_of(theirs), NOWHERE)
    own = {**theirs.config, "out_channels": 64, "axes_dims_rope": (16, 56, 56)}
    assert {name: ours.config[name] for name in own if not name.startswith("_")} == {
        name: value for name, value in own.items() if not name.startswith("_")
    }


@pytest.mark.parametrize(
    ("layers", "second", "norm", "places"),
    [(24, 0, None, 192), (24, 13, "rms_norm", 384), (38, 0, "rms_norm", 192)],
    ids=["3 medium", "3.5 medium", "3.5 large"],
)
def test_sd3(layers, second, norm, places):
    config = {**SD3, "num_layers": layers, "num_attention_heads": layers, "caption_projection_dim": 64 * layers}
    with init_empty_weights():
        theirs = SD3Transformer2DModel(
            **config, pos_embed_max_size=1, sample_size=2, qk_norm=norm, dual_attention_layers=tuple(range(second))
        )
    weights = tensors_of(theirs)
    weights["pos_embed.pos_embed"] = torch.empty(1, places**2, 64 * layers, device="meta")
    ours: Any = sd3.build_backbone(weights, NOWHERE)
    for name in (*config, "qk_norm", "dual_attention_layers"):
        assert ours.config[name] == theirs.config[name], name
    assert ours.pos_embed.pos_embed_max_size == places


@pytest.mark.parametrize("places", [4096, 9216])
def test_aura_flow(places):
    with init_empty_weights():
        theirs = AuraFlowTransformer2DModel(pos_embed_max_size=places)
    ours: Any = aura_flow.build_backbone(tensors_of(theirs), NOWHERE)
    for name in theirs.config:
        assert name.startswith("_") or name == "sample_size" or ours.config[name] == theirs.config[name], name


@pytest.mark.parametrize("pile", [False, True])
def test_t5(pile):
    """T5 v1.1 XXL, and Pile-T5 XL."""
    vocabulary, width, forward, heads = (32128, 2048, 5120, 32) if pile else (32128, 4096, 10240, 64)
    shapes = {"shared.weight": (vocabulary, width), "encoder.final_layer_norm.weight": (width,)}
    for i in range(24):
        layer = f"encoder.block.{i}.layer"
        shapes |= {f"{layer}.0.SelfAttention.{name}.weight": (heads * 64, width) for name in "qkv"}
        shapes |= {f"{layer}.{k}.layer_norm.weight": (width,) for k in (0, 1)}
        shapes |= {f"{layer}.1.DenseReluDense.wi_{k}.weight": (forward, width) for k in (0, 1)}
        shapes[f"{layer}.0.SelfAttention.o.weight"] = (width, heads * 64)
        shapes[f"{layer}.1.DenseReluDense.wo.weight"] = (width, forward)
        if pile or i == 0:
            shapes[f"{layer}.0.SelfAttention.relative_attention_bias.weight"] = (32, heads)
    tensors = {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}
    config: Any = build_t5(tensors, NOWHERE).config
    assert (config.d_kv, config.num_heads, config.num_layers, config.d_ff) == (64, heads, 24, forward)
    assert config.model_type == ("umt5" if pile else "t5")


@torch.inference_mode()
@pytest.mark.parametrize("family", [flux, chroma, sd3, aura_flow], ids=lambda family: family.LABEL)
def test_half_precision_is_bfloat16(family, tmp_path):
    folder = write_tokenizer(tmp_path)
    networks: Any = {flux: tiny_flux, chroma: tiny_chroma, sd3: tiny_sd3, aura_flow: tiny_aura}
    parts = {sd3: sd3_parts, aura_flow: aura_parts}.get(family, flux_parts)()
    network = networks[family]()
    tensors = sd3_named(network) if family is sd3 else tensors_of(network)
    whole = source_of(parts, tensors, t5xxl=folder, pile_t5xl=folder)
    exact, half = (
        family.load(replace(whole, compute=replace(CPU, dtype=kind))) for kind in (torch.float32, torch.float16)
    )
    assert half.backbone.dtype is torch.bfloat16
    x, t = torch.randn(1, exact.latent_channels, 8, 8), torch.tensor([0.512])
    answers = []
    for model in (exact, half):
        context = model.prompts.encode(["a red star"])
        assert context.dtype is torch.float32
        answers.append(
            model.denoiser(guidance=2.0)(x, t, context=context)
        )  # 2000 and 512 are in bfloat16 what they are
    assert answers[1].dtype is torch.float32
    assert (answers[0] - answers[1]).norm() < 0.1 * answers[0].norm()
