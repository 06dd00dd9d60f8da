"""Resize modes: sizes, shapes, borders; pictures of extreme shapes."""

import numpy as np
import pytest
from PIL import Image

from modules.images.resizing import CROP, FILL, JUST, LATENT, flattened, resize_picture

STRIPES = Image.fromarray(np.repeat(np.arange(60, dtype=np.uint8)[:, None, None] * 4, 100, 1).repeat(3, 2))


@pytest.mark.parametrize("mode", [JUST, CROP, FILL, LATENT])
@pytest.mark.parametrize("size", [(1, 1), (1, 10_000), (10_000, 1), (100, 60)])
def test_every_picture_gets_the_size(mode, size):
    assert resize_picture(Image.new("RGB", size, "red"), mode, 64, 128).size == (64, 128)


@pytest.mark.parametrize("size", [(1, 10_000), (10_000, 1), (7, 3), (64, 64)])
def test_one_colour_stays_one_colour(size):
    for mode in (JUST, CROP):
        found = np.asarray(resize_picture(Image.new("RGB", size, (9, 200, 30)), mode, 80, 64))
        assert (found == (9, 200, 30)).all()


def test_cutting_keeps_the_shape_and_the_middle():
    found = np.asarray(resize_picture(STRIPES, CROP, 60, 60))
    assert np.abs(found[..., 0].astype(int) - np.arange(60)[:, None] * 4).max() == 0


def test_filling_draws_the_border_out():
    found = np.asarray(resize_picture(STRIPES, FILL, 100, 100))[..., 0].astype(int)
    assert np.abs(found[20:80] - np.arange(60)[:, None] * 4).max() == 0
    assert found[:20].max() <= 1
    assert (found[80:] >= 59 * 4 - 1).all()
    sideways = np.asarray(resize_picture(STRIPES.rotate(90, expand=True), FILL, 100, 100))[..., 0]
    assert (sideways == np.asarray(Image.fromarray(found.astype(np.uint8)).rotate(90))).all()


def test_transparent_is_over_the_background():
    image = Image.new("RGBA", (2, 1), (255, 0, 0, 255))
    image.putpixel((1, 0), (255, 0, 0, 0))
    assert list(flattened(image, "#00ff00").get_flattened_data()) == [(255, 0, 0), (0, 255, 0)]
    assert flattened(image.convert("LA"), "#00ff00").getpixel((1, 0)) == (0, 255, 0)
    assert flattened(Image.new("I;16", (2, 2), 40_000), "#ffffff").mode == "RGB"
