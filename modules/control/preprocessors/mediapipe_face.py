"""The lines of faces by MediaPipe's face mesh, whose networks come with the program."""

import numpy as np
from PIL import Image, ImageDraw

from modules.control.preprocessors.pixels import Pixels, at_resolution
from modules.control.preprocessors.preprocessor import Look, Work
from modules.detect.blaze import LEFT_EYE, OVAL, RIGHT_EYE
from modules.requests.preprocessors import RESOLUTION, PreprocessorEntry, Slider

LIPS = (
    (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185, 61),
    (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 415, 310, 311, 312, 13, 82, 81, 80, 191, 78),
)
LEFT_BROW = ((276, 283, 282, 295, 285), (300, 293, 334, 296, 336))
RIGHT_BROW = ((46, 53, 52, 65, 55), (70, 63, 105, 66, 107))
"""Points of the mesh along these lines."""

LINES = (
    ((10, 200, 10), ((*OVAL, OVAL[0]),)),
    ((10, 200, 180), ((*LEFT_EYE, LEFT_EYE[0]),)),
    ((10, 220, 180), LEFT_BROW),
    ((180, 200, 10), ((*RIGHT_EYE, RIGHT_EYE[0]),)),
    ((180, 220, 10), RIGHT_BROW),
    ((10, 180, 10), LIPS),
)
"""RGB and lines, as the models that follow them were trained (CrucibleAI/ControlNetMediaPipeFace)."""

PUPILS = (((10, 200, 250), LEFT_EYE), ((250, 200, 10), RIGHT_EYE))
"""Drawn in the middle of the eye: the mesh that comes with the program has no irises."""

THICK = 2
SMALLEST = 64
"""Faces whose mesh is smaller than so many pixels are left out."""


def faces(work: Work) -> Pixels:
    """The surest faces, as many as asked for, in coloured lines on black."""
    pixels = at_resolution(work.image, work.resolution)
    image = Image.fromarray(pixels)
    drawing = Image.new("RGB", image.size)
    for points in work.tools.detectors.get("mediapipe_face_mesh").meshes(image, work.values.b)[: round(work.values.a)]:
        if np.ptp(points, axis=0).min() >= SMALLEST:
            _draw(ImageDraw.Draw(drawing), points)
    return np.array(drawing)


def _draw(pen: ImageDraw.ImageDraw, points: np.ndarray) -> None:
    for colour, lines in LINES:
        for line in lines:
            pen.line([(float(x), float(y)) for x, y in points[list(line)]], fill=colour, width=THICK)
    for colour, eye in PUPILS:
        x, y = (float(value) for value in points[list(eye)].mean(axis=0))
        pen.rectangle((x - THICK, y - THICK, x + THICK - 1, y + THICK - 1), fill=colour)


PREPROCESSORS: tuple[tuple[PreprocessorEntry, Look], ...] = (
    (
        PreprocessorEntry(
            name="mediapipe_face",
            label="mediapipe_face",
            resolution=RESOLUTION,
            threshold_a=Slider(label="Max Faces", minimum=1, maximum=10, default=1),
            threshold_b=Slider(label="Min Face Confidence", minimum=0.01, maximum=1, default=0.5, step=0.01),
        ),
        faces,
    ),
)
