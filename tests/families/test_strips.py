"""Pictures in strips of rows: the same numbers as of the whole, in less memory."""

import copy
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from modules.core.paths import ROOT
from modules.families.strips import Fitting
from modules.families.vae import build_vae
from modules.patches.tiling import tiling
from tests.tiny import ldm_tensors, tiny_parts

CPU = torch.device("cpu")
STRIP = 40_000  # some rows
GIB = 2**30


@pytest.fixture(scope="module")
def vae() -> Any:
    tensors = {
        k.removeprefix("first_stage_model."): t for k, t in ldm_tensors(tiny_parts()).items() if "first_stage" in k
    }
    return build_vae(tensors, CPU, torch.float32).eval()


def fitting(part: Any, free: float, strip: int = STRIP) -> Fitting:
    return Fitting(part._half[0], free=lambda device: int(free), strip=strip)


def scale_of(vae: Any) -> int:
    return 2 ** (len(vae.config.block_out_channels) - 1)


def latents(vae: Any, height: int, width: int, seed: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, vae.config.latent_channels, height, width, generator=generator)


@torch.inference_mode()
@pytest.mark.parametrize(("height", "width"), [(16, 16), (9, 21), (1, 3)])
@pytest.mark.parametrize("strip", [1, STRIP, 10**9])
def test_decoded_as_the_whole_is(vae, height, width, strip):
    z = latents(vae, height, width)
    torch.testing.assert_close(fitting(vae.decoder, 0, strip)(z), vae.decoder(z), atol=1e-4, rtol=1e-4)


@torch.inference_mode()
@pytest.mark.parametrize(("height", "width"), [(64, 64), (36, 84), (61, 37)])
def test_encoded_as_the_whole_is(vae, height, width):
    x = torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(1)) * 2 - 1
    torch.testing.assert_close(fitting(vae.encoder, 0)(x), vae.encoder(x), atol=1e-4, rtol=1e-4)


@torch.inference_mode()
def test_pictures_that_tile(vae):
    z = latents(vae, 12, 16)
    plain = vae.decoder(z)
    with tiling(vae):
        whole = vae.decoder(z)
        torch.testing.assert_close(fitting(vae.decoder, 0)(z), whole, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(plain, whole, atol=1e-2)


@torch.inference_mode()
def test_the_starters_own_at_512_without_a_seam():
    """At most 2/255 from the whole, here far less, in strips of 8 rows."""
    tensors = load_file(ROOT / "models/Stable-diffusion/starter.safetensors")
    own = {k.removeprefix("first_stage_model."): t for k, t in tensors.items() if k.startswith("first_stage_model.")}
    vae: Any = build_vae(own, CPU, torch.float32).eval()
    z = latents(vae, 512 // scale_of(vae), 512 // scale_of(vae))[:1]
    strip = 8 * 512 * 4 * vae.config.block_out_channels[0]
    found, whole = fitting(vae.decoder, 0, strip)(z).clamp(-1, 1), vae.decoder(z).clamp(-1, 1)
    assert (found - whole).abs().max() * 127.5 < 0.05


@torch.inference_mode()
def test_half_precision(vae):
    small = copy.deepcopy(vae).bfloat16()
    z = latents(vae, 16, 16).bfloat16()
    found, whole, exact = fitting(small.decoder, 0)(z).float(), small.decoder(z).float(), vae.decoder(z.float())
    assert found.isfinite().all()
    assert (found - exact).abs().mean() <= (whole - exact).abs().mean() * 1.2


def test_the_way_is_chosen_by_what_is_free(vae):
    x = latents(vae, 128, 128)
    need = vae.decoder.need(x)
    channels, pixels = vae.config.block_out_channels[0], (128 * scale_of(vae)) ** 2
    assert need == 10 * channels * 4 * pixels * 2
    gpu = x.to("meta")  # a device that is not the CPU
    assert fitting(vae.decoder, need)._ways(gpu) == [None, gpu.device, CPU]
    assert fitting(vae.decoder, need * 0.6)._ways(gpu) == [gpu.device, CPU]
    assert fitting(vae.decoder, need * 0.2)._ways(gpu) == [CPU]
    assert fitting(vae.decoder, need)._ways(x) == [None, CPU]
    assert fitting(vae.decoder, 0)._ways(x) == [CPU]


@torch.inference_mode()
def test_R2_out_of_memory_in_the_autoencoder_goes_on_in_strips(vae, caplog):
    z, calls = latents(vae, 16, 16), []
    wanted = vae.decoder(z)

    def short(module, inputs):
        calls.append(inputs[0].shape[-2])
        if len(calls) == 1:
            raise torch.OutOfMemoryError("CUDA out of memory")

    hook = vae.decoder.conv_out.register_forward_pre_hook(short)
    found = fitting(vae.decoder, GIB)(z)
    hook.remove()
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-4)
    assert len(calls) > 2
    assert max(calls[1:]) < calls[0]
    assert "goes on in strips" in caplog.text


@torch.inference_mode()
def test_R2_what_fails_otherwise_or_again_is_told(vae):
    def fail(module, inputs):
        raise error

    for error in (torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("shapes")):
        hook = vae.decoder.conv_out.register_forward_pre_hook(fail)
        with pytest.raises(type(error), match=str(error)):
            fitting(vae.decoder, GIB)(latents(vae, 4, 4))
        hook.remove()


def test_names_of_weights_stay(vae):
    assert "decoder.conv_in.weight" in vae.state_dict()
    assert not any("half" in name for name in vae.state_dict())
