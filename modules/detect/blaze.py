"""MediaPipe's detectors (BlazeFace, Bazarevsky et al. 2019, arXiv:1907.05047; BlazePalm, arXiv:2006.10214; BlazePose, arXiv:2006.10204):
one pass over anchors whose size is that of the picture, each with a box and a few points."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from modules.detect.detection import Box, Detection, Letterbox, best, boxed, within

OVERLAP = 0.3
OUTLINE_MARGIN = 0.25  # of a face's box, on each side, that the landmark network sees


@dataclass(frozen=True, kw_only=True)
class Layout:
    """A network's input side, its anchors as (stride, how many in a cell), the range of its input, and what its answers mean.

    `box_of`: boxes (N, 4) and points (N, K, 2), both in pixels of the input, -> the boxes (N, 4) of what is looked for.
    """

    label: str
    side: int
    cells: tuple[tuple[int, int], ...]
    low: float = -1.0
    box_of: Callable[[np.ndarray, np.ndarray], np.ndarray] = lambda boxes, points: boxes

    def anchors(self) -> np.ndarray:
        """The anchors' middles (N, 2), x and y in parts of the side, row by row."""
        found = []
        for stride, count in self.cells:
            n = math.ceil(self.side / stride)
            middles = (np.arange(n) + 0.5) / n
            y, x = np.meshgrid(middles, middles, indexing="ij")
            found.append(np.repeat(np.stack([x, y], axis=-1).reshape(-1, 2), count, axis=0))
        return np.concatenate(found)


def hand_box(boxes: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Whole hands from palms: a square 2.6 palms wide, half a palm towards the middle finger (point 2) from the wrist (point 0)."""
    side = (boxes[:, 2:] - boxes[:, :2]).max(axis=1, keepdims=True)
    way = points[:, 2] - points[:, 0]
    way = way / np.linalg.norm(way, axis=1, keepdims=True).clip(1e-6)
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2 + way * side * 0.5
    return np.concatenate([middle - side * 1.3, middle + side * 1.3], axis=1)


def person_box(boxes: np.ndarray, points: np.ndarray) -> np.ndarray:
    """People as the network tells of them: the middle of the hips (point 0), and a point (1) of the circle about all of them."""
    radius = np.linalg.norm(points[:, 1] - points[:, 0], axis=1, keepdims=True) * 1.25
    return np.concatenate([points[:, 0] - radius, points[:, 0] + radius], axis=1)


SIXTEEN = ((8, 2), (16, 6))
LAYOUTS = {
    "mediapipe_face_short": Layout(label="face", side=128, cells=SIXTEEN),
    "mediapipe_face_full": Layout(label="face", side=192, cells=((4, 1),)),
    "mediapipe_hand": Layout(label="hand", side=192, cells=SIXTEEN, low=0.0, box_of=hand_box),
    "mediapipe_person": Layout(label="person", side=224, cells=((8, 2), (16, 2), (32, 6)), box_of=person_box),
}


class Blaze:
    """A detector of one of these layouts; `network` is the compiled model."""

    def __init__(self, network: Any, layout: Layout) -> None:
        self._network = network
        self._layout = layout
        self._anchors = layout.anchors()

    def find(self, image: Image.Image, confidence: float, classes: Sequence[str] = ()) -> list[Detection]:
        """What is in an RGB picture with at least that confidence, surest first."""
        layout = self._layout
        if classes and layout.label not in classes:
            return []
        fitted = Letterbox(image, layout.side, layout.side)
        x = fitted.pixels / 255 * (1 - layout.low) + layout.low
        answers = list(self._network(x[None].astype(np.float32)).values())
        raw, logits = sorted((np.asarray(answer, np.float64) for answer in answers), key=lambda a: -a.shape[-1])
        scores = 1 / (1 + np.exp(-logits.reshape(-1).clip(-100, 100)))
        sure = np.flatnonzero(scores >= max(confidence, 1e-3))
        values = raw.reshape(len(scores), -1, 2)[sure] / layout.side  # middle, size, then the points
        middles, sizes = values[:, 0] + self._anchors[sure], values[:, 1]
        boxes = np.concatenate([middles - sizes / 2, middles + sizes / 2], axis=1) * layout.side
        points = (values[:, 2:] + self._anchors[sure][:, None]) * layout.side
        boxes = layout.box_of(boxes, points)
        found = []
        for i in best(boxes, scores[sure], OVERLAP):
            corners = fitted.back(boxes[i].reshape(2, 2)).reshape(-1)
            box = within((corners[0], corners[1], corners[2], corners[3]), image.size)
            if box[2] > box[0] and box[3] > box[1]:
                score = float(scores[sure][i])
                found.append(Detection(box=box, score=score, label=layout.label, mask=boxed(image.size, box)))
        return found


OVAL = (
    *(10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377),
    *(152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109),
)
LEFT_EYE = (263, 249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385, 386, 387, 388, 466)
RIGHT_EYE = (33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246)
"""Points of the face mesh around the face and the eyes, in their order along the outline."""


class FaceMesh:
    """Faces by another detector, their outlines by MediaPipe's 468 points (arXiv:1907.06724)."""

    def __init__(self, faces: Blaze, network: Any, outlines: Sequence[Sequence[int]]) -> None:
        self._faces = faces
        self._network = network
        self._outlines = outlines

    def find(self, image: Image.Image, confidence: float, classes: Sequence[str] = ()) -> list[Detection]:
        """Faces in an RGB picture, surest first, masked along the outlines."""
        return [self._outlined(image, face) for face in self._faces.find(image, confidence, classes)]

    def meshes(self, image: Image.Image, confidence: float) -> list[np.ndarray]:
        """The points (468, 2) of each face in pixels of an RGB picture, surest face first."""
        return [self._points(image, face) for face in self._faces.find(image, confidence)]

    def _points(self, image: Image.Image, face: Detection) -> np.ndarray:
        crop = _around(face.box)
        _, side, _, _ = self._network.input(0).shape
        seen = image.convert("RGB").crop(crop).resize((side, side), Image.Resampling.BILINEAR)
        x = np.asarray(seen, np.float32)[None] / 255
        points = max((np.asarray(answer) for answer in self._network(x).values()), key=np.size).reshape(-1, 3)[:, :2]
        return points / side * (crop[2] - crop[0]) + np.array(crop[:2])

    def _outlined(self, image: Image.Image, face: Detection) -> Detection:
        from PIL import ImageDraw

        placed = self._points(image, face)
        mask = Image.new("L", image.size)
        for outline in self._outlines:
            ImageDraw.Draw(mask).polygon([(float(x), float(y)) for x, y in placed[list(outline)]], fill=255)
        box = mask.getbbox() or face.box
        return Detection(box=box, score=face.score, label=face.label, mask=mask)


def _around(box: Box) -> tuple[int, int, int, int]:
    """A square about a face's box, larger by the margin."""
    left, top, right, bottom = box
    half = max(right - left, bottom - top) * (0.5 + OUTLINE_MARGIN)
    x, y = (left + right) / 2, (top + bottom) / 2
    return round(x - half), round(y - half), round(x + half), round(y + half)
