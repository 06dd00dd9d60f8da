"""SDXL of random weights, base and refiner: text as transformers' own modules give it, the U-Net's vector as diffusers makes it."""

from typing import Any

import pytest
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from transformers.models.clip.configuration_clip import CLIPTextConfig
from transformers.models.clip.modeling_clip import CLIPTextModel, CLIPTextModelWithProjection

from modules.devices.choice import choose_compute
from modules.families import sd1, sd2, sdxl
from modules.families.clip_prompts import TextOptions
from modules.families.ldm_keys import UNET, VAE, VaeShape, vae_keys
from modules.families.open_clip_keys import to_open_clip
from modules.families.source import Source
from modules.prompting.tokenizer import build_tokenizer
from tests.tiny import unet_tensors

COMPUTE = choose_compute(use_cpu=True)
WIDTH, POOLED = 64, 48
NEGATIVE = TextOptions(negative=True)
SENTENCE = "a red fox in the snow"


def parameters(module) -> dict[str, torch.Tensor]:
    return {n.removeprefix("text_model."): v.detach().clone() for n, v in module.named_parameters()}


def config(act: str) -> CLIPTextConfig:
    return CLIPTextConfig(
        vocab_size=49408, hidden_size=WIDTH, intermediate_size=96, num_hidden_layers=3, num_attention_heads=1,
        hidden_act=act, projection_dim=POOLED, eos_token_id=49407,
    )  # fmt: skip


class Parts:
    """The modules a tiny SDXL is made of, and its file's tensors."""

    def __init__(self, *, refiner: bool) -> None:
        torch.manual_seed(3)
        self.clip_l = CLIPTextModel(config("quick_gelu")).eval()
        self.big_g = CLIPTextModelWithProjection(config("gelu")).eval()
        levels: Any = {
            "block_out_channels": (64, 128),
            "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
            "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
            "attention_head_dim": (1, 2),
            "transformer_layers_per_block": (1, 2),
            "addition_time_embed_dim": 256,
            "projection_class_embeddings_input_dim": POOLED + 256 * (5 if refiner else 6),
        }
        self.unet = UNet2DConditionModel(
            **levels,
            layers_per_block=1,
            cross_attention_dim=WIDTH if refiner else 2 * WIDTH,
            use_linear_projection=True,
            addition_embed_type="text_time",
        ).eval()
        vae: Any = {
            "block_out_channels": (32,) * 4,
            "down_block_types": ("DownEncoderBlock2D",) * 4,
            "up_block_types": ("UpDecoderBlock2D",) * 4,
        }
        self.vae = AutoencoderKL(**vae, layers_per_block=1, latent_channels=4)
        autoencoder = vae_keys(VaeShape(levels=4, blocks=1)).to_ldm(parameters(self.vae))
        unet = self.unet.named_parameters()
        renamed = {n.replace("add_embedding.", "class_embedding."): v for n, v in unet}
        big_g = parameters(self.big_g)
        text = {**to_open_clip(big_g), "text_projection": big_g["text_projection.weight"].T.contiguous()}
        self.tensors = {
            **{UNET + n: v for n, v in unet_tensors(self.unet, renamed).items()},
            **{VAE + n: v for n, v in autoencoder.items()},
            **{(sdxl.REFINER_BIG_G if refiner else sdxl.BIG_G) + n: v for n, v in text.items()},
        }
        if not refiner:
            self.tensors |= {sdxl.CLIP_L + n: v for n, v in parameters(self.clip_l).items()}

    def load(self):
        return sdxl.load(Source(tensors=self.tensors, name="xl", compute=COMPUTE))


@pytest.fixture(scope="module")
def base():
    return Parts(refiner=False)


@pytest.fixture(scope="module")
def refiner():
    return Parts(refiner=True)


def ids(padding: int) -> torch.Tensor:
    row = [49406, *build_tokenizer().encode(SENTENCE, add_special_tokens=False).ids, 49407]
    return torch.tensor([row + [padding] * (77 - len(row))])


def test_told_apart(base, refiner):
    for parts in (base, refiner):
        shapes = {name: tuple(value.shape) for name, value in parts.tensors.items()}
        assert [family.detect(shapes) for family in (sd1, sd2, sdxl)] == [False, False, True]


def test_text_is_that_of_both_encoders(base):
    with torch.inference_mode():
        found = base.load().prompts.encode([SENTENCE])
        l_states = base.clip_l(ids(49407), output_hidden_states=True).hidden_states[-2]
        big_g = base.big_g(ids(0), output_hidden_states=True)
    assert torch.allclose(found[..., :WIDTH], l_states, atol=1e-6)
    assert torch.allclose(found[..., WIDTH : 2 * WIDTH], big_g.hidden_states[-2], atol=1e-6)
    assert torch.allclose(found[0, :, 2 * WIDTH :], big_g.text_embeds.expand(77, -1), atol=1e-6)


def test_an_empty_negative_prompt_is_zeros(base):
    prompts = base.load().prompts
    with torch.inference_mode():
        assert not prompts.encode([""], NEGATIVE).any()
        assert prompts.encode([""]).any()
        assert prompts.encode(["blurry"], NEGATIVE).any()


def test_long_prompts_take_the_first_chunks_vector(base):
    prompts = base.load().prompts
    with torch.inference_mode():
        long, short = prompts.encode([f"{SENTENCE} BREAK something else"]), prompts.encode([SENTENCE])
    assert long.shape[1] == 154
    assert torch.equal(long[:, 0, 2 * WIDTH :], short[:, 0, 2 * WIDTH :])
    assert torch.equal(long[:, 100, 2 * WIDTH :], short[:, 0, 2 * WIDTH :])


@pytest.mark.parametrize("kind", ["base", "refiner"])
def test_the_vector_is_diffusers_own(kind, request):
    """diffusers' U-Net takes pooled text and numbers, ours the vector: the same D."""
    parts = request.getfixturevalue(kind)
    model, sigma = parts.load(), torch.tensor([1.5])
    x = torch.randn(1, 4, 8, 12, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        context = model.prompts.encode([SENTENCE])
        found = model.denoiser()(x, sigma, context=context)
        width = parts.unet.config.cross_attention_dim
        numbers = [64, 96, 0, 0, 6.0] if kind == "refiner" else [64, 96, 0, 0, 64, 96]
        eps = parts.unet(
            x / (sigma**2 + 1).sqrt(),
            model.levels.t(sigma),
            context[..., :width],
            added_cond_kwargs={
                "text_embeds": context[:, 0, width : width + POOLED],
                "time_ids": torch.tensor([numbers]),
            },
        ).sample
    assert torch.allclose(found, x - sigma * eps, atol=1e-5)


def test_the_refiner_scores_negative_prompts_lower(refiner):
    prompts = refiner.load().prompts
    with torch.inference_mode():
        positive, negative = prompts.encode(["a fox"]), prompts.encode(["a fox"], NEGATIVE)
    assert torch.equal(positive[..., :-256], negative[..., :-256])
    assert not torch.equal(positive[..., -256:], negative[..., -256:])
