"""Borders that are not seen."""

import numpy as np
from PIL import Image

from modules.images.seams import matched, smoothed

SIZE = 96
BORDER = 40  # the first column that was drawn


def waves(shift: float) -> Image.Image:
    """A smooth picture with some grain, brighter by that much."""
    y, x = np.mgrid[0:SIZE, 0:SIZE]
    grain = np.random.default_rng(1).normal(0, 2, (SIZE, SIZE))
    values = 110 + 30 * np.sin(x / 9) + 20 * np.cos(y / 13) + grain + shift
    return Image.fromarray(np.clip(np.stack([values, values * 0.9, values * 0.8], 2), 0, 255).astype(np.uint8))


def steps(image: Image.Image) -> np.ndarray:
    """How much neighbouring columns differ, for every pair of them."""
    values = np.asarray(image, dtype=np.float64)
    return np.abs(np.diff(values, axis=1)).mean(axis=(0, 2))


def joined(original: Image.Image, drawn: Image.Image) -> Image.Image:
    found = drawn.copy()
    found.paste(original.crop((0, 0, BORDER, SIZE)), (0, 0))
    return found


MASK = Image.new("L", (SIZE, SIZE), 255)
MASK.paste(0, (0, 0, BORDER, SIZE))


def test_a_step_in_brightness_disappears():
    original, drawn = waves(0), waves(25)
    before = steps(joined(original, drawn))[BORDER - 1]
    after = steps(joined(original, matched(drawn, original, MASK)))
    inside = np.median(after)
    assert before > 5 * inside
    assert after[BORDER - 1] <= 1.5 * inside


def test_what_is_far_away_and_what_stays_are_left_as_they_are():
    original, drawn = waves(0), waves(25)
    found = np.asarray(matched(drawn, original, MASK)).astype(int)
    before = np.asarray(drawn).astype(int)
    assert np.array_equal(found[:, :BORDER], before[:, :BORDER])
    far = matched(waves(25).resize((400, SIZE)), waves(0).resize((400, SIZE)), MASK.resize((400, SIZE), 0))
    assert np.array_equal(np.asarray(far)[:, -60:], np.asarray(waves(25).resize((400, SIZE)))[:, -60:])


def test_without_a_border_nothing_changes():
    original, drawn = waves(0), waves(25)
    for colour in (0, 255):
        found = matched(drawn, original, Image.new("L", drawn.size, colour))
        assert np.array_equal(np.asarray(found), np.asarray(drawn))


def test_smoothing_keeps_what_is_even_and_the_shape():
    even = np.full((5, 70, 3), 7.0, np.float32)
    assert smoothed(even, 24).shape == even.shape
    assert np.allclose(smoothed(even, 24), 7, atol=1e-4)
