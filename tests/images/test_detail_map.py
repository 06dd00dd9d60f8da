"""The map of a picture's detail."""

import numpy as np
from PIL import Image

from modules.images.detail_map import detail_map


def test_flat_pictures_have_none():
    assert detail_map(Image.new("RGB", (40, 30), (90, 120, 30)), 8).max() == 0


def test_a_window_is_the_mean_of_what_is_in_it_mirrored_at_the_border():
    values = np.random.default_rng(0).integers(0, 256, (9, 11), dtype=np.uint8)
    brightness = values.astype(np.float64) / 255
    wide = np.pad(brightness, ((2, 1), (2, 1)), mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(wide, (4, 4))
    mean = windows.mean((2, 3))
    variance = (windows**2).mean((2, 3)) - mean**2
    slope = variance / (variance + 0.01)
    change = slope * brightness + mean - slope * mean - brightness
    found = detail_map(Image.fromarray(values), 4)
    off = np.abs(found * 255 - np.trunc(change * 255) % 256)
    assert np.minimum(off, 256 - off).max() <= 1.01


def test_windows_larger_than_the_picture():
    assert detail_map(Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)), 512).shape == (8, 8)
