"""Line drawings by networks: of photographs (arXiv:2203.12691), coarser, and of anime."""

from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from modules.control.preprocessors.networks import annotator, batch_of, filled, from_aux
from modules.control.preprocessors.pixels import Pixels, on_grid, to_bytes
from modules.control.preprocessors.preprocessor import Look, Work
from modules.requests.preprocessors import PreprocessorEntry, WeightFile

FINE = annotator("sk_model.pth", 17_200_000)
COARSE = annotator("sk_model2.pth", 17_200_000)
ANIME = annotator("netG.pth", 218_000_000)

ANIME_GRID = 256
"""Sides of what the anime network sees are multiples of it."""


def _open(path: Path) -> Any:
    return filled(partial(from_aux("lineart").Generator, 3, 1, 3), path)


def _open_anime(path: Path) -> Any:
    from torch.nn import InstanceNorm2d

    norm = partial(InstanceNorm2d, affine=False, track_running_stats=False)
    make = partial(from_aux("lineart_anime").UnetGenerator, 3, 1, 8, 64, norm_layer=norm, use_dropout=False)
    return filled(make, path)


def _lineart(work: Work, weight: WeightFile) -> Pixels:
    """White lines on black; the network draws dark ones on white."""

    def look(pixels: Pixels) -> Pixels:
        network = work.tools.network("the line drawing network", [weight], _open)
        return 255 - to_bytes(network(batch_of(pixels, work.tools.device) / 255)[0, 0].cpu().numpy() * 255)

    return on_grid(work.image, work.resolution, look)


def anime(work: Work) -> Pixels:
    """White lines on black."""

    def look(pixels: Pixels) -> Pixels:
        network = work.tools.network("the anime line network", [ANIME], _open_anime)
        height, width = pixels.shape[:2]
        size = tuple(-(-side // ANIME_GRID) * ANIME_GRID for side in (width, height))
        seen = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_CUBIC), np.uint8)
        line = network(batch_of(seen, work.tools.device) / 127.5 - 1)[0, 0].cpu().numpy() * 127.5 + 127.5
        return 255 - to_bytes(cv2.resize(line, (width, height), interpolation=cv2.INTER_CUBIC))

    return on_grid(work.image, work.resolution, look)


PREPROCESSORS: tuple[tuple[PreprocessorEntry, Look], ...] = (
    (
        PreprocessorEntry(name="lineart", label="lineart_realistic", types=("Lineart",), weights=(FINE,)),
        lambda work: _lineart(work, FINE),
    ),
    (
        PreprocessorEntry(name="lineart_coarse", label="lineart_coarse", types=("Lineart",), weights=(COARSE,)),
        lambda work: _lineart(work, COARSE),
    ),
    (PreprocessorEntry(name="lineart_anime", label="lineart_anime", types=("Lineart",), weights=(ANIME,)), anime),
)
