"""Noise against what A1111 1.10.1 drew, and Brownian paths against torchsde's."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torchsde

from modules.sampling.brownian import BrownianNoise, BrownianPath
from modules.sampling.noise import NoiseSource, Variation
from modules.sampling.schedules import karras_between

RECORDED = np.load(Path(__file__).parents[1] / "parity" / "data" / "noise.npz")
CPU = torch.device("cpu")
VARIATIONS = {
    "sub99_0.3": Variation(subseeds=[99], strength=0.3),
    "resize_192x128_to_128x128": Variation(resize_from=(24, 16)),
    "sub99_0.5_resize_128x128_to_128x192": Variation(subseeds=[99], strength=0.5, resize_from=(16, 16)),
}


def same(found, record, source, exact):
    if exact and source == "CPU":
        assert torch.equal(found, record)
    else:
        torch.testing.assert_close(found, record, rtol=0, atol=1e-6)


@pytest.mark.parametrize("key", [key for key in RECORDED.files if "ImageRNG" not in key])
def test_first_noise_of_a_seed(key):
    source, seed, _ = key.split("|")
    record = torch.from_numpy(RECORDED[key])
    shape = (record.shape[0], record.shape[1], record.shape[2])
    same(NoiseSource([int(seed)], shape, device=CPU, source=source).first()[0], record, source, exact=True)


@pytest.mark.parametrize("key", [key for key in RECORDED.files if "ImageRNG" in key])
def test_sequences(key):
    source, name, draw = key.split("|")
    name = name.removeprefix("ImageRNG_")
    record = torch.from_numpy(RECORDED[key])
    noise = NoiseSource(
        [1234, 1235] if name == "1234_1235" else [1234],
        (record.shape[1], record.shape[2], record.shape[3]),
        device=CPU,
        source=source,
        seed_delta=31337 if name == "ensd31337" else 0,
        variation=VARIATIONS.get(name),
    )
    found = noise.first()
    for _ in range(int(draw.removeprefix("next"))):
        found = noise.next()
    same(found, record, source, exact="sub" not in name)


def test_seed_delta_changes_later_noise_only():
    plain = NoiseSource([3], (4, 8, 8), device=CPU)
    shifted = NoiseSource([3], (4, 8, 8), device=CPU, seed_delta=31337)
    assert torch.equal(plain.first(), shifted.first())
    assert not torch.equal(plain.next(), shifted.next())


def test_restarted_noise_begins_with_the_first_again():
    noise = NoiseSource([3, 4], (4, 8, 8), device=CPU, restart=True)
    first = noise.first()
    assert torch.equal(noise.next(), first)
    assert not torch.equal(noise.next(), first)


def test_resized_seed_keeps_the_middle():
    small = NoiseSource([5], (4, 8, 8), device=CPU).first()
    wide = NoiseSource([5], (4, 8, 14), device=CPU, variation=Variation(resize_from=(8, 8))).first()
    assert torch.equal(wide[..., 3:11], small)


def draw(seed):
    return torch.randn((4, 8, 8), generator=torch.Generator().manual_seed(seed))


@pytest.mark.filterwarnings("ignore:Should have")  # torchsde's, for ends it has rounded itself
@pytest.mark.parametrize("seed", [0, 1234, 2**40 + 5])
def test_brownian_path_equals_torchsde(seed):
    low, high = 0.02916753850877285, 14.614643096923828
    theirs = torchsde.BrownianTree(low, torch.zeros(4, 8, 8), high, entropy=seed)
    path = BrownianPath(low, high, seed, draw)
    levels = karras_between(12, low, high).tolist()
    for upper, lower in zip(levels, levels[1:], strict=False):
        for start in (lower, (lower * upper) ** 0.5):
            assert torch.equal(path(start, upper), torch.as_tensor(theirs(start, upper)))


def test_brownian_path_adds_up_in_any_order():
    path = BrownianPath(0.1, 10.0, 1, draw)
    whole = path(0.1, 10.0)
    later = path(3.0, 10.0)
    torch.testing.assert_close(path(0.1, 3.0) + later, whole)
    assert torch.equal(BrownianPath(0.1, 10.0, 1, draw)(3.0, 10.0), later)
    assert path(2.0, 2.0).abs().max() == 0


def test_brownian_noise_is_standard_and_turns_with_the_way():
    sigmas = torch.tensor([10.0, 4.0, 1.0, 0.1, 0.0])
    noise = BrownianNoise(range(64), sigmas, draw)
    for start, end in zip(sigmas[:3], sigmas[1:4], strict=True):
        drawn = noise(start, end)
        assert drawn.shape == (64, 4, 8, 8)
        assert drawn.std().item() == pytest.approx(1, abs=0.03)
        assert torch.equal(noise(end, start), -drawn)
