"""Drawings laid into pictures."""

import numpy as np
import pytest
from PIL import Image

from modules.core.errors import InputError
from modules.images.drawings import painted, repainted, scaled


def drawing(size: tuple[int, int], box: tuple[int, int, int, int]) -> Image.Image:
    found = Image.new("RGBA", size)
    found.paste((255, 0, 0, 255), box)
    return found


def test_a_sketch_covers_only_what_was_drawn_on():
    picture = Image.new("RGB", (64, 32), (0, 0, 200))
    found = painted(picture, drawing((64, 32), (0, 0, 16, 32)))
    assert found.mode == "RGB"
    assert found.getpixel((8, 8)) == (255, 0, 0)
    assert found.getpixel((40, 8)) == (0, 0, 200)


def test_a_smaller_drawing_is_enlarged_and_alpha_is_kept():
    picture = Image.new("RGBA", (64, 64), (0, 0, 200, 128))
    found = painted(picture, drawing((32, 32), (0, 0, 16, 32)))
    assert (found.mode, found.getpixel((4, 4)), found.getpixel((60, 4))) == ("RGBA", (255, 0, 0, 255), (0, 0, 200, 128))


def test_inpaint_sketch_masks_what_was_drawn_on():
    picture = Image.new("RGB", (64, 64), (0, 0, 200))
    blended, mask = repainted(picture, drawing((64, 64), (0, 0, 32, 64)), transparency=0, blur=0)
    assert (blended.getpixel((4, 4)), blended.getpixel((60, 4))) == ((255, 0, 0), (0, 0, 200))
    assert (mask.getpixel((4, 4)), mask.getpixel((60, 4))) == (255, 0)
    half, weak = repainted(picture, drawing((64, 64), (0, 0, 32, 64)), transparency=50, blur=0)
    assert weak.getpixel((4, 4)) == 128
    assert abs(np.asarray(half)[4, 4, 0].item() - 128) <= 1


def test_the_border_of_a_blurred_sketch_is_soft():
    picture = Image.new("RGB", (64, 64), (0, 0, 0))
    blended, _ = repainted(picture, drawing((64, 64), (0, 0, 32, 64)), transparency=0, blur=4)
    reds = np.asarray(blended)[32, :, 0].astype(int)
    assert reds[0] > 250
    assert reds[63] < 5
    assert np.all(np.diff(reds) <= 0)
    assert np.abs(np.diff(reds)).max() < 80


def test_sides_are_scaled_to_multiples_of_eight():
    assert scaled((513, 300), 2.0) == (1024, 600)
    assert scaled((512, 512), 0.5) == (256, 256)


@pytest.mark.parametrize(("size", "scale"), [((512, 512), 0.05), ((10_000, 500), 4.0)])
def test_sides_that_cannot_be_drawn_are_refused(size: tuple[int, int], scale: float):
    with pytest.raises(InputError, match=r"^scale is .* each side must be from 64 to 16384\. Choose another scale\.$"):
        scaled(size, scale)
