"""KL autoencoders of either naming, with and without their quantising convolutions."""

from typing import Any

import pytest
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

from modules.core.errors import ModelFileError
from modules.families.ldm_keys import VaeShape, vae_keys
from modules.families.vae import build_vae

CPU = torch.device("cpu")


def module(*, channels: int = 16, convolutions: bool = False) -> Any:
    torch.manual_seed(0)
    levels: Any = {
        "block_out_channels": (32, 64, 64),
        "down_block_types": ("DownEncoderBlock2D",) * 3,
        "up_block_types": ("UpDecoderBlock2D",) * 3,
    }
    both: Any = {"use_quant_conv": convolutions, "use_post_quant_conv": convolutions}
    return AutoencoderKL(**levels, **both, layers_per_block=2, latent_channels=channels).eval()


@pytest.mark.parametrize("convolutions", [True, False])
@pytest.mark.parametrize("named", ["ldm", "diffusers"])
def test_decodes_and_encodes_as_the_original(named, convolutions):
    original = module(convolutions=convolutions)
    tensors = {name: value.detach() for name, value in original.named_parameters()}
    if named == "ldm":
        tensors = vae_keys(VaeShape(levels=3, blocks=2)).to_ldm(tensors)
    built: Any = build_vae(tensors, CPU, torch.float32)
    with torch.inference_mode():
        z, x = torch.randn(1, 16, 4, 4), torch.rand(1, 3, 16, 16)
        assert torch.equal(built.decode(z).sample, original.decode(z).sample)
        assert torch.equal(built.encode(x).latent_dist.mean, original.encode(x).latent_dist.mean)


def test_what_is_missing_is_named():
    tensors = {name: value.detach() for name, value in module().named_parameters()}
    with pytest.raises(ModelFileError, match=r"decoder.conv_in"):
        build_vae({name: value for name, value in tensors.items() if "decoder" not in name}, CPU, torch.float32)
    with pytest.raises(ModelFileError, match=r"decoder.conv_out.bias"):
        build_vae({n: v for n, v in tensors.items() if n != "decoder.conv_out.bias"}, CPU, torch.float32)
