"""What larger pictures begin with."""

from typing import Any

import numpy as np
import pytest
from PIL import Image

from modules.core.errors import InputError
from modules.images.outpainting import begun, emptied, enlarged, margins_of


def grainy(size: tuple[int, int] = (64, 48)) -> Image.Image:
    values = np.random.default_rng(0).normal(120, 12, (size[1], size[0], 3))
    return Image.fromarray(np.clip(values, 0, 255).astype(np.uint8))


def test_the_old_picture_stays_and_the_rest_is_masked():
    old = grainy()
    first, mask = begun(enlarged(old, left=32, right=0, up=16, down=0))
    assert (first.size, first.mode, mask.mode) == ((96, 64), "RGB", "L")
    assert np.array_equal(np.asarray(first)[16:, 32:], np.asarray(old))
    assert np.asarray(mask)[16:, 32:].max() == 0
    assert np.asarray(mask)[:16].min() == np.asarray(mask)[:, :32].min() == 255


def test_what_is_new_has_the_colours_and_the_grain_of_the_old():
    first, _ = begun(enlarged(grainy(), left=0, right=64, up=0, down=0))
    old, new = np.asarray(first, dtype=float)[:, :64], np.asarray(first, dtype=float)[:, 64:]
    assert abs(old.mean() - new.mean()) < 8
    fine_old, fine_new = (np.diff(part, axis=1).std() for part in (old, new))
    assert 0.6 < fine_new / fine_old < 1.4
    assert np.array_equal(np.asarray(begun(enlarged(grainy(), left=0, right=64, up=0, down=0))[0]), np.asarray(first))


def test_nothing_at_all_begins_with_noise():
    first, mask = begun(Image.new("RGBA", (64, 64)))
    assert mask.getextrema() == (255, 255)
    assert 20 < np.asarray(first).std() < 60


def test_a_whole_picture_has_nothing_to_fill():
    _, mask = begun(grainy())
    assert mask.getbbox() is None


def test_masked_places_become_empty():
    mask = Image.new("L", (64, 48))
    mask.paste(255, (0, 0, 16, 48))
    _, found = begun(emptied(grainy().convert("RGBA"), mask))
    assert found.getbbox() == (0, 0, 16, 48)


@pytest.mark.parametrize(
    "said", [None, {}, {"by": 5}, {"by": {"left": -8}}, {"by": {"up": 1.5}}, {"by": {"down": 99_999}}]
)
def test_wrong_margins_are_told(said: Any):
    with pytest.raises(InputError, match="^outpaint "):
        margins_of(said)


def test_margins_are_read():
    assert margins_of({"by": {"left": 8, "down": 16}}) == {"left": 8, "right": 0, "up": 0, "down": 16}
