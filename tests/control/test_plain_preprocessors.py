"""Preprocessors that need no weights: what they make of pictures with known answers, and how they bound what they are given."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from modules.control.preprocessors.composer import histogram
from modules.control.preprocessors.pixels import MAX_PIXELS, MAX_SIDE
from modules.control.preprocessors.registry import Preprocessors
from modules.control.preprocessors.tools import Tools
from modules.core.errors import InputError, UnknownName
from modules.core.paths import Paths
from modules.detect.detectors import Detectors
from modules.devices.choice import choose_compute
from modules.library.detectors import DetectorFiles
from modules.library.preprocessors import PreprocessorFiles

PLAIN = [name for name, p in Preprocessors().items() if not p.entry.weights and name != "instant_id_face_keypoints"]
"""That one wants a face in the picture, and is tried in test_faces."""


@pytest.fixture(scope="module")
def preprocessors(tmp_path_factory):
    paths = Paths(data=tmp_path_factory.mktemp("data"))
    tools = Tools(PreprocessorFiles(paths), choose_compute(use_cpu=True), Detectors(DetectorFiles(paths)))
    return Preprocessors(tools)


@pytest.fixture(scope="module")
def square() -> np.ndarray:
    """A dark square on light ground."""
    pixels = np.full((96, 128, 3), 220, np.uint8)
    pixels[32:64, 40:88] = (30, 60, 90)
    return pixels


def with_mask(pixels: np.ndarray) -> np.ndarray:
    alpha = np.zeros((*pixels.shape[:2], 1), np.uint8)
    alpha[: alpha.shape[0] // 2] = 255
    return np.concatenate([pixels, alpha], axis=2)


@pytest.mark.parametrize("name", PLAIN)
@pytest.mark.parametrize("shape", [(1, 1), (1, 10000), (10000, 1), (3, 2)])
def test_odd_shapes_are_bounded(preprocessors, name, shape):
    preprocessor = preprocessors.get(name)
    pixels = np.random.default_rng(0).integers(0, 255, (*shape, 3), np.uint8)
    found = preprocessor.run(with_mask(pixels) if preprocessor.entry.mask else pixels)
    assert found.dtype == np.uint8 and found.ndim == 3 and found.shape[2] in (3, 4)
    assert found.shape[0] * found.shape[1] <= MAX_PIXELS and max(found.shape) <= MAX_SIDE


@pytest.mark.parametrize("name", PLAIN)
def test_the_same_picture_gives_the_same(preprocessors, name, square):
    preprocessor = preprocessors.get(name)
    pixels = with_mask(square) if preprocessor.entry.mask else square
    before = pixels.copy()
    first = preprocessor.run(pixels, resolution=128)
    assert np.array_equal(first, preprocessor.run(pixels, resolution=128)) and np.array_equal(pixels, before)
    if preprocessor.entry.resolution:
        assert min(first.shape[:2]) == (96 if name == "color" else 128)


@pytest.mark.parametrize("name", ["canny", "scribble_xdog", "lineart_standard", "opencv_line_segments"])
def test_lines_are_where_the_edge_is(preprocessors, name, square):
    found = preprocessors.get(name).run(square, resolution=96).max(axis=2) > 60
    near = np.zeros((96, 128), bool)
    near[24:72, 32:96] = True
    assert found.sum() > 60 and not (found & ~near).any()
    assert not preprocessors.get(name).run(np.full((96, 96, 3), 128, np.uint8)).any()


def test_canny_heeds_its_thresholds(preprocessors, square):
    soft = (square // 8 + 100).astype(np.uint8)
    canny = preprocessors.get("canny")
    assert not canny.run(soft, 96, 100, 200).any() and canny.run(soft, 96, 10, 20).any()


def test_tones(preprocessors, square):
    assert np.array_equal(preprocessors.get("invert (from white bg & black line)").run(square), 255 - square)
    assert np.array_equal(preprocessors.get("none").run(square), square)
    binary = preprocessors.get("threshold").run(square, 96)
    assert binary[0, 0].tolist() == [255] * 3 and binary[48, 64].tolist() == [0] * 3
    dark = preprocessors.get("recolor_intensity").run(square, threshold_a=2)[48, 64]
    assert dark.tolist() == [int(90**2 / 255)] * 3


def test_tiles(preprocessors, square):
    assert preprocessors.get("tile_resample").run(square, threshold_a=4).shape == (24, 32, 3)
    assert np.array_equal(preprocessors.get("tile_resample").run(square, threshold_a=1), square)
    grid = preprocessors.get("t2ia_color_grid").run(square)
    assert grid.shape == square.shape and len(np.unique(grid.reshape(-1, 3), axis=0)) <= 2
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    assert preprocessors.get("blur_gaussian").run(noise, 64).std() < noise.std() / 4


def test_a_shuffle_keeps_the_colours(preprocessors, square):
    found = preprocessors.get("shuffle").run(square)
    assert min(found.shape[:2]) == 512 and abs(float(found.mean()) - float(square.mean())) < 60
    assert len(np.unique(found.reshape(-1, 3), axis=0)) > 1


def test_a_mask_is_asked_for_and_goes_along(preprocessors, square):
    for name in ("inpaint_only", "inpaint_global_harmonious", "composer_masking"):
        with pytest.raises(InputError, match="needs a mask"):
            preprocessors.get(name).run(square)
        assert preprocessors.get(name).run(with_mask(square)).shape == (96, 128, 4)
    left = preprocessors.get("composer_masking").run(with_mask(square))
    assert not left[:48, :, :3].any() and np.array_equal(left[48:, :, :3], square[48:])


def test_a_palette_tells_the_colours(preprocessors):
    pixels = np.zeros((64, 64, 3), np.uint8)
    pixels[:16] = (255, 0, 0)
    shares = histogram(pixels)
    assert shares.shape == (132,) and shares.sum() == pytest.approx(1, abs=1e-4)
    stripes = preprocessors.get("composer_palette").run(pixels, 64, 132)
    assert stripes[0, 0].tolist() == [0, 0, 0]
    assert 0.2 < (stripes[0, :, 0] > stripes[0, :, 1] + 100).mean() < 0.3
    assert len(np.unique(preprocessors.get("composer_palette").run(pixels, 64, 2).reshape(-1, 3), axis=0)) == 2


def test_a_face_is_drawn_where_it_is(preprocessors):
    import skimage.data

    photograph = np.array(Image.open(Path(skimage.data.__file__).with_name("astronaut.png")).convert("RGB"))
    drawn = preprocessors.get("mediapipe_face").run(photograph).max(axis=2)
    rows, columns = np.nonzero(drawn)
    assert rows.min() > 60 and rows.max() < 190 and columns.min() > 170 and columns.max() < 285
    assert not preprocessors.get("mediapipe_face").run(photograph, threshold_b=0.99).any()


def test_wrong_values_become_the_default_or_a_sentence(preprocessors, square):
    canny = preprocessors.get("canny")
    values, said = canny.entry.settled(-1, -1, 300)
    assert (values.resolution, values.a, values.b) == (512, 100, 200)
    assert said == ['canny: threshold_b is "300", outside 1 to 255; it is 200 instead.']
    for wrong in (float("nan"), float("inf")):
        with pytest.raises(InputError, match="finite number"):
            canny.run(square, threshold_a=wrong)
    with pytest.raises(InputError, match="it must have a pixel"):
        canny.run(np.zeros((0, 5, 3), np.uint8))
    with pytest.raises(InputError, match="no array of bytes"):
        canny.run(square.astype(np.float32))
    with pytest.raises(UnknownName, match="Nearest: canny"):
        preprocessors.get("cany")


def test_a_picture_with_alpha_lies_over_white(preprocessors):
    clear = np.zeros((8, 8, 4), np.uint8)
    assert preprocessors.get("tile_resample").run(clear).min() == 255
