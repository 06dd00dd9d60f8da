"""Poses by DWPose (arXiv:2307.15880): people by YOLOX (arXiv:2107.08430), their 133 points by a network of its own; both in ONNX files."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from modules.control.preprocessors.networks import IMAGENET, from_aux
from modules.control.preprocessors.people import drawn
from modules.control.preprocessors.pixels import Pixels, on_grid
from modules.control.preprocessors.preprocessor import Look, Work
from modules.core.errors import ModelFileError
from modules.detect.detection import best
from modules.devices.network import compiled, read_network
from modules.requests.preprocessors import RESOLUTION, PreprocessorEntry, WeightFile

PEOPLE = WeightFile(
    file="yolox_l.onnx",
    size=217_000_000,
    repo="yzd-v/DWPose",
    path="yolox_l.onnx",
    others=("yolox_l.xml",),
    licence="Apache 2.0",
)
POINTS = WeightFile(
    file="dw-ll_ucoco_384.onnx",
    size=134_000_000,
    repo="yzd-v/DWPose",
    path="dw-ll_ucoco_384.onnx",
    others=("dw-ll_ucoco_384.xml",),
    licence="Apache 2.0",
)

STRIDES = (8, 16, 32)
GREY = 114
SURE, OVERLAP = 0.3, 0.45
MARGIN = 1.25
"""How much larger than a person what the second network sees of it is."""

SPLIT = 2
"""Places a pixel, of the networks' maps along each side."""

ORDER = (17, 6, 8, 10, 7, 9, 12, 14, 16, 13, 15, 2, 1, 4, 3)
PLACES = (1, 2, 3, 4, 6, 7, 8, 9, 10, 12, 13, 14, 15, 16, 17)
"""COCO's points (and the neck as the 18th) in OpenPose's order, and where they go in it."""

SHOULDERS = (5, 6)
FACE, LEFT, RIGHT = slice(24, 92), slice(92, 113), slice(113, 134)

Array = NDArray[np.float64]


def _open(path: Path) -> Any:
    try:
        return compiled(read_network(path))
    except RuntimeError as error:
        raise ModelFileError(
            f'"{path.name}" is damaged or no network that OpenVINO reads. Download it again.'
        ) from error


def find_people(network: Any, pixels: Pixels) -> Array:
    """Boxes (N, 4) of people, surest first, in pixels of an RGB picture (H, W, 3)."""
    side = int(network.input(0).shape[2])
    height, width = pixels.shape[:2]
    scale = min(side / height, side / width)
    small = cv2.resize(
        pixels, (max(int(width * scale), 1), max(int(height * scale), 1)), interpolation=cv2.INTER_LINEAR
    )
    seen = np.full((side, side, 3), GREY, np.float32)
    seen[: small.shape[0], : small.shape[1]] = small[:, :, ::-1]
    raw = np.asarray(network(seen.transpose(2, 0, 1)[None])[0], np.float64)[0]
    cells, strides = _cells(side)
    if raw.shape[0] != len(cells) or raw.shape[1] < 6:
        raise ModelFileError(f"{PEOPLE.file} answers with {raw.shape}: it is no YOLOX. Download it again.")
    middles = (raw[:, :2] + cells) * strides
    sizes = np.exp(raw[:, 2:4].clip(-20, 20)) * strides
    scores = raw[:, 4] * raw[:, 5]
    sure = np.flatnonzero(scores > SURE)
    boxes = np.concatenate([middles - sizes / 2, middles + sizes / 2], axis=1)[sure] / scale
    return boxes[best(boxes, scores[sure], OVERLAP)].reshape(-1, 4)


def _cells(side: int) -> tuple[Array, Array]:
    """Of each of the network's answers the cell (N, 2), and how many pixels it is wide (N, 1)."""
    cells, strides = [], []
    for stride in STRIDES:
        y, x = np.mgrid[: side // stride, : side // stride]
        cells.append(np.stack([x, y], axis=-1).reshape(-1, 2))
        strides.append(np.full((len(cells[-1]), 1), stride))
    return np.concatenate(cells).astype(float), np.concatenate(strides).astype(float)


def find_points(network: Any, pixels: Pixels, box: Array) -> Array:
    """A person's points (133, 3): x and y in pixels of the picture, and how sure."""
    height, width = (int(side) for side in network.input(0).shape[2:])
    middle, size = (box[:2] + box[2:]) / 2, np.maximum(box[2:] - box[:2], 1) * MARGIN
    size = np.array([max(size[0], size[1] * width / height), max(size[1], size[0] * height / width)])
    scale = np.array([width, height]) / size
    matrix = np.array(
        [[scale[0], 0, width / 2 - middle[0] * scale[0]], [0, scale[1], height / 2 - middle[1] * scale[1]]]
    )
    crop = cv2.warpAffine(pixels, matrix, (width, height), flags=cv2.INTER_LINEAR)[
        :, :, ::-1
    ]  # blue first, as it was trained
    mean, deviation = (np.array(values, np.float32) * 255 for values in IMAGENET)
    answers = network(((crop - mean) / deviation).astype(np.float32).transpose(2, 0, 1)[None])
    across, down = (np.asarray(answer, np.float64)[0] for answer in list(answers.values())[:2])
    places = np.stack([across.argmax(axis=1), down.argmax(axis=1)], axis=1) / SPLIT
    sure = np.minimum(across.max(axis=1), down.max(axis=1))
    return np.concatenate([places / scale + middle - size / 2, sure[:, None]], axis=1)


def as_openpose(points: Array) -> Array:
    """The same points (134, 3) in OpenPose's order, the neck being in the middle of the shoulders."""
    neck = points[list(SHOULDERS)].mean(axis=0)
    neck[2] = float((points[list(SHOULDERS), 2] > SURE).all())
    found = np.insert(points, 17, neck, axis=0)
    found[list(PLACES)] = found[list(ORDER)]
    return found


def pose(work: Work) -> Pixels:
    """People in coloured limbs on black, with hands and faces."""

    def look(pixels: Pixels) -> Pixels:
        finder = work.tools.network("dw_openpose_full", [PEOPLE], _open)
        pointer = work.tools.network("dw_openpose_full", [POINTS], _open)
        height, width = pixels.shape[:2]
        people = [as_openpose(find_points(pointer, pixels, box)) for box in find_people(finder, pixels)]
        return drawn([_person(p, width, height) for p in people], (width, height), body=True, hand=True, face=True)

    return on_grid(work.image, work.resolution, look)


def _person(points: Array, width: int, height: int) -> Any:
    """A person as controlnet_aux has it: places from 0 to 1; what is not sure is left out."""
    types, body = from_aux("open_pose"), from_aux("open_pose.body")
    keys = [body.Keypoint(x=x / width, y=y / height, score=s) if s >= SURE else None for x, y, s in points]
    shown = body.BodyResult(keypoints=keys[:18], total_score=0, total_parts=0)
    hands = [[key or body.Keypoint(x=-1, y=-1) for key in keys[part]] for part in (LEFT, RIGHT)]
    return types.PoseResult(shown, *hands, [key for key in keys[FACE] if key])


PREPROCESSORS: tuple[tuple[PreprocessorEntry, Look], ...] = (
    (
        PreprocessorEntry(
            name="dw_openpose_full",
            label="dw_openpose_full",
            types=("OpenPose",),
            resolution=RESOLUTION,
            weights=(PEOPLE, POINTS),
        ),
        pose,
    ),
)
