"""The bundled detectors on a photograph, and YOLO networks with known answers."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from modules.core.errors import ModelFileError, UnknownName
from modules.core.paths import Paths
from modules.detect.blaze import LAYOUTS
from modules.detect.detection import Letterbox, best
from modules.detect.detectors import Detectors
from modules.library.detectors import BUNDLED, DetectorFiles

FACE = (170, 60, 285, 190)  # about the face in the photograph


@pytest.fixture(scope="module")
def detectors(tmp_path_factory):
    return Detectors(DetectorFiles(Paths(data=tmp_path_factory.mktemp("data"))))


@pytest.fixture(scope="module")
def astronaut() -> Image.Image:
    import skimage.data

    return Image.open(Path(skimage.data.__file__).with_name("astronaut.png")).convert("RGB")


@pytest.mark.parametrize("name", [name for name in BUNDLED if "face" in name])
def test_a_face_is_found_where_it_is(detectors, astronaut, name):
    (face,) = detectors.get(name).find(astronaut, 0.5)
    assert face.score > 0.8 and face.label == "face"
    left, top, right, bottom = face.mask.getbbox() or (0, 0, 0, 0)
    assert FACE[0] <= left and FACE[1] <= top and right <= FACE[2] and bottom <= FACE[3]
    assert detectors.get(name).find(astronaut, 0.99) == []


def test_a_mesh_follows_the_outline(detectors, astronaut):
    box, mesh, eyes = (
        np.asarray(detectors.get(name).find(astronaut, 0.5)[0].mask).sum()
        for name in ("mediapipe_face_short", "mediapipe_face_mesh", "mediapipe_face_mesh_eyes_only")
    )
    assert 0.5 * box < mesh < 0.95 * box and eyes < 0.2 * mesh


def test_a_face_is_found_in_a_wide_picture_where_it_stands(detectors, astronaut):
    wide = Image.new("RGB", (1200, 512), "grey")
    wide.paste(astronaut, (600, 0))
    (face,) = detectors.get("mediapipe_face_full").find(wide, 0.5)
    left, top, right, bottom = face.box
    assert FACE[0] + 600 <= (left + right) / 2 <= FACE[2] + 600 and FACE[1] <= (top + bottom) / 2 <= FACE[3]


def test_a_person_is_found_and_nothing_in_nothing(detectors, astronaut):
    (person,) = detectors.get("mediapipe_person").find(astronaut, 0.5)
    left, top, right, bottom = person.box
    assert left < 200 and right > 300 and bottom - top > 300
    for name in BUNDLED:
        assert detectors.get(name).find(Image.new("RGB", (64, 48), "white"), 0.5) == []


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("mediapipe_face_short", 896),
        ("mediapipe_face_full", 2304),
        ("mediapipe_hand", 2016),
        ("mediapipe_person", 2254),
    ],
)
def test_anchors(name, count):
    anchors = LAYOUTS[name].anchors()
    assert anchors.shape == (count, 2) and anchors.min() > 0 and anchors.max() < 1


def test_the_surest_takes_out_what_it_overlaps():
    boxes = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [20, 0, 30, 10]], float)
    assert best(boxes, np.array([0.5, 0.9, 0.7]), 0.5) == [1, 2]


def test_a_letterbox_gives_points_and_masks_back():
    fitted = Letterbox(Image.new("RGB", (200, 100), "white"), 50, 50)
    assert fitted.pixels.shape == (50, 50, 3) and fitted.pixels[0].max() == 0 and fitted.pixels[25].min() == 255
    np.testing.assert_allclose(fitted.back(np.array([[0, 12], [50, 37]])), [[0, 0], [200, 100]])
    mask = np.zeros((50, 50))
    mask[:, :25] = 1
    back = np.asarray(fitted.mask_back(mask))
    assert back.shape == (100, 200) and back[50, 20] == 255 and back[50, 180] == 0


def yolo(path: Path, rows: list[list[float]], prototypes: np.ndarray | None = None, names: str = "") -> Path:
    """A network whose answer does not depend on what it sees: rows of middle, size, classes, coefficients."""
    import openvino
    from openvino import opset13 as ops

    x: Any = ops.parameter([1, 3, 64, 64], np.float32, name="images")
    nothing = ops.multiply(ops.reduce_sum(x, np.array([0, 1, 2, 3])), np.float32(0))
    outputs: list[Any] = [ops.add(ops.constant(np.array(rows, np.float32).T[None]), nothing)]
    if prototypes is not None:
        outputs.append(ops.add(ops.constant(prototypes.astype(np.float32)[None]), nothing))
    build: Any = openvino.Model  # whose two definitions pyright cannot tell apart
    model = build(outputs, [x], "yolo")
    if names:
        model.set_rt_info(names, ["framework", "names"])
    path.parent.mkdir(parents=True, exist_ok=True)
    openvino.save_model(model, path, compress_to_fp16=False)
    return path


def test_a_yolo_file_finds_what_it_says(tmp_path: Path):
    folder = tmp_path / "models" / "adetailer"
    rows = [[32, 32, 16, 16, 0.9, 0.1], [33, 32, 16, 16, 0.8, 0.1], [8, 8, 8, 8, 0.1, 0.6], [50, 50, 4, 4, 0.2, 0.1]]
    yolo(folder / "face_yolov8n.xml", rows, names="{0: 'face', 1: 'hand'}")
    detectors = Detectors(DetectorFiles(Paths(data=tmp_path)))
    assert "face_yolov8n" in DetectorFiles(Paths(data=tmp_path)).names()
    image = Image.new("RGB", (128, 128))
    found = detectors.get("face_yolov8n.pt").find(image, 0.5)  # as ADetailer's users write it
    assert [(one.label, round(one.score, 2), [round(side) for side in one.box]) for one in found] == [
        ("face", 0.9, [48, 48, 80, 80]),
        ("hand", 0.6, [8, 8, 24, 24]),
    ]
    assert [one.label for one in detectors.get("face_yolov8n").find(image, 0.5, ["hand"])] == ["hand"]


def test_a_yolo_file_with_outlines(tmp_path: Path):
    prototypes = np.full((1, 16, 16), -9.0)
    prototypes[0, 4:12, 8:12] = 9.0
    yolo(tmp_path / "models" / "ultralytics" / "segm" / "seg.xml", [[32, 32, 40, 40, 0.9, 1.0]], prototypes)
    (one,) = Detectors(DetectorFiles(Paths(data=tmp_path))).get("seg").find(Image.new("RGB", (64, 64)), 0.5)
    left, top, right, bottom = one.mask.getbbox() or (0, 0, 0, 0)
    assert (abs(left - 32), abs(top - 16), abs(right - 48), abs(bottom - 48)) <= (2, 2, 2, 2) and one.label == "0"


def test_what_is_no_detector_is_told(tmp_path: Path):
    folder = tmp_path / "models" / "adetailer"
    folder.mkdir(parents=True)
    (folder / "broken.onnx").write_bytes(b"<html>")
    (folder / "face_yolov8s.pt").write_bytes(b"x")
    detectors = Detectors(DetectorFiles(Paths(data=tmp_path)))
    with pytest.raises(ModelFileError, match='"broken.onnx" cannot be read as a detector'):
        detectors.get("broken")
    with pytest.raises(ModelFileError, match="yolo export model=face_yolov8s.pt format=onnx"):
        detectors.get("face_yolov8s.pt")
    with pytest.raises(UnknownName, match="mediapipe_face_full"):
        detectors.get("mediapipe_face_ful")
