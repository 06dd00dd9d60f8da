"""Models of U-Net families whose parts run compiled: the numbers are PyTorch's."""

import logging
from dataclasses import replace
from typing import Any

import pytest
import torch

from modules.devices.choice import choose_compute
from modules.devices.compiled import CompiledRuntime
from modules.families import sd1, sdxl
from modules.families.clip_prompts import TextOptions
from modules.families.source import Source
from tests.families.test_sdxl import Parts
from tests.tiny import ldm_tensors, tiny_parts

NO_NORM = TextOptions(emphasis="No norm")  # the mean of random states is near 0, and scaling by it no test of anything
PLAIN = choose_compute(use_cpu=True)


@pytest.fixture(scope="module")
def compute(tmp_path_factory):
    return replace(PLAIN, compiled=CompiledRuntime(tmp_path_factory.mktemp("compiled"), "fp32"))


def both(family, tensors, compute):
    return [family.load(Source(tensors=tensors, name="t", compute=c, native_size=64)) for c in (PLAIN, compute)]


def close(a, b):
    torch.testing.assert_close(a, b, atol=1e-3, rtol=1e-3)


@torch.inference_mode()
def same(plain, compiled, *, channels, sizes):
    texts = ["a red star", "(blue:1.3) " * 60]
    for clip in ([texts[0]], texts):
        close(compiled.prompts.encode(clip, NO_NORM), plain.prompts.encode(clip, NO_NORM))
    context = plain.prompts.encode(texts, NO_NORM)
    for h, w in sizes:
        x, t = torch.randn(2, channels, h, w), torch.tensor([3.0, 500.5])
        close(compiled.network(x, t, context), plain.network(x, t, context))
    z, pictures = torch.randn(2, 4, 8, 6), torch.rand(1, 3, 64, 48)
    close(compiled.decode(z), plain.decode(z))
    close(compiled.encode(pictures, z[:1]), plain.encode(pictures, z[:1]))


def test_sd1(compute):
    plain, compiled = both(sd1, ldm_tensors(tiny_parts()), compute)
    same(plain, compiled, channels=4, sizes=[(8, 8), (9, 7)])  # the second is halved unevenly
    assert compiled.extra_channels == plain.extra_channels


def test_inpainting_checkpoints(compute):
    plain, compiled = both(sd1, ldm_tensors(tiny_parts(in_channels=9)), compute)
    same(plain, compiled, channels=9, sizes=[(8, 8)])
    assert compiled.inpainting


def test_sdxl(compute):
    same(*both(sdxl, Parts(refiner=False).tensors, compute), channels=4, sizes=[(8, 8), (6, 9)])


def test_files_of_half_precision(compute):
    tensors = {name: tensor.half() for name, tensor in ldm_tensors(tiny_parts(seed=5)).items()}
    same(*both(sd1, tensors, compute), channels=4, sizes=[(8, 8)])


def test_converting_says_nothing_of_losses(tmp_path, caplog, monkeypatch):
    """transformers, asked for the loss of a text encoder, warns of it once in a process."""
    logger = logging.getLogger("transformers.modeling_utils")
    monkeypatch.setattr(logging.Logger, "warning_once", logging.Logger.warning)
    logger.addHandler(caplog.handler)
    try:
        both(sd1, ldm_tensors(tiny_parts()), replace(PLAIN, compiled=CompiledRuntime(tmp_path, "fp32")))
    finally:
        logger.removeHandler(caplog.handler)
    assert not [line for line in caplog.messages if "loss" in line]


def test_pytorch_computes_where_openvino_fails(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    plain, compiled = both(sd1, ldm_tensors(tiny_parts()), replace(PLAIN, compiled=CompiledRuntime(blocked, "fp32")))
    x, t, context = torch.randn(1, 4, 8, 8), torch.tensor([500.0]), plain.prompts.encode(["x"], NO_NORM)
    assert torch.equal(compiled.network(x, t, context), plain.network(x, t, context))


@torch.inference_mode()
def test_pictures_too_large_for_the_memory_go_to_pytorch(compute):
    """Whose autoencoder takes them in strips; nothing is asked of OpenVINO."""
    plain, compiled = both(sd1, ldm_tensors(tiny_parts()), compute)
    vae: Any = compiled.autoencoder.module
    z, pictures = torch.randn(2, 4, 8, 6), torch.rand(1, 3, 64, 48)
    asked = []
    vae._decode = vae._encode = lambda *_: asked.append(1)
    need = 8 * 32 * 4 * 64 * 48  # of one picture
    vae._free = lambda device: need - 1
    assert torch.equal(compiled.decode(z), plain.decode(z))
    assert torch.equal(compiled.encode(pictures, z[:1]), plain.encode(pictures, z[:1]))
    assert not asked
    vae._free = lambda device: need
    with pytest.raises(TypeError):
        compiled.decode(z)
    assert asked


@torch.inference_mode()
@pytest.mark.parametrize(("family", "sizes"), [(sd1, (8, 8)), (sdxl, (6, 9))])
def test_what_a_controlnet_adds(family, sizes, compute):
    """To every skip and to the middle; without it the answer is the same to the last bit, and nothing is converted anew."""
    tensors = ldm_tensors(tiny_parts()) if family is sd1 else Parts(refiner=False).tensors
    plain, compiled = both(family, tensors, compute)
    x, t, context = torch.randn(2, 4, *sizes), torch.tensor([3.0, 500.5]), plain.prompts.encode(["a", "b"], NO_NORM)
    width, unet = plain.backbone.config.cross_attention_dim, plain.backbone
    labels = None
    if family is sdxl:
        labels = torch.randn(2, plain.backbone.config.projection_class_embeddings_input_dim)
    call = {"encoder_hidden_states": context[..., :width], "class_labels": labels, "return_dict": False}
    shapes = skips(unet, lambda: unet(x, t, **call))
    *downs, mid = (torch.randn(2, *shape) for shape in shapes)
    told = {"down_block_additional_residuals": downs, "mid_block_additional_residual": mid}
    before = compiled.backbone(x, t, **call)[0]
    found = compiled.backbone(x, t, **call, **told)[0]
    close(found, unet(x, t, **call, **told)[0])
    assert (found - before).abs().max() > 0.01
    assert torch.equal(compiled.backbone(x, t, **call)[0], before)


def skips(unet, call):
    """Shapes of what a U-Net hands over to its upper half, and of its middle."""
    found: list[Any] = [None]
    hooks = [
        block.register_forward_hook(lambda _, __, out: found.extend(one.shape[1:] for one in out[1]))
        for block in unet.down_blocks
    ]
    hooks.append(unet.conv_in.register_forward_hook(lambda _, __, out: found.__setitem__(0, out.shape[1:])))
    hooks.append(unet.mid_block.register_forward_hook(lambda _, __, out: found.append(out.shape[1:])))
    call()
    for hook in hooks:
        hook.remove()
    return found


@torch.inference_mode()
def test_another_number_of_residuals_is_refused(compute):
    _, compiled = both(sd1, ldm_tensors(tiny_parts()), compute)
    x, t, context = torch.randn(1, 4, 8, 8), torch.tensor([3.0]), torch.randn(1, 77, 64)
    told = {"down_block_additional_residuals": [torch.zeros(1, 32, 8, 8)], "mid_block_additional_residual": x}
    with pytest.raises(LookupError, match="skips, not 1"):
        compiled.backbone(x, t, context, **told)
