"""Sana of random weights, as diffusers' own classes and pipeline have it."""

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderDC, FlowMatchEulerDiscreteScheduler, SanaPipeline, SanaTransformer2DModel
from tokenizers.processors import TemplateProcessing
from transformers import Gemma2Config, Gemma2Model

from modules.core.errors import ModelFileError
from modules.families import sana
from modules.families.clip_prompts import TextOptions
from modules.families.naming import vae_named
from modules.families.source import BACKBONE, text_prefix
from modules.requests.events import Failed
from tests.families.tiny_language import (
    COMPUTE,
    SEED,
    SENTENCE,
    VOCABULARY,
    byte_tokenizer,
    checkpoint,
    claimants,
    drawing,
    named,
    noise,
    picture,
    seeded,
    source,
    transformers_tokenizer,
    write_tokenizer,
)

WIDTH = 64
ORIGINAL = {
    "patch_embed.": "x_embedder.",
    "time_embed.emb.timestep_embedder.linear_1": "t_embedder.mlp.0",
    "time_embed.emb.timestep_embedder.linear_2": "t_embedder.mlp.2",
    "time_embed.linear": "t_block.1",
    "caption_projection.linear_": "y_embedder.y_proj.fc",
    "caption_norm.": "attention_y_norm.",
    "transformer_blocks.": "blocks.",
    ".attn1.to_out.0.": ".attn.proj.",
    ".attn2.to_out.0.": ".cross_attn.proj.",
    ".attn2.to_q.": ".cross_attn.q_linear.",
    ".attn1.norm_": ".attn.~",
    ".attn2.norm_": ".cross_attn.~",
    "~q.": "q_norm.",
    "~k.": "k_norm.",
    ".ff.conv_inverted.": ".mlp.inverted_conv.conv.",
    ".ff.conv_depth.": ".mlp.depth_conv.conv.",
    ".ff.conv_point.": ".mlp.point_conv.conv.",
    "proj_out.": "final_layer.linear.",
}


def original(tensors, size=32):
    """diffusers' names as the authors' files have them; `size` in latents."""
    found = {"pos_embed": torch.zeros(1, size**2, WIDTH), "y_embedder.y_embedding": torch.zeros(300, 32)}
    for name, tensor in tensors.items():
        pair = [name.replace("to_k", other) for other in ("to_k", "to_v")]
        if ".attn1.to_q." in name:
            three = [tensor, *(tensors[name.replace("to_q", other)] for other in ("to_k", "to_v"))]
            name, tensor = name.replace("attn1.to_q", "attn.qkv"), torch.cat(three)
        elif ".attn2.to_k." in name:
            name, tensor = name.replace("attn2.to_k", "cross_attn.kv_linear"), torch.cat([tensors[key] for key in pair])
        elif ".to_k." in name or ".to_v." in name:
            continue
        for ours, theirs in ORIGINAL.items():
            name = name.replace(ours, theirs)
        found["final_layer.scale_shift_table" if name == "scale_shift_table" else name] = tensor
    return found


def dc_vae(seed=1):
    """Of 6 levels, as the published one, and its kinds of blocks."""
    widths = (16, 16, 16, 16, 32, 32)
    kinds = ("ResBlock",) * 4 + ("EfficientViTBlock",) * 2
    parts = ("block_types", "block_out_channels", "layers_per_block", "qkv_multiscales")
    values = (kinds, widths, (1, 1, 1, 1, 1, 2), ((),) * 4 + ((5,), ()))
    halves: dict[str, Any] = {
        f"{half}_{name}": v for half in ("encoder", "decoder") for name, v in zip(parts, values, strict=True)
    }
    return seeded(
        AutoencoderDC(
            latent_channels=8,
            attention_head_dim=32,
            downsample_block_type="conv",
            upsample_block_type="interpolate",
            scaling_factor=0.41407,
            **halves,
        ),
        seed,
    )


VAE_ORIGINAL = (
    (r"^encoder\.conv_in\.", "encoder.project_in.conv."),
    (r"^encoder\.conv_out\.", "encoder.project_out.main.0.conv."),
    (r"^decoder\.conv_in\.", "decoder.project_in.main.conv."),
    (r"^decoder\.norm_out\.", "decoder.project_out.0."),
    (r"^decoder\.conv_out\.", "decoder.project_out.2.conv."),
    (r"\.(down|up)_blocks\.(\d+)\.(\d+)\.", r".stages.\2.op_list.\3."),
    (r"(op_list\.\d+)\.conv1\.", r"\1.main.conv1.conv."),
    (r"(op_list\.\d+)\.conv2\.", r"\1.main.conv2.conv."),
    (r"(op_list\.\d+)\.norm\.", r"\1.main.conv2.norm."),
    (r"(encoder\..*op_list\.\d+)\.conv\.", r"\1.main.conv."),
    (r"(decoder\..*op_list\.\d+)\.conv\.", r"\1.main.conv.conv."),
    (r"\.attn\.to_qkv_multiscale\.0\.proj_in\.", ".context_module.main.aggreg.0.0."),
    (r"\.attn\.to_qkv_multiscale\.0\.proj_out\.", ".context_module.main.aggreg.0.1."),
    (r"\.attn\.to_out\.", ".context_module.main.proj.conv."),
    (r"\.attn\.norm_out\.", ".context_module.main.proj.norm."),
    (r"\.conv_out\.conv_(inverted|depth|point)\.", r".local_module.main.\1_conv.conv."),
    (r"\.conv_out\.norm\.", ".local_module.main.point_conv.norm."),
)


def original_vae(tensors):
    """diffusers' names as the authors' files have them."""
    found = {}
    for name, tensor in tensors.items():
        if ".attn.to_q." in name:
            three = [tensors[name.replace("to_q", other)] for other in ("to_q", "to_k", "to_v")]
            name, tensor = name.replace("attn.to_q", "context_module.main.qkv.conv"), torch.cat(three)[..., None, None]
        elif ".attn.to_k." in name or ".attn.to_v." in name:
            continue
        elif ".attn.to_out." in name:
            tensor = tensor[..., None, None]
        for ours, theirs in VAE_ORIGINAL:
            name = re.sub(ours, theirs, name)
        found[name] = tensor
    return found


class Tiny:
    """The modules, the file in the authors' names, and the pipeline."""

    def __init__(self, folder) -> None:
        options: dict[str, Any] = {"qk_norm": "rms_norm_across_heads"}
        self.network = self.make(**options)
        config = Gemma2Config(
            vocab_size=VOCABULARY, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2,
            num_key_value_heads=1, head_dim=256,
        )  # fmt: skip
        self.text: Any = seeded(Gemma2Model(config), 3)
        self.vae = dc_vae()
        text = {f"model.{name}": value for name, value in named(self.text).items()}
        self.tensors = checkpoint(original(named(self.network)), named(self.vae), gemma2_2b=text)
        self.tokenizers = {"gemma2_2b": write_tokenizer(folder, byte_tokenizer(("<bos>", "<pad>")))}

    def make(self, **options: Any) -> Any:
        return seeded(
            SanaTransformer2DModel(
                in_channels=8,
                out_channels=8,
                num_attention_heads=2,
                attention_head_dim=32,
                num_layers=2,
                num_cross_attention_heads=2,
                cross_attention_head_dim=32,
                cross_attention_dim=WIDTH,
                caption_channels=32,
                **options,
            ),
            2,
        )

    def load(self, tensors=None):
        return sana.load(source(tensors or self.tensors, **self.tokenizers))

    def pipeline(self):
        tokenizer: Any = byte_tokenizer(("<bos>", "<pad>"))
        marks = [("<bos>", tokenizer.token_to_id("<bos>"))]
        tokenizer.post_processor = TemplateProcessing(single="<bos> $A", special_tokens=marks)
        tokenizer = transformers_tokenizer(tokenizer, pad_token="<pad>", bos_token="<bos>")
        scheduler: Any = FlowMatchEulerDiscreteScheduler(shift=3.0)
        parts: dict[str, Any] = {"vae": self.vae, "text_encoder": self.text, "transformer": self.network}
        pipeline = SanaPipeline(scheduler=scheduler, tokenizer=tokenizer, **parts)
        pipeline.set_progress_bar_config(disable=True)
        return pipeline


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return Tiny(tmp_path_factory.mktemp("tokenizer"))


def test_it_alone_claims_them(tiny):
    assert claimants(tiny.tensors) == [sana]
    modern = {BACKBONE + name: value for name, value in named(tiny.network).items()}
    assert claimants(modern) == [sana]
    assert claimants({**tiny.tensors, f"{BACKBONE}cfg_embedder.mlp.0.weight": torch.zeros(8, 8)}) == []


@pytest.mark.parametrize("text", [SENTENCE, "", "A (red:1.3) BREAK ", "Long " * 100])
def test_prompts_are_the_pipelines(tiny, text):
    prompts = tiny.load().prompts
    with torch.inference_mode():
        found, negative = prompts.encode([text]), prompts.encode([text], TextOptions(negative=True))
        wanted = tiny.pipeline().encode_prompt(
            [text], negative_prompt=[text], device="cpu", complex_human_instruction=sana.INSTRUCTION.split("\n")
        )
    for ours, states, mask in ((found, *wanted[:2]), (negative, *wanted[2:])):
        states = states[0][mask[0].bool()]
        assert ours.shape[1] == len(states) + 1
        assert torch.allclose(ours[0, :-1, :-1], states, atol=1e-4)


@pytest.mark.parametrize(("size", "name"), [(1024, "Sana"), (2048, "Sana_2Kpx"), (4096, "Sana_4K")])
@pytest.mark.parametrize("norm", [None, "rms_norm_across_heads"])
def test_the_network_is_diffusers(tiny, norm, size, name):
    """In either naming; texts of unequal length together. Larger models have positions."""
    scale = {2048: 1, 4096: 2}.get(size)
    network = tiny.make(qk_norm=norm, interpolation_scale=scale, sample_size=size // 32)
    x = torch.randn(2, 8, 3, 4, generator=torch.Generator().manual_seed(1))
    states = torch.randn(2, 6, 32, generator=torch.Generator().manual_seed(2))
    t = torch.tensor([900.0, 300.0])
    mask = torch.tensor([[1.0] * 6, [1.0] * 4 + [0.0] * 2])
    rest = {name: value for name, value in tiny.tensors.items() if not name.startswith(BACKBONE)}
    with torch.inference_mode():
        wanted = network(x, states, t, encoder_attention_mask=mask, return_dict=False)[0]
        for backbone in (original(named(network), size // 32), named(network)):
            tensors = {**rest, **{BACKBONE + name: value for name, value in backbone.items()}}
            model = sana.load(replace(source(tensors, **tiny.tokenizers), name=name))
            found = model.network(x, t, torch.cat([states, mask[..., None]], dim=2))
            assert torch.allclose(found, wanted, atol=1e-5)
            assert model.native_size == size


@pytest.mark.parametrize("names", ["original", "diffusers"])
def test_the_autoencoder_is_diffusers(tiny, names):
    tensors = named(tiny.vae)
    found = sana.autoencoder(vae_named(original_vae(tensors) if names == "original" else tensors), COMPUTE)
    x, pixels = noise(8, 2, 3), torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(4))
    with torch.inference_mode():
        decoded = tiny.vae.decode(x / 0.41407).sample.add(1).div(2).clamp(0, 1)
        encoded = tiny.vae.encode(pixels * 2 - 1).latent * 0.41407
        assert torch.allclose(found.decode(x), decoded, atol=1e-5)
        assert torch.allclose(found.encode(pixels, x), encoded, atol=1e-5)
    assert (found.channels, found.downscale) == (8, 32)


def test_a_picture_is_the_pipelines(tiny, tmp_path, monkeypatch):
    run = drawing(monkeypatch, tmp_path, tiny.tensors, tiny.tokenizers)
    found = picture(run(cfg_scale=4, negative_prompt="blurry"))
    wanted = tiny.pipeline()(
        SENTENCE, negative_prompt="blurry", height=64, width=64, num_inference_steps=2, guidance_scale=4.0,
        sigmas=[1.0, 0.5], use_resolution_binning=False, generator=torch.Generator().manual_seed(SEED), output_type="np",
    ).images[0]  # fmt: skip
    assert np.abs(found - 255 * wanted).max() <= 1.01
    assert wanted.std() > 0.02
    failed = run(width=72)[-1]
    assert isinstance(failed, Failed)
    assert (failed.field, failed.message) == (
        "width",
        'width is 72: "tiny" draws multiples of 32 pixels. Use 64 or 96.',
    )


def test_what_is_missing_is_named(tiny):
    missing = (
        f"{BACKBONE}x_embedder.proj.weight",
        f"{BACKBONE}blocks.1.attn.qkv.weight",
        f"{text_prefix('gemma2_2b')}model.layers.1.pre_feedforward_layernorm.weight",
        "first_stage_model.decoder.up_blocks.5.0.attn.to_q.weight",
        "first_stage_model.encoder.conv_out.weight",
    )
    for name in missing:
        assert name in tiny.tensors
        with pytest.raises(ModelFileError, match="lacks the weights"):
            tiny.load({key: value for key, value in tiny.tensors.items() if key != name})
    with pytest.raises(ModelFileError, match="gemma2_2b has no tokenizer"):
        sana.load(source(tiny.tensors))
