"""Stable Diffusion 2.x of random weights: found, loaded, its text encoded as diffusers' smaller encoder does, v told from noise."""

from typing import Any

import pytest
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from transformers.models.clip.configuration_clip import CLIPTextConfig
from transformers.models.clip.modeling_clip import CLIPTextModel

from modules.devices.choice import choose_compute
from modules.families import sd1, sd2
from modules.families.ldm_keys import UNET, VAE, VaeShape, vae_keys
from modules.families.open_clip_keys import to_open_clip
from modules.families.source import Source
from modules.library.prediction import Prediction
from modules.prompting.tokenizer import build_tokenizer
from tests.tiny import ldm_tensors, tiny_parts, unet_tensors

COMPUTE = choose_compute(use_cpu=True)
WIDTH, LAYERS = 64, 3


def text_module(layers: int = LAYERS) -> Any:
    torch.manual_seed(1)
    config = CLIPTextConfig(
        vocab_size=49408, hidden_size=WIDTH, intermediate_size=96, num_hidden_layers=layers, num_attention_heads=1, hidden_act="gelu"
    )  # fmt: skip
    return CLIPTextModel(config).eval()


def parameters(module) -> dict:
    return {name.removeprefix("text_model."): value.detach().clone() for name, value in module.named_parameters()}


def sd2_tensors() -> dict[str, torch.Tensor]:
    """A whole tiny SD 2.x, under its file's names."""
    torch.manual_seed(0)
    levels: Any = {
        "block_out_channels": (64, 64),
        "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
        "attention_head_dim": (1, 1),
    }
    unet = UNet2DConditionModel(**levels, layers_per_block=1, cross_attention_dim=WIDTH, use_linear_projection=True)
    vae: Any = {
        "block_out_channels": (32,) * 4,
        "down_block_types": ("DownEncoderBlock2D",) * 4,
        "up_block_types": ("UpDecoderBlock2D",) * 4,
    }
    autoencoder = vae_keys(VaeShape(levels=4, blocks=1)).to_ldm(
        parameters(AutoencoderKL(**vae, layers_per_block=1, latent_channels=4))
    )
    return {
        **{UNET + name: value for name, value in unet_tensors(unet).items()},
        **{VAE + name: value for name, value in autoencoder.items()},
        **{sd2.TEXT + name: value for name, value in to_open_clip(parameters(text_module())).items()},
        f"{sd2.TEXT}text_projection": torch.zeros(WIDTH, WIDTH),
    }


@pytest.fixture(scope="module")
def tensors():
    return sd2_tensors()


def loaded(tensors, prediction=None):
    return sd2.load(Source(tensors=tensors, name="tiny2", compute=COMPUTE, prediction=prediction))


def test_told_apart(tensors):
    ones, twos = ({k: tuple(v.shape) for k, v in found.items()} for found in (ldm_tensors(tiny_parts()), tensors))
    assert (sd2.detect(twos), sd1.detect(twos)) == (True, False)
    assert (sd2.detect(ones), sd1.detect(ones)) == (False, True)


def short_module() -> Any:
    """The encoder without its last layer, as diffusers keeps it."""
    short = text_module(LAYERS - 1)
    short.load_state_dict({k: v for k, v in text_module().state_dict().items() if f"layers.{LAYERS - 1}." not in k})
    return short


def test_a_file_and_a_folder_give_the_same_states(tensors):
    folder = {name: value for name, value in tensors.items() if not name.startswith(sd2.TEXT)}
    folder |= {sd2.TEXT + name: value for name, value in to_open_clip(parameters(short_module())).items()}
    with torch.inference_mode():
        found = [loaded(one).prompts.encode(["a red fox"]) for one in (tensors, folder)]
    assert torch.equal(*found)


def test_text_is_that_of_an_encoder_without_the_last_layer(tensors):
    """diffusers leaves the last layer out; padding is 0."""
    short = short_module()
    ids = build_tokenizer().encode("a red fox in the snow", add_special_tokens=False).ids
    row = [49406, *ids, 49407]
    with torch.inference_mode():
        wanted = short(torch.tensor([row + [0] * (77 - len(row))])).last_hidden_state
        found = loaded(tensors).prompts.encode(["a red fox in the snow"])
    assert torch.allclose(found, wanted, atol=1e-6)


def test_what_it_predicts_is_said_or_asked(tensors):
    assert loaded(tensors).prediction == "eps"
    assert loaded(tensors).native_size == 512
    negative = {**tensors, f"{UNET}out.2.bias": torch.full((4,), -3.0)}
    assert loaded(negative).prediction == "v"
    assert loaded(negative).native_size == 768
    assert loaded(negative, Prediction(kind="eps")).prediction == "eps"


def test_it_draws(tensors):
    model = loaded(tensors, Prediction(kind="v"))
    x = torch.randn(1, 4, 8, 8)
    with torch.inference_mode():
        d = model.denoiser()(x, torch.tensor([2.0]), context=model.prompts.encode(["a fox"]))
        assert d.shape == x.shape
        assert model.decode(d).shape == (1, 3, 64, 64)
