"""The starter's upscalers: better than Lanczos at its world, through the program's own loader too."""

import random

import numpy as np
import pytest
import torch
from PIL import Image

from modules.starter.fit import Budget
from modules.starter.scene import test_scene as scene_of
from modules.starter.train_upscaler import evaluate, file_of, pair, psnr, sharpness, to_pixels, train
from tests.upscale.tiny_upscalers import upscalers_at


@pytest.mark.parametrize(("factor", "gain"), [(2, 8), (4, 4)])
def test_better_than_lanczos(factor, gain):
    found = evaluate(factor, 4)
    ours, lanczos = found[f"starter-x{factor}"], found["Lanczos"]
    assert ours[0] > lanczos[0] + gain and ours[1] > lanczos[1] + 0.2
    assert file_of(factor).stat().st_size < 2_500_000


def test_found_by_name_and_used_whole(tmp_path):
    upscalers = upscalers_at(tmp_path)
    assert {"starter-x2", "starter-x4"} <= set(upscalers.names())
    low, true = pair(scene_of(random.Random(0)), 2)
    made = upscalers.get("starter-x2").upscale(low, 2)
    assert made.size == true.size == (256, 256)
    lanczos = low.resize(true.size, Image.Resampling.LANCZOS)
    assert psnr(to_pixels(made), to_pixels(true)) > psnr(to_pixels(lanczos), to_pixels(true)) + 5
    tiled = upscalers.get("starter-x2", {"ESRGAN_tile": 64, "ESRGAN_tile_overlap": 24}).upscale(low, 2)
    assert np.abs(np.asarray(tiled, int) - np.asarray(made, int)).max() <= 1


def test_training_goes_on_and_repeats(tmp_path):
    straight = train(tmp_path / "a.pt", Budget(steps=2), factor=2, batch=2)
    train(tmp_path / "b.pt", Budget(steps=1), factor=2, batch=2)
    from_two = train(tmp_path / "c.pt", Budget(steps=1), factor=4, start=tmp_path / "b.pt", batch=2)
    assert from_two.upscale == 4 and straight.upscale == 2
    first = torch.load(tmp_path / "b.pt", weights_only=True)["module"]["body.0.weight"]
    again = train(tmp_path / "d.pt", Budget(steps=1), factor=2, batch=2)
    assert torch.equal(torch.load(tmp_path / "d.pt", weights_only=True)["module"]["body.0.weight"], first)
    assert again.upscale == 2


def test_measures():
    true = torch.zeros(3, 8, 8)
    true[..., 4:] = 1
    assert sharpness(true, true) == 1 and sharpness(0.5 * true, true) == 0.5
    assert psnr(0.9 * true, true) == pytest.approx(23.01, abs=0.01)
