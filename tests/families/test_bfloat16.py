"""Families trained in bfloat16: where half precision is chosen they compute in that, as near to float32 as it can be."""

from dataclasses import replace

import pytest
import torch

from tests.families import test_cogview4, test_flux2, test_lumina2, test_qwen_image, test_z_image
from tests.families.tiny_language import COMPUTE, SENTENCE, claimants, noise, source

HALF = replace(COMPUTE, dtype=torch.float16)
FAMILIES = {
    "z-image": test_z_image.Tiny,
    "qwen-image": test_qwen_image.Tiny,
    "lumina2": test_lumina2.Tiny,
    "flux2 dev": lambda folder: test_flux2.Tiny(folder, dev=True),
    "flux2 klein": lambda folder: test_flux2.Tiny(folder, dev=False),
    "cogview4": test_cogview4.Tiny,
}


@pytest.mark.parametrize("family", FAMILIES)
def test_half_precision_is_bfloat16(family, tmp_path):
    tiny = FAMILIES[family](tmp_path)
    (module,) = claimants(tiny.tensors)
    half = module.load(replace(source(tiny.tensors, **tiny.tokenizers), compute=HALF))
    assert {parameter.dtype for parameter in half.backbone.parameters()} == {torch.bfloat16}
    assert {parameter.dtype for parameter in half.autoencoder.module.parameters()} == {torch.float32}
    x, t = (
        noise(half.latent_channels, 4, 4),
        torch.tensor([500.0]),
    )  # whose thousandth is itself in bfloat16, to which diffusers rounds it
    with torch.inference_mode():
        full = tiny.load()
        found, wanted = (model.prompts.encode([SENTENCE]) for model in (half, full))
        assert (found - wanted).norm() < 0.1 * wanted.norm()
        found, exact = half.network(x, t, wanted), full.network(x, t, wanted)
    assert found.dtype == torch.float32
    assert (found - exact).norm() < 0.1 * exact.norm()
