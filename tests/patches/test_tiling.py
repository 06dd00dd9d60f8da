"""Tiling: what is drawn moves around the edges."""

from typing import Any

import torch

from modules.patches.tiling import tiling
from tests.patches.unets import ask, inputs, small_unet
from tests.tiny import tiny_parts


def rolled(x):
    return x.roll((8, 4), dims=(2, 3))


def test_a_shifted_picture_is_the_picture_shifted():
    unet = small_unet()
    x, context = inputs()
    error = (ask(unet, rolled(x), context) - rolled(ask(unet, x, context))).abs().max()
    assert error > 0.01
    with tiling(unet):
        error = (ask(unet, rolled(x), context) - rolled(ask(unet, x, context))).abs().max()
    assert error < 1e-4


def test_the_autoencoder_tiles_too():
    vae: Any = tiny_parts()["vae"].eval()
    z = torch.randn(1, 4, 8, 8)
    with torch.no_grad():
        plain = vae.decode(z, return_dict=False)[0]
        with tiling(vae):
            tiled = vae.decode(z, return_dict=False)[0]
            shifted = vae.decode(z.roll(4, dims=3), return_dict=False)[0]
        assert (shifted - tiled.roll(32, dims=3)).abs().max() < 1e-4
        assert not torch.equal(tiled, plain)
        assert torch.equal(vae.decode(z, return_dict=False)[0], plain)
