"""Faces for IP-Adapter Face ID (arXiv:2308.06721) and Instant-ID (arXiv:2401.07519): who it is, and where its five points lie."""

from functools import partial
from typing import Any

import cv2
import numpy as np
import torch
from PIL import Image

from modules.control.preprocessors.embeddings import HUGE, embed
from modules.control.preprocessors.pixels import Pixels, at_resolution, rgb
from modules.control.preprocessors.preprocessor import Look, Work
from modules.core.errors import InputError
from modules.detect.faces import FaceReader, aligned, five_points, largest
from modules.requests.preprocessors import RESOLUTION, PreprocessorEntry, WeightFile

NO_COMMERCE = "for research that is not commercial"
BUFFALO = WeightFile(
    file="w600k_r50.onnx",
    size=174_000_000,
    repo="public-data/insightface",
    path="models/buffalo_l/w600k_r50.onnx",
    others=("w600k_r50.xml",),
    licence=NO_COMMERCE,
)
ANTELOPE = WeightFile(
    file="glintr100.onnx",
    size=261_000_000,
    repo="DIAMONIK7777/antelopev2",
    path="glintr100.onnx",
    others=("glintr100.xml",),
    licence=NO_COMMERCE,
)

FACE_ID, FACE_ID_PLUS = "ip-adapter_face_id", "ip-adapter_face_id_plus"
INSTANT_ID, KEYPOINTS = "instant_id_face_embedding", "instant_id_face_keypoints"

SURE = 0.5
COLOURS = ((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (255, 0, 255))
"""Of the eyes, the nose and the corners of the mouth, as Instant-ID's ControlNet was trained."""

NOSE = 2
LIMB, PALE, DOT = 4, 0.6, 10
"""Half the width of a line in pixels, how bright it is, and the radius of a point."""


def points_of(work: Work, pixels: Pixels) -> np.ndarray:
    """The five points (5, 2) of the largest face; raises InputError if there is none."""
    meshes = work.tools.detectors.get("mediapipe_face_mesh").meshes(Image.fromarray(pixels), SURE)
    mesh = largest(meshes)
    if mesh is None:
        raise InputError(
            "image",
            "There is no face in the unit's picture. Choose one with a face that is seen well and not too small.",
        )
    return five_points(mesh)


def embedding(work: Work, who: str, weight: WeightFile, *, unit: bool) -> dict[str, Any]:
    """`face` (1, 512), float32: who the largest face is; of length 1 if `unit`."""
    reader = work.tools.network(who, [weight], FaceReader)
    pixels = rgb(work.image)
    found = torch.from_numpy(reader.tell(aligned(pixels, points_of(work, pixels))))[None]
    return {"face": torch.nn.functional.normalize(found) if unit else found}


def with_clip(work: Work) -> dict[str, Any]:
    """The same, and what CLIP sees of the picture."""
    return {**embedding(work, FACE_ID_PLUS, BUFFALO, unit=True), **embed(work, HUGE)}


def keypoints(work: Work) -> Pixels:
    """The largest face's five points in their colours, on lines from the nose, on black."""
    pixels = at_resolution(work.image, work.resolution)
    points = points_of(work, pixels)
    drawing = np.zeros(pixels.shape, np.float32)
    for place, colour in zip(points, COLOURS, strict=True):
        if colour != COLOURS[NOSE]:
            cv2.fillConvexPoly(drawing, _limb(place, points[NOSE]), colour)
    drawing *= PALE
    for (x, y), colour in zip(points, COLOURS, strict=True):
        cv2.circle(drawing, (int(x), int(y)), DOT, colour, -1)
    return drawing.astype(np.uint8)


def _limb(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """An ellipse from one point to the other, as a polygon."""
    along = end - start
    angle = int(np.degrees(np.arctan2(along[1], along[0])))
    middle = (start + end) / 2
    axes = (int(np.linalg.norm(along) / 2), LIMB)
    return np.asarray(cv2.ellipse2Poly((int(middle[0]), int(middle[1])), axes, angle, 0, 360, 1))


PREPROCESSORS: tuple[tuple[PreprocessorEntry, Look], ...] = (
    (
        PreprocessorEntry(name=FACE_ID, label=FACE_ID, types=("IP-Adapter",), weights=(BUFFALO,), gives="tensors"),
        partial(embedding, who=FACE_ID, weight=BUFFALO, unit=True),
    ),
    (
        PreprocessorEntry(
            name=FACE_ID_PLUS, label=FACE_ID_PLUS, types=("IP-Adapter",), weights=(BUFFALO, HUGE), gives="tensors"
        ),
        with_clip,
    ),
    (
        PreprocessorEntry(
            name=INSTANT_ID,
            label=INSTANT_ID,
            types=("Instant-ID",),
            first_in=("Instant-ID",),
            weights=(ANTELOPE,),
            gives="tensors",
        ),
        partial(embedding, who=INSTANT_ID, weight=ANTELOPE, unit=False),
    ),
    (
        PreprocessorEntry(name=KEYPOINTS, label=KEYPOINTS, types=("Instant-ID",), resolution=RESOLUTION),
        keypoints,
    ),
)
