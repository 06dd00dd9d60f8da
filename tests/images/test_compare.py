"""How far two pictures are from each other, and which setting differs first."""

import math

import pytest
from PIL import Image

from modules.images.compare import equal, first_difference, psnr
from modules.images.infotext import parse_infotext

OLD = "a fox\nNegative prompt: blue\nSteps: 20, Sampler: Euler a, CFG scale: 7.0, Seed: 5, Size: 64x64, Model hash: abc, Version: v1.10.1"


def test_psnr():
    grey = Image.new("RGB", (8, 8), (100, 100, 100))
    assert psnr(grey, grey.convert("RGBA")) == math.inf
    assert psnr(grey, Image.new("RGB", (8, 8), (110, 110, 110))) == pytest.approx(20 * math.log10(25.5), abs=1e-9)
    half = Image.new("L", (3, 700), 0)
    half.paste(255, (0, 0, 3, 350))
    assert psnr(Image.new("L", (3, 700), 0), half) == pytest.approx(10 * math.log10(2), abs=1e-9)
    assert psnr(Image.new("L", (8, 8), 0), Image.new("L", (8, 8), 255)) == 0


@pytest.mark.parametrize(
    ("new", "difference"),
    [
        (OLD, None),
        (OLD.replace("v1.10.1", "Atelier 0.1.0").replace("7.0", "7"), None),
        (OLD.replace("Model hash: abc", "Clip skip: 1, RNG: GPU"), None),
        (OLD.replace("blue", "red"), ("Negative prompt", "blue", "red")),
        (OLD.replace("fox", "cat").replace("blue", "red"), ("Prompt", "a fox", "a cat")),
        (OLD.replace("Seed: 5", "Seed: 6").replace("64x64", "8x8"), ("Seed", "5", "6")),
        (OLD.replace("Version", "RNG: CPU, Version"), ("RNG", "GPU", "CPU")),
        (OLD.replace("abc", "abd"), ("Model hash", "abc", "abd")),
        (OLD.replace("Steps: 20, ", ""), ("Steps", "20", "")),
    ],
)
def test_the_first_setting_that_differs(new, difference):
    assert first_difference(parse_infotext(OLD), parse_infotext(new)) == difference


def test_what_means_the_same():
    assert first_difference(parse_infotext(OLD), parse_infotext(OLD.replace("Euler a", "k")), lambda *_: True) is None
    assert equal("7", " 7.0")
    assert equal("True", "true")
    assert not equal("7", "")
    assert not equal("nan", "1")
