"""Faces on ArcFace's template, and what its networks are given."""

from typing import Any

import numpy as np
import pytest
from PIL import Image

from modules.core.errors import ModelFileError
from modules.core.paths import Paths
from modules.detect.detectors import Detectors
from modules.detect.faces import TEMPLATE, FaceReader, aligned, five_points, largest, similarity
from modules.library.detectors import DetectorFiles
from tests.tiny_faces import photograph, write_reader

TURN = np.array([[0.8, -0.6], [0.6, 0.8]])


def test_a_similarity_is_found_again():
    moved = TEMPLATE @ (2.5 * TURN).T + [7, -3]
    found = similarity(TEMPLATE, moved)
    assert np.allclose(found, [[2.0, -1.5, 7], [1.5, 2.0, -3]])
    assert np.allclose(similarity(moved, TEMPLATE)[:, :2] @ found[:, :2], np.eye(2))
    assert np.allclose(similarity(np.ones((5, 2)), TEMPLATE) @ [1, 1, 1], TEMPLATE.mean(axis=0))


def test_it_never_mirrors_and_is_the_nearest_one():
    noisy = TEMPLATE * [-1, 1] + np.random.default_rng(0).normal(size=(5, 2))
    found = similarity(TEMPLATE, noisy)
    assert np.linalg.det(found[:, :2]) > 0

    def miss(matrix):
        return ((TEMPLATE @ matrix[:, :2].T + matrix[:, 2] - noisy) ** 2).sum()

    for n in range(6):
        for step in (-0.01, 0.01):  # of the similarities about it none is nearer
            a, b, x, y = found[0, 0], found[1, 0], found[0, 2], found[1, 2]
            values = np.array([a, b, x, y])
            values[n % 4] += step
            a, b, x, y = values
            assert miss(np.array([[a, -b, x], [b, a, y]])) > miss(found)


def test_a_face_lies_on_the_template_however_it_is_turned(tmp_path):
    faces: Any = Detectors(DetectorFiles(Paths(data=tmp_path))).get("mediapipe_face_mesh")
    picture = photograph()
    seen = []
    for image in (picture, np.array(Image.fromarray(picture).rotate(15, Image.Resampling.BICUBIC).resize((700, 700)))):
        mesh = largest(faces.meshes(Image.fromarray(image), 0.5))
        assert mesh is not None
        points = five_points(mesh)
        matrix = similarity(points, TEMPLATE)
        assert np.abs(points @ matrix[:, :2].T + matrix[:, 2] - TEMPLATE).max() < 6  # she smiles
        seen.append(aligned(image, points).astype(int))
    assert seen[0].shape == (112, 112, 3)
    assert (
        np.abs(seen[0] - seen[1])[20:100, 20:92].mean() < 10 < np.abs(seen[0] - seen[1][:, ::-1])[20:100, 20:92].mean()
    )
    assert largest([]) is None


@pytest.mark.parametrize("prepared", [False, True])
def test_the_network_is_given_minus_one_to_one(tmp_path, prepared):
    matrix = write_reader(tmp_path / "reader.xml", prepared=prepared)
    face = np.random.default_rng(1).integers(0, 256, (112, 112, 3), dtype=np.uint8)
    means = face.astype(float).reshape(14, 8, 14, 8, 3).mean(axis=(1, 3)).transpose(2, 0, 1).reshape(1, -1)
    expected = (means / 127.5 - 1) @ matrix
    assert np.allclose(FaceReader(tmp_path / "reader.xml").tell(face), expected[0], atol=1e-2)


def test_other_files_are_refused(tmp_path):
    (tmp_path / "broken.onnx").write_bytes(b"no network")
    with pytest.raises(ModelFileError, match='"broken.onnx" is damaged or no network'):
        FaceReader(tmp_path / "broken.onnx")
    from tests.control.test_dwpose import write

    write(tmp_path / "other.xml", [1, 3, 112, 112], [np.zeros(5)])
    with pytest.raises(ModelFileError, match=r'"other.xml" takes no faces of 112 x 112 pixels to give 512 numbers'):
        FaceReader(tmp_path / "other.xml").tell(np.zeros((112, 112, 3), np.uint8))
