"""Straight lines by M-LSD (arXiv:2106.00186)."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from modules.control.preprocessors.networks import annotator, batch_of, filled, from_aux
from modules.control.preprocessors.pixels import Pixels, on_grid
from modules.control.preprocessors.preprocessor import Look, Work
from modules.requests.preprocessors import RESOLUTION, PreprocessorEntry, Slider

WEIGHTS = annotator("mlsd_large_512_fp32.pth", 6_340_000)

MOST = 200
"""Lines that are looked at, the surest ones."""


def _open(path: Path) -> Any:
    return filled(from_aux("mlsd").MobileV2_MLSD_Large, path)


def lines(work: Work) -> Pixels:
    """White lines on black, of those at least so sure (a) and so long (b, in pixels of the network's map)."""

    def look(pixels: Pixels) -> Pixels:
        network = work.tools.network("mlsd", [WEIGHTS], _open)
        batch = batch_of(pixels, work.tools.device)
        ones = torch.ones_like(batch[:, :1])
        found = network(torch.cat([batch, ones], dim=1) / 127.5 - 1)
        drawing = np.zeros(pixels.shape[:2], np.uint8)
        for x0, y0, x1, y1 in _segments(found, work.values.a, work.values.b):
            cv2.line(drawing, (int(x0), int(y0)), (int(x1), int(y1)), 255, 1)
        return drawing

    return on_grid(work.image, work.resolution, look)


def _segments(found: torch.Tensor, surest: float, longest: float) -> np.ndarray:
    """Lines (N, 4) in pixels of the picture from the network's map (1, 9, H/2, W/2): middles, and how far the ends are from them."""
    most = min(MOST, found[0, 0].numel())
    points, scores, ways = from_aux("mlsd.utils").deccode_output_score_and_ptss(found, most, 3)
    ways = np.nan_to_num(ways).clip(-1e5, 1e5)[points[:, 0], points[:, 1]]
    kept = (scores > surest) & (np.linalg.norm(ways[:, :2] - ways[:, 2:], axis=1) > longest)
    middles = np.tile(points[kept][:, ::-1], 2)
    return 2 * (middles + ways[kept])


PREPROCESSORS: tuple[tuple[PreprocessorEntry, Look], ...] = (
    (
        PreprocessorEntry(
            name="mlsd",
            label="mlsd",
            types=("MLSD",),
            first_in=("MLSD",),
            resolution=RESOLUTION,
            threshold_a=Slider(label="MLSD Value Threshold", minimum=0.01, maximum=2, default=0.1, step=0.01),
            threshold_b=Slider(label="MLSD Distance Threshold", minimum=0.01, maximum=20, default=0.1, step=0.01),
            weights=(WEIGHTS,),
        ),
        lines,
    ),
)
