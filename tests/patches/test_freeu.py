"""FreeU against its formulas done by hand."""

import math

import pytest
import torch

from modules.patches.freeu import amplified, dampened, freeu
from tests.patches.unets import ask, inputs, small_unet


def test_version_1_multiplies_half_of_the_channels():
    h = torch.randn(2, 6, 4, 4)
    found = amplified(h, 1.5, adaptive=False)
    assert torch.equal(found[:, :3], h[:, :3] * 1.5)
    assert torch.equal(found[:, 3:], h[:, 3:])


def test_version_2_multiplies_by_where_the_mean_stands():
    h = torch.randn(2, 6, 4, 5)
    found = amplified(h, 1.4, adaptive=True)
    for i in range(2):
        m = h[i].mean(dim=0)
        low, high = m.min().item(), m.max().item()
        for y in range(4):
            for x in range(5):
                alpha = (1.4 - 1) * (m[y, x].item() - low) / (high - low) + 1
                assert torch.allclose(found[i, :3, y, x], h[i, :3, y, x] * alpha)
    assert torch.equal(found[:, 3:], h[:, 3:])
    flat = torch.ones(1, 2, 3, 3)
    assert torch.equal(amplified(flat, 1.4, adaptive=True), flat)


@pytest.mark.parametrize(("height", "width"), [(8, 8), (6, 10), (5, 7)])
def test_low_frequencies_are_scaled(height, width):
    """Waves of frequencies -1 and 0 are scaled, the others left, in each direction."""
    rows, columns = torch.arange(height).view(-1, 1), torch.arange(width).view(1, -1)
    for v in range(-1, 3):
        for u in range(-1, 3):
            wave = torch.cos(2 * math.pi * (v * rows / height + u * columns / width))
            found = dampened(wave[None, None], 0.5)[0, 0]
            # a real wave is half of frequency (v, u) and half of (-v, -u)
            factor = sum(0.5 if a in (-1, 0) and b in (-1, 0) else 1.0 for a, b in ((v, u), (-v, -u))) / 2
            if (v, u) == (-v, -u) or factor in (0.5, 1.0):
                assert torch.allclose(found, wave * factor, atol=1e-5), (v, u)
            else:
                assert (found - wave).abs().max() > 0.1


def test_widest_features_take_the_first_factors_the_next_the_second():
    unet = small_unet()
    x, context = inputs()
    seen = {}
    layers = {
        name: m for name, m in unet.named_modules() if name.startswith("up_blocks") and name[:-1].endswith("resnets.")
    }
    for name, layer in layers.items():
        layer.conv_shortcut.register_forward_pre_hook(
            lambda _, args, name=name: seen.setdefault(name, []).append(args[0])
        )
    plain = ask(unet, x, context)
    with freeu(unet, b=(1.0, 1.0), s=(1.0, 1.0)):
        assert torch.allclose(ask(unet, x, context), plain, atol=1e-5)
    with freeu(unet, b=(1.5, 1.0), s=(1.0, 1.0), adaptive=False):
        ask(unet, x, context)
    with freeu(unet, b=(1.0, 1.5), s=(1.0, 1.0), adaptive=False):
        ask(unet, x, context)
    first = "up_blocks.0.resnets.0"
    base, neutral, wide, next_ = seen[first]
    assert torch.allclose(neutral, base, atol=1e-5)
    assert torch.allclose(wide[:, :64], base[:, :64] * 1.5)
    assert torch.allclose(wide[:, 64:], base[:, 64:], atol=1e-5)
    assert torch.allclose(next_, base, atol=1e-5)
    second = seen["up_blocks.1.resnets.1"]  # 64 channels of backbone
    assert torch.allclose(second[3][:, :32], second[0][:, :32] * 1.5, atol=1e-4)
    assert {len(found) for found in seen.values()} == {4}


def test_only_within_its_times():
    unet = small_unet()
    x, context = inputs()
    plain = {t: ask(unet, x, context, t) for t in (900.0, 500.0, 100.0)}
    with freeu(unet, b=(1.3, 1.4), s=(0.9, 0.2), times=(600.0, 400.0)):
        same = {t: torch.equal(ask(unet, x, context, t), plain[t]) for t in plain}
    assert same == {900.0: True, 500.0: False, 100.0: True}
