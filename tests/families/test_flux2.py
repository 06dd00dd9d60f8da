"""FLUX.2 of random weights, dev and Klein, as diffusers' own classes and pipelines have them."""

from typing import Any

import numpy as np
import pytest
import torch
from diffusers import (
    AutoencoderKLFlux2,
    FlowMatchEulerDiscreteScheduler,
    Flux2KleinPipeline,
    Flux2Pipeline,
    Flux2Transformer2DModel,
)
from transformers import Mistral3Config, Mistral3ForConditionalGeneration, Qwen3Config, Qwen3ForCausalLM

from modules.core.errors import ModelFileError
from modules.families import flux2
from modules.families.ldm_keys import VAE, VaeShape, vae_keys
from modules.families.source import BACKBONE, text_prefix
from tests.families.tiny_language import (
    COMPUTE,
    MARKS,
    QWEN_CHAT,
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

MISTRAL_MARKS = ("<s>", "<pad>", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]", "[INST]", "[/INST]")
MISTRAL_CHAT = (
    "<s>[SYSTEM_PROMPT]{{ messages[0].content[0].text }}[/SYSTEM_PROMPT][INST]{{ messages[1].content[0].text }}[/INST]"
)
ORIGINAL = {
    "x_embedder": "img_in",
    "context_embedder": "txt_in",
    "time_guidance_embed.timestep_embedder.linear_1": "time_in.in_layer",
    "time_guidance_embed.timestep_embedder.linear_2": "time_in.out_layer",
    "time_guidance_embed.guidance_embedder.linear_1": "guidance_in.in_layer",
    "time_guidance_embed.guidance_embedder.linear_2": "guidance_in.out_layer",
    "_img.linear": "_img.lin",
    "_txt.linear": "_txt.lin",
    "single_stream_modulation.linear": "single_stream_modulation.lin",
    "proj_out": "final_layer.linear",
    "attn.norm_q.weight": "img_attn.norm.query_norm.scale",
    "attn.norm_k.weight": "img_attn.norm.key_norm.scale",
    "attn.to_out.0": "img_attn.proj",
    "ff.linear_in": "img_mlp.0",
    "ff.linear_out": "img_mlp.2",
    "attn.norm_added_q.weight": "txt_attn.norm.query_norm.scale",
    "attn.norm_added_k.weight": "txt_attn.norm.key_norm.scale",
    "attn.to_add_out": "txt_attn.proj",
    "ff_context.linear_in": "txt_mlp.0",
    "ff_context.linear_out": "txt_mlp.2",
}
SINGLE = {
    "attn.to_qkv_mlp_proj": "linear1",
    "attn.to_out": "linear2",
    "attn.norm_q.weight": "norm.query_norm.scale",
    "attn.norm_k.weight": "norm.key_norm.scale",
}


def original(tensors):
    """diffusers' names as the authors' files have them."""
    found = {}
    for name, tensor in tensors.items():
        single = name.startswith("single_transformer_blocks")
        if name == "norm_out.linear.weight":
            found["final_layer.adaLN_modulation.1.weight"] = torch.cat(tensor.chunk(2)[::-1])
            continue
        if ".attn.to_q." in name or ".attn.add_q_proj." in name:
            parts = [tensors[name.replace("_q", letter)] for letter in ("_q", "_k", "_v")]
            side = "txt_attn.qkv" if "add" in name else "img_attn.qkv"
            name = name.replace("attn.add_q_proj", side).replace("attn.to_q", side)
            tensor = torch.cat(parts)
        elif any(part in name for part in (".attn.to_k.", ".attn.to_v.", ".add_k_proj.", ".add_v_proj.")):
            continue
        for ours, theirs in (SINGLE if single else ORIGINAL).items():
            name = name.replace(ours, theirs)
        name = name.replace("single_transformer_blocks", "single_blocks").replace("transformer_blocks", "double_blocks")
        found[name] = tensor
    return found


def original_vae(tensors):
    """diffusers' names as the authors' file has them."""
    bare = {name: value for name, value in tensors.items() if not name.startswith("bn.")}
    renamed = vae_keys(VaeShape(levels=4, blocks=1)).to_ldm(bare)
    found = {name: value for name, value in tensors.items() if name.startswith("bn.")}
    for name, value in renamed.items():
        side = {"q": "encoder.", "p": "decoder."}.get(name[0], "") if "quant_conv" in name else ""
        found[side + name] = value
    return found


def autoencoder() -> Any:
    levels: dict[str, Any] = {
        "block_out_channels": (32,) * 4,
        "decoder_block_out_channels": (32, 32, 64, 64),
        "down_block_types": ("DownEncoderBlock2D",) * 4,
        "up_block_types": ("UpDecoderBlock2D",) * 4,
    }
    vae: Any = seeded(AutoencoderKLFlux2(**levels, layers_per_block=1, latent_channels=8), 4)
    generator = torch.Generator().manual_seed(6)
    vae.bn.running_mean.copy_(torch.randn(32, generator=generator) / 4)
    vae.bn.running_var.copy_(torch.rand(32, generator=generator) + 0.5)
    return vae


class Tiny:
    """The modules, the file in the authors' names, and the pipeline; `dev` or Klein."""

    def __init__(self, folder, *, dev: bool) -> None:
        self.dev = dev
        sizes: dict[str, Any] = {"in_channels": 32, "num_layers": 1, "num_single_layers": 2, "num_attention_heads": 1}
        self.network: Any = seeded(
            Flux2Transformer2DModel(**sizes, attention_head_dim=128, joint_attention_dim=96, guidance_embeds=dev), 2
        )
        self.vae = autoencoder()
        text: dict[str, Any] = {
            "vocab_size": VOCABULARY, "hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 2,
            "num_key_value_heads": 1,
        }  # fmt: skip
        if dev:
            self.kind, self.tokenizer = "mistral3_24b", byte_tokenizer(MISTRAL_MARKS)
            text |= {
                "model_type": "mistral", "num_hidden_layers": 32, "rms_norm_eps": 1e-5, "head_dim": 128, "sliding_window": None,
                "rope_parameters": {"rope_type": "default", "rope_theta": 1e9},
            }  # fmt: skip
            vision = {
                "model_type": "pixtral",
                "hidden_size": 32,
                "intermediate_size": 32,
                "num_hidden_layers": 1,
                "num_attention_heads": 2,
            }
            config = Mistral3Config(text_config=text, vision_config=vision)
            self.text: Any = seeded(Mistral3ForConditionalGeneration(config), 3)
        else:
            self.kind, self.tokenizer = "qwen3_4b", byte_tokenizer()
            text |= {
                "num_hidden_layers": 28,
                "head_dim": 16,
                "rope_parameters": {"rope_type": "default", "rope_theta": 1e6},
            }
            self.text = seeded(Qwen3ForCausalLM(Qwen3Config(**text)), 3)
        tensors = {name.replace("model.language_model.", "model."): value for name, value in named(self.text).items()}
        self.tensors = checkpoint(original(named(self.network)), original_vae(named(self.vae)), **{self.kind: tensors})
        self.tokenizers = {self.kind: write_tokenizer(folder, self.tokenizer)}

    def load(self, tensors=None):
        return flux2.load(source(tensors or self.tensors, **self.tokenizers))

    def pipeline(self):
        parts: dict[str, Any] = {"vae": self.vae, "text_encoder": self.text, "transformer": self.network}
        parts["scheduler"] = FlowMatchEulerDiscreteScheduler(shift=flux2.SHIFT)
        options: dict[str, Any] = {"pad_token": "<pad>", "chat_template": MISTRAL_CHAT, "padding_side": "left"}
        if not self.dev:
            options = {"pad_token": MARKS[0], "chat_template": QWEN_CHAT, "padding_side": "right"}
        parts["tokenizer"] = transformers_tokenizer(self.tokenizer, **options)
        pipeline = (Flux2Pipeline if self.dev else Flux2KleinPipeline)(**parts)
        pipeline.set_progress_bar_config(disable=True)
        return pipeline


@pytest.fixture(scope="module")
def dev(tmp_path_factory):
    return Tiny(tmp_path_factory.mktemp("dev"), dev=True)


@pytest.fixture(scope="module")
def klein(tmp_path_factory):
    return Tiny(tmp_path_factory.mktemp("klein"), dev=False)


@pytest.fixture(params=["dev", "klein"])
def tiny(request):
    return request.getfixturevalue(request.param)


def test_it_alone_claims_them(tiny):
    assert claimants(tiny.tensors) == [flux2]
    assert claimants({BACKBONE + name: value for name, value in named(tiny.network).items()}) == [flux2]
    assert list(flux2.parts({name: tuple(value.shape) for name, value in tiny.tensors.items()})) == [
        "vae_flux2",
        tiny.kind,
    ]


@pytest.mark.parametrize("width", [15360, 7680, 12288])
def test_the_text_encoder_is_known_by_its_width(width):
    kind = {15360: "mistral3_24b", 7680: "qwen3_4b", 12288: "qwen3_8b"}[width]
    assert flux2.text_kind({f"{BACKBONE}txt_in.weight": (128, width)}) == kind


@pytest.mark.parametrize("text", [SENTENCE, "", "long " * 200])
def test_prompts_are_the_pipelines(tiny, text):
    with torch.inference_mode():
        found = tiny.load().prompts.encode([text])
        wanted, _ = tiny.pipeline().encode_prompt(text, device="cpu")
    assert found.shape == (1, 513, 97)
    assert torch.allclose(found[:, :-1, :-1], wanted, atol=1e-4)
    assert found[0, :-1, -1].all()


def test_layers_that_are_not_asked_for_need_not_be_there(dev):
    """ComfyUI's users have a Mistral cut off behind the 30th layer, without the last norm."""

    def cut(layers):
        kept = tuple(f"layers.{i}." for i in range(layers))
        names = [n for n in dev.tensors if ".layers." not in n or "vision" in n or any(part in n for part in kept)]
        return {name: dev.tensors[name] for name in names if not name.endswith("model.norm.weight")}

    with torch.inference_mode():
        whole, short = (dev.load(tensors).prompts.encode([SENTENCE]) for tensors in (dev.tensors, cut(30)))
    assert torch.equal(whole, short)
    with pytest.raises(ModelFileError, match="has 29 layers, 30 are needed"):
        dev.load(cut(29))


@pytest.mark.parametrize("names", ["original", "diffusers"])
def test_the_network_is_diffusers(tiny, names):
    """With guidance told to dev, and a picture to go by that is of another size."""
    tensors = tiny.tensors
    if names == "diffusers":
        rest = {name: value for name, value in tensors.items() if not name.startswith(BACKBONE)}
        tensors = {**rest, **{BACKBONE + name: value for name, value in named(tiny.network).items()}}
    model = tiny.load(tensors)
    pipeline = tiny.pipeline()
    x, reference = torch.cat([noise(32, 4, 6), noise(32, 4, 6).flip(3)]), noise(32, 2, 4)
    t = torch.tensor([900.0, 300.0])
    with torch.inference_mode():
        context = model.prompts.encode([SENTENCE, "a star"])
        told: Any = model.network
        found = told.told(guidance=2.5, references=[reference])(x, t, context)
        ids = torch.cat([pipeline._prepare_latent_ids(x)[:1], pipeline._prepare_image_ids([reference])], dim=1)
        tokens = torch.cat([pipeline._pack_latents(x), pipeline._pack_latents(reference).expand(2, -1, -1)], dim=1)
        wanted = tiny.network(
            tokens,
            context[:, :-1, :-1],
            t / 1000,
            ids,
            pipeline._prepare_text_ids(context[:, :-1]),
            torch.full((2,), 2.5),
        ).sample[:, :24]
        alone = model.network(x, t, context)
    assert torch.allclose(found, wanted.transpose(1, 2).reshape(x.shape), atol=1e-5)
    assert not torch.allclose(found, alone, atol=1e-3)


@pytest.mark.parametrize("names", ["original", "diffusers"])
def test_the_autoencoder_is_the_pipelines(klein, names):
    tensors = {name.removeprefix(VAE): value for name, value in klein.tensors.items() if name.startswith(VAE)}
    vae = flux2.autoencoder(tensors if names == "original" else named(klein.vae), COMPUTE)
    assert (vae.channels, vae.downscale) == (32, 16)
    pixels = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        found = vae.encode(pixels, torch.zeros(1, 32, 4, 6))
        wanted = klein.pipeline()._encode_vae_image(2 * pixels - 1, torch.Generator())
        assert vae.decode(found).shape == pixels.shape
    assert torch.allclose(found, wanted, atol=1e-4)


def test_a_picture_is_the_pipelines(tiny, tmp_path, monkeypatch):
    run = drawing(monkeypatch, tmp_path, tiny.tensors, tiny.tokenizers)
    found = picture(run(cfg_scale=1, width=96))
    generator = torch.Generator().manual_seed(SEED)
    wanted = tiny.pipeline()(
        prompt=SENTENCE, height=64, width=96, num_inference_steps=2, sigmas=[1.0, 0.5], output_type="np",
        guidance_scale=3.5 if tiny.dev else 1.0, generator=generator,
    ).images[0]  # fmt: skip
    assert np.abs(found - 255 * wanted).max() <= 1.01
    assert wanted.std() > 0.02


def test_sizes_between_its_latents_are_refused(klein, tmp_path, monkeypatch):
    failed = drawing(monkeypatch, tmp_path, klein.tensors, klein.tokenizers)(width=72)[-1]
    assert (failed.field, "64 or 80" in failed.message) == ("width", True)


def test_what_is_missing_is_named(tiny):
    missing = (
        f"{BACKBONE}img_in.weight",
        f"{BACKBONE}double_blocks.0.txt_attn.qkv.weight",
        f"{VAE}bn.running_var",
        f"{VAE}decoder.post_quant_conv.bias",
        f"{text_prefix(tiny.kind)}model.layers.1.self_attn.k_proj.weight",
    )
    for name in missing:
        assert name in tiny.tensors
        with pytest.raises(ModelFileError, match="lacks the weights"):
            tiny.load({key: value for key, value in tiny.tensors.items() if key != name})
    narrow = {**tiny.tensors, f"{BACKBONE}txt_in.weight": torch.zeros(128, 48)}
    with pytest.raises(ModelFileError, match="states 96 wide, 48 are needed"):
        tiny.load(narrow)


def test_a_tokenizer_of_another_text_encoder_is_refused(klein, tmp_path):
    other = write_tokenizer(tmp_path, byte_tokenizer(MISTRAL_MARKS))
    with pytest.raises(ModelFileError, match=r'has no "<\|endoftext\|>"'):
        flux2.load(source(klein.tensors, qwen3_4b=other))
