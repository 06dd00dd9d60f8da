"""Who a face is, as ArcFace (arXiv:1801.07698) tells it: a face is laid onto a template by five points, and a network makes a vector of it."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from modules.core.errors import ModelFileError
from modules.detect.blaze import LEFT_EYE, RIGHT_EYE
from modules.devices.network import compiled, read_network

Array = NDArray[np.float64]

SIDE = 112
TEMPLATE = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)
"""Where ArcFace's networks want the eyes, the nose's tip and the corners of the mouth, from left to right, in pixels of their input."""

NOSE, MOUTH_RIGHT, MOUTH_LEFT = 4, 61, 291
"""Points of the face mesh; right and left are the person's own."""

WIDTH = 512
MIDDLE = 127.5
"""Pixels are -1 to 1 to these networks, but for those that begin by subtracting and multiplying: they take bytes as they are."""

FIRST_STEPS = 8


def five_points(mesh: Array) -> Array:
    """The five points (5, 2) in the template's order, of a face mesh (468, 2), whose eyes are outlines."""
    eyes = [mesh[list(outline)].mean(axis=0) for outline in (RIGHT_EYE, LEFT_EYE)]
    return np.stack([*eyes, mesh[NOSE], mesh[MOUTH_RIGHT], mesh[MOUTH_LEFT]]).astype(np.float64)


def largest(meshes: list[Array]) -> Array | None:
    """The face that covers most, None of none."""
    return max(meshes, key=lambda mesh: float(np.ptp(mesh, axis=0).prod()), default=None)


def similarity(source: Array, target: Array) -> Array:
    """The matrix (2, 3) of the turn, scale and shift that bring points (N, 2) nearest to others, by least squares (Umeyama 1991, eq. 40-42).
    Points that coincide are only shifted."""
    mean, goal = source.mean(axis=0), target.mean(axis=0)
    x, y = source - mean, target - goal
    u, d, vt = np.linalg.svd(y.T @ x / len(x))
    signs = np.array([1.0, np.sign(np.linalg.det(u) * np.linalg.det(vt)) or 1.0])
    turn = u @ np.diag(signs) @ vt
    variance = (x**2).sum() / len(x)
    matrix = turn * ((d * signs).sum() / variance if variance > 0 else 1.0)
    return np.concatenate([matrix, (goal - matrix @ mean)[:, None]], axis=1)


def aligned(pixels: NDArray[np.uint8], points: Array, side: int = SIDE) -> NDArray[np.uint8]:
    """The face with these points (5, 2) of an RGB picture (H, W, 3), laid onto the template; (side, side, 3), black outside the picture."""
    matrix = similarity(points, TEMPLATE * (side / SIDE))
    return np.asarray(cv2.warpAffine(pixels, matrix, (side, side), flags=cv2.INTER_LINEAR), np.uint8)


class FaceReader:
    """A recognition network in an ONNX file, or in OpenVINO's own format."""

    def __init__(self, path: Path) -> None:
        try:
            model = read_network(path)
            self._network = compiled(model)
        except RuntimeError as error:
            raise ModelFileError(
                f'"{path.name}" is damaged or no network that OpenVINO reads. Download it again.'
            ) from error
        self._bytes = _takes_bytes(model)
        self._name = path.name

    def tell(self, face: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The vector (512,) of an aligned RGB face (112, 112, 3), of no set length; raises ModelFileError for a network of another kind."""
        x = face.astype(np.float32) if self._bytes else (face.astype(np.float32) - MIDDLE) / MIDDLE
        try:
            found = next(iter(self._network(x.transpose(2, 0, 1)[None]).values()))
        except RuntimeError as error:
            raise self._other() from error
        if found.shape != (1, WIDTH):
            raise self._other()
        return np.asarray(found[0], np.float32)

    def _other(self) -> ModelFileError:
        return ModelFileError(
            f'"{self._name}" takes no faces of {SIDE} x {SIDE} pixels to give {WIDTH} numbers: it is no recognition network '
            "of InsightFace's. Put the right file in its place."
        )


def _takes_bytes(model: Any) -> bool:
    """Does the network subtract and multiply by itself before all else?"""
    steps = [node.get_type_name() for node in model.get_ordered_ops()]
    first = [step for step in steps if step not in ("Parameter", "Constant", "Convert")][:FIRST_STEPS]
    return "Subtract" in first and "Multiply" in first
