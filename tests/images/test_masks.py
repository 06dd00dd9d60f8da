"""Masks: how they are read, blurred and cut; what they hide and let through."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from modules.images.masks import blurred, filled, mask_of, masked_region, overlaid, without

RECORDED = json.loads(Path(__file__).parents[1].joinpath("data", "opencv_blur.json").read_text())


def disc(size=(64, 48), centre=(40, 20), radius=9) -> Image.Image:
    mask = Image.new("L", size)
    ImageDraw.Draw(mask).circle(centre, radius, fill=255)
    return mask


@pytest.mark.parametrize("case", RECORDED, ids=lambda case: f"{case['x']}x{case['y']}")
def test_blur_is_opencvs(case):
    """Recorded from OpenCV's GaussianBlur, kernel 2 int(2.5 sigma + 0.5) + 1, first along x, then along y."""
    mask = Image.fromarray(np.array(case["mask"], np.uint8))
    assert np.asarray(blurred(mask, case["x"], case["y"])).tolist() == case["blurred"]


@pytest.mark.parametrize("size", [(1, 1), (1, 100), (100, 1), (3, 2)])
def test_blur_of_small_masks(size):
    assert set(np.asarray(blurred(Image.new("L", size, 255), 64, 64)).ravel()) == {255}


def test_masks_are_read_from_alpha_where_there_is_any():
    image = Image.new("RGBA", (3, 1), (255, 255, 255, 255))
    for x, alpha in enumerate((0, 129, 128)):
        image.putpixel((x, 0), (255, 255, 255, alpha))
    assert np.asarray(mask_of(image, rounded=True)).tolist() == [[0, 255, 0]]
    assert np.asarray(mask_of(image, rounded=False)).tolist() == [[0, 129, 128]]
    assert np.asarray(mask_of(Image.new("RGBA", (1, 1), (9, 9, 9, 255)), rounded=True)).tolist() == [[9]]
    assert np.asarray(mask_of(Image.new("1", (1, 1), 1), rounded=True)).tolist() == [[255]]


@pytest.mark.parametrize(
    ("padding", "size", "region"), [(0, (64, 64), (31, 11, 50, 30)), (8, (64, 64), (23, 3, 58, 38))]
)
def test_region_holds_the_mask_and_has_the_shape(padding, size, region):
    assert masked_region(disc(), padding, *size) == region


def test_region_stays_inside():
    for padding in (0, 5, 100):
        for size in ((64, 512), (512, 64), (64, 64)):
            left, top, right, bottom = masked_region(disc(), padding, *size) or (0, 0, 0, 0)
            assert 0 <= left <= 31
            assert 50 <= right <= 64
            assert 0 <= top <= 11
            assert 30 <= bottom <= 48
    assert masked_region(Image.new("L", (64, 48)), 8, 64, 64) is None


def test_filling_takes_the_colours_around():
    image = Image.new("RGB", (64, 48), (200, 40, 10))
    image.paste((0, 0, 0), mask=disc())
    assert np.abs(np.asarray(filled(image, disc(radius=11))).astype(int) - (200, 40, 10)).max() <= 8


def test_what_is_not_masked_comes_back():
    image, drawn = Image.new("RGB", (64, 48), (200, 40, 10)), Image.new("RGB", (64, 48), (0, 0, 255))
    found = np.asarray(overlaid(drawn, without(image, disc())))
    inside = np.asarray(disc()) > 0
    assert (found[inside] == (0, 0, 255)).all()
    assert (found[~inside] == (200, 40, 10)).all()


def test_a_part_is_laid_where_it_belongs():
    image = Image.new("RGB", (64, 48), (200, 40, 10))
    found = np.asarray(overlaid(Image.new("RGB", (128, 128), (0, 0, 255)), without(image, disc()), (30, 10, 51, 31)))
    assert (found[20, 40] == (0, 0, 255)).all()
    assert (found[:10] == (200, 40, 10)).all()
