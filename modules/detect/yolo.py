"""YOLO networks of versions 8 to 11 (Ultralytics' layout), exported as ONNX or OpenVINO files: boxes, and outlines where they are told."""

import ast
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from modules.core.errors import ModelFileError
from modules.detect.detection import Detection, Letterbox, best, boxed, within

OVERLAP = 0.7
SIDE = 640  # where the file leaves it open
GREY = 114


class Yolo:
    """A compiled network with (1, 4 + classes [+ coefficients], N) for N boxes, and prototypes (1, coefficients, h, w) if it outlines.

    Raises ModelFileError for one that answers anything else.
    """

    def __init__(self, network: Any, name: str, names: Sequence[str] = ()) -> None:
        self._network = network
        self._names = list(names)
        shapes = [output.partial_shape for output in network.outputs]
        if not shapes or shapes[0].rank.get_length() != 3 or len(shapes) > 2:
            raise ModelFileError(f'"{name}" is no YOLO detector of version 8 to 11. Export yours with format=onnx.')
        sides = [side.get_length() if side.is_static else SIDE for side in network.inputs[0].partial_shape[2:]]
        self._height, self._width = sides[0], sides[1]

    def find(self, image: Image.Image, confidence: float, classes: Sequence[str] = ()) -> list[Detection]:
        """What is in an RGB picture with at least that confidence, surest first."""
        fitted = Letterbox(image, self._height, self._width, fill=GREY)
        answers = self._network((fitted.pixels / 255).transpose(2, 0, 1)[None].astype(np.float32))
        rows = np.asarray(answers[0], np.float64)[0].T  # (N, 4 + classes + coefficients)
        prototypes = np.asarray(answers[1], np.float64)[0] if len(self._network.outputs) > 1 else None
        count = rows.shape[1] - 4 - (0 if prototypes is None else len(prototypes))
        kinds = rows[:, 4 : 4 + count]
        which, scores = kinds.argmax(axis=1), kinds.max(axis=1)
        wanted = np.array([not classes or self._label(kind) in classes for kind in range(count)])
        rows, which, scores = (part[(scores >= confidence) & wanted[which]] for part in (rows, which, scores))
        boxes = np.concatenate([rows[:, :2] - rows[:, 2:4] / 2, rows[:, :2] + rows[:, 2:4] / 2], axis=1)
        apart = boxes + which[:, None] * 4 * max(self._height, self._width)  # things of different kinds may overlap
        found = []
        for i in best(apart, scores, OVERLAP):
            corners = fitted.back(boxes[i].reshape(2, 2)).reshape(-1)
            box = within((corners[0], corners[1], corners[2], corners[3]), image.size)
            mask = boxed(image.size, box)
            if prototypes is not None:
                outline = 1 / (1 + np.exp(-np.tensordot(rows[i, 4 + count :], prototypes, axes=1).clip(-60, 60)))
                inside = np.asarray(fitted.mask_back(outline)) > 127
                mask = Image.fromarray((inside * np.asarray(mask)).astype(np.uint8))
            if box[2] > box[0] and box[3] > box[1]:
                found.append(Detection(box=box, score=float(scores[i]), label=self._label(int(which[i])), mask=mask))
        return found

    def _label(self, kind: int) -> str:
        return self._names[kind] if kind < len(self._names) else str(kind)


def names_in(text: str) -> list[str]:
    """The classes' names from an export's metadata, `{0: 'face', ...}`; none if it says no such thing."""
    try:
        found = ast.literal_eval(text)
        return [str(found[i]) for i in range(len(found))] if isinstance(found, dict) else []
    except (ValueError, SyntaxError, KeyError, RecursionError, MemoryError):
        return []
