"""Lines from differences of blurred copies, without a network: scribble_xdog, lineart_standard, and line segments by OpenCV."""

import cv2
import numpy as np

from modules.control.preprocessors.pixels import Pixels, on_grid, to_bytes
from modules.control.preprocessors.preprocessor import Look, Work
from modules.requests.preprocessors import RESOLUTION, PreprocessorEntry, Slider

FINE, COARSE = 0.5, 5.0
"""Deviations of the two blurs whose difference is a scribble, in pixels."""

AROUND = 6.0
DARKER = 8
STRENGTH, LEAST = 127, 16


def _blurred(values: np.ndarray, deviation: float) -> np.ndarray:
    return np.asarray(cv2.GaussianBlur(values.astype(np.float32), (0, 0), deviation))


def xdog(work: Work) -> Pixels:
    """Extended difference of Gaussians (Winnemöller, 2011), cut at a threshold: white where it is darker than around it."""

    def look(pixels: Pixels) -> Pixels:
        darker = (_blurred(pixels, COARSE) - _blurred(pixels, FINE)).min(axis=2)
        rest = to_bytes(255 - darker).astype(np.int32)
        return np.where(2 * (255 - rest) > work.values.a, 255, 0).astype(np.uint8)

    return on_grid(work.image, work.resolution, look)


def darker_lines(pixels: Pixels, deviation: float = AROUND, darker: float = DARKER) -> Pixels:
    """How much darker than around it each pixel is (H, W), so that the middle one of those above `darker` is mid-grey."""
    found = (_blurred(pixels, deviation) - pixels).min(axis=2).clip(0, 255)
    lines = found[found > darker]
    middle = float(np.median(lines)) if lines.size else 0.0
    return to_bytes(found / max(LEAST, middle) * STRENGTH)


def standard(work: Work) -> Pixels:
    """Dark lines on paper, white on black."""
    return on_grid(work.image, work.resolution, darker_lines)


def segments(work: Work) -> Pixels:
    """Straight line segments at least so long, by the detector of von Gioi et al. (LSD, 2010)."""

    def look(pixels: Pixels) -> Pixels:
        drawing = np.zeros(pixels.shape[:2], np.uint8)
        found = cv2.createLineSegmentDetector().detect(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY))[0]
        for x0, y0, x1, y1 in np.zeros((0, 4)) if found is None else np.asarray(found).reshape(-1, 4):
            if np.hypot(x1 - x0, y1 - y0) >= work.values.a:
                cv2.line(drawing, (round(x0), round(y0)), (round(x1), round(y1)), 255, 1)
        return drawing

    return on_grid(work.image, work.resolution, look)


PREPROCESSORS: tuple[tuple[PreprocessorEntry, Look], ...] = (
    (
        PreprocessorEntry(
            name="scribble_xdog",
            label="scribble_xdog",
            types=("Scribble", "SparseCtrl"),
            resolution=RESOLUTION,
            threshold_a=Slider(label="XDoG Threshold", minimum=1, maximum=64, default=32),
        ),
        xdog,
    ),
    (
        PreprocessorEntry(
            name="lineart_standard",
            label="lineart_standard (from white bg & black line)",
            types=("Lineart",),
            first_in=("Lineart",),
        ),
        standard,
    ),
    (
        PreprocessorEntry(
            name="opencv_line_segments",
            label="opencv_line_segments (no download)",
            types=("MLSD",),
            resolution=RESOLUTION,
            threshold_a=Slider(label="Shortest Line", minimum=1, maximum=256, default=16),
        ),
        segments,
    ),
)
