"""DWPose's two networks with known answers: a person is found where it is, and drawn from its points."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from modules.control.preprocessors.dwpose import PEOPLE, POINTS, SPLIT, as_openpose
from modules.control.preprocessors.people import FINGERS, drawn
from modules.control.preprocessors.registry import Preprocessors
from modules.control.preprocessors.tools import Tools
from modules.core.paths import Paths
from modules.detect.detectors import Detectors
from modules.devices.choice import choose_compute
from modules.library.detectors import DetectorFiles
from modules.library.preprocessors import PreprocessorFiles

WIDE, HIGH = 72, 96  # of what the second network sees


def write(path: Path, shape: list[int], answers: list[np.ndarray]) -> None:
    """A network of that input whose answers do not depend on what it sees."""
    import openvino
    from openvino import opset13 as ops

    x: Any = ops.parameter(shape, np.float32, name="input")
    nothing = ops.multiply(ops.reduce_sum(x, np.array([0, 1, 2, 3])), np.float32(0))
    outputs: list[Any] = [ops.add(ops.constant(answer.astype(np.float32)[None]), nothing) for answer in answers]
    build: Any = openvino.Model
    path.parent.mkdir(parents=True, exist_ok=True)
    openvino.save_model(build(outputs, [x], "network"), path, compress_to_fp16=False)


def test_a_person_is_drawn_from_its_points(tmp_path):
    home = tmp_path / "models" / "ControlNetPreprocessor" / "openpose"
    rows = np.full((64 + 16 + 4, 85), -5.0)  # of 64 x 64 pixels: cells of 8, 16 and 32
    rows[:, 4:] = 0
    rows[81, :6] = [0.0, 0.0, np.log(1.0), np.log(1.5), 0.9, 1.0]  # the second cell of 32: its corner, 32 wide, 48 high
    write(home / PEOPLE.others[0], [1, 3, 64, 64], [rows])
    across, down = np.full((133, WIDE * SPLIT), -1.0), np.full((133, HIGH * SPLIT), -1.0)
    places = {0: (36, 10), 5: (50, 40), 6: (22, 40), 7: (60, 60), 11: (46, 80), 91: (60, 70), 92: (62, 74), 23: (30, 8)}
    for point, (x, y) in places.items():
        across[point, x * SPLIT] = down[point, y * SPLIT] = 0.9
    write(home / POINTS.others[0], [1, 3, HIGH, WIDE], [across, down])
    paths = Paths(data=tmp_path)
    tools = Tools(PreprocessorFiles(paths), choose_compute(use_cpu=True), Detectors(DetectorFiles(paths)))
    drawn = Preprocessors(tools).get("dw_openpose_full").run(np.zeros((128, 128, 3), np.uint8), 128)
    assert drawn.shape == (128, 128, 3)
    lit = np.argwhere(drawn.max(axis=2) > 0)
    # the box is 64 x 96 about (64, 0); with its margin 120 high and, in the network's shape, 90 wide
    scale = 120 / HIGH
    for x, y in (places[5], places[7]):
        place = np.array([0 + (y - HIGH / 2) * scale, 64 + (x - WIDE / 2) * scale])
        if place.min() > 0:
            assert np.abs(lit - place).sum(axis=1).min() < 6
    assert lit[:, 0].max() < 60 and len(lit) > 50


def test_points_stand_in_openpose_order():
    points = np.zeros((133, 3))
    points[:, 0] = np.arange(133)
    points[5, 2] = points[6, 2] = 1
    found = as_openpose(points)
    assert found.shape == (134, 3)
    assert found[:8, 0].tolist() == [0, 5.5, 6, 8, 10, 5, 7, 9] and found[1, 2] == 1
    assert found[8:18, 0].tolist() == [12, 14, 16, 11, 13, 15, 2, 1, 4, 3]
    assert found[18, 0] == 17 and found[-1, 0] == 132


def test_a_hand_is_drawn_where_its_points_are():
    person = SimpleNamespace(
        left_hand=[SimpleNamespace(x=0.1 + 0.03 * i, y=0.5) for i in range(21)], right_hand=[None] * 21, face=None
    )
    drawing = drawn([person], (200, 100), body=False, hand=True, face=True)
    rows, columns = np.nonzero(drawing.max(axis=2))
    assert (rows.min(), rows.max()) == (46, 54) and (columns.min(), columns.max()) == (16, 144)
    assert {tuple(pair) for pair in FINGERS} >= {(0, 1), (0, 5), (0, 17), (19, 20)} and len(FINGERS) == 20
