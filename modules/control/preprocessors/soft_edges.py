"""Soft edges: HED, PiDiNet (arXiv:2108.07009), TEED (arXiv:2308.06468), AnyLine; and scribbles made of them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from modules.control.preprocessors.drawn_lines import darker_lines
from modules.control.preprocessors.networks import annotator, batch_of, filled, from_aux, stepped
from modules.control.preprocessors.pixels import Pixels, on_grid, rgb, to_bytes
from modules.control.preprocessors.preprocessor import Look, Work
from modules.requests.preprocessors import RESOLUTION, PreprocessorEntry, Slider, WeightFile

HED = annotator("ControlNetHED.pth", 29_400_000)
PIDINET = annotator("table5_pidinet.pth", 2_870_000)
LLLITE = "bdsqlsz/qinglong_controlnet-lllite"
TEED = WeightFile(file="7_model.pth", size=240_000, repo=LLLITE, path="Annotators/7_model.pth")
MTEED = WeightFile(file="MTEED.pth", size=240_000, repo="TheMistoAI/MistoLine", path="Anyline/MTEED.pth")

SAFE = 2
SPOT = 36
"""Pixels of the smallest line that AnyLine keeps."""


def _open_hed(path: Path) -> Any:
    return filled(from_aux("hed").ControlNetHED_Apache2, path)


def _open_pidinet(path: Path) -> Any:
    return filled(from_aux("pidi").pidinet, path)


def _open_teed(path: Path) -> Any:
    return filled(from_aux("teed.ted").TED, path)


def _layers(work: Work, name: str, weight: WeightFile, build: Callable[[Path], Any], pixels: Pixels) -> np.ndarray:
    """The mean of a network's edges at all its depths (H, W), 0 to 1."""
    network = work.tools.network(name, [weight], build)
    height, width = pixels.shape[:2]
    edges = [edge[0, 0].float().cpu().numpy() for edge in network(batch_of(pixels, work.tools.device))]
    mean = np.mean([cv2.resize(edge, (width, height), interpolation=cv2.INTER_LINEAR) for edge in edges], axis=0)
    return 1 / (1 + np.exp(-mean.astype(np.float64).clip(-60, 60)))


def _hed(work: Work, steps: int = 0) -> Pixels:
    def look(pixels: Pixels) -> Pixels:
        edges = _layers(work, "HED", HED, _open_hed, pixels)
        return to_bytes((stepped(edges, steps) if steps else edges) * 255)

    return on_grid(work.image, work.resolution, look)


def _pidinet(work: Work, steps: int = 0, *, binary: bool = False) -> Pixels:
    def look(pixels: Pixels) -> Pixels:
        network = work.tools.network("PiDiNet", [PIDINET], _open_pidinet)
        edges = network(batch_of(pixels[:, :, ::-1], work.tools.device) / 255)[-1][0, 0].float().cpu().numpy()
        edges = (edges > 0.5).astype(np.float32) if binary else edges
        return to_bytes((stepped(edges, steps) if steps else edges) * 255)

    return on_grid(work.image, work.resolution, look)


def _teed(work: Work, weight: WeightFile, steps: int, pixels: Pixels) -> Pixels:
    edges = _layers(work, "TEED", weight, _open_teed, pixels)
    return to_bytes((stepped(edges, steps) if steps else edges) * 255)


def teed(work: Work) -> Pixels:
    """TEED's edges in so many steps."""
    return on_grid(work.image, work.resolution, lambda pixels: _teed(work, TEED, round(work.values.a), pixels))


def anyline(work: Work) -> Pixels:
    """TEED's edges by AnyLine's own weights, with dark lines of the picture laid over them, specks left out."""

    def look(pixels: Pixels) -> Pixels:
        from skimage.morphology import remove_small_objects

        edges = _teed(work, MTEED, round(work.values.b), pixels).astype(np.float32) / 255
        lines = darker_lines(pixels, deviation=2.0, darker=3).astype(np.float32) / 255
        lines = lines * remove_small_objects(lines > 0, max_size=SPOT - 1, connectivity=1)
        return to_bytes((1 - (1 - lines) * (1 - edges)) * 255)

    return on_grid(work.image, round(work.values.a), look)


def scribbled(edges: Pixels) -> Pixels:
    """Only the ridges of soft edges, as strokes of one width."""
    ridges = from_aux("util").nms(edges[:, :, 0], 127, 3.0)
    blurred = np.asarray(cv2.GaussianBlur(ridges, (0, 0), 3.0))
    return rgb(np.where(blurred > 4, 255, 0).astype(np.uint8))


def thinned(edges: Pixels) -> Pixels:
    """Edges above half their strength, a pixel wide: the simplified sketch of Composer (arXiv:2302.09778)."""
    from skimage.morphology import skeletonize

    return rgb(np.where(skeletonize(edges[:, :, 0] > 127), 255, 0).astype(np.uint8))


def _entry(
    name: str, label: str, weight: WeightFile, *, kind: str = "SoftEdge", first: bool = False, **more: Any
) -> PreprocessorEntry:
    types = ("Scribble", "SparseCtrl") if kind == "Scribble" else (kind,)
    return PreprocessorEntry(
        name=name, label=label, types=types, first_in=types if first else (), weights=(weight,), **more
    )


STEPS = Slider(label="Safe Steps", minimum=0, maximum=10, default=2)
PREPROCESSORS: tuple[tuple[PreprocessorEntry, Look], ...] = (
    (_entry("pidinet", "softedge_pidinet", PIDINET, first=True), _pidinet),
    (_entry("pidinet_safe", "softedge_pidisafe", PIDINET), lambda work: _pidinet(work, SAFE)),
    (_entry("hed", "softedge_hed", HED, resolution=RESOLUTION), _hed),
    (_entry("hed_safe", "softedge_hedsafe", HED, resolution=RESOLUTION), lambda work: _hed(work, SAFE)),
    (
        _entry("softedge_teed", "softedge_teed", TEED, resolution=RESOLUTION, threshold_a=STEPS, aliases=("te_hed",)),
        teed,
    ),
    (
        _entry(
            "softedge_anyline",
            "softedge_anyline",
            MTEED,
            threshold_a=Slider(label="Resolution", minimum=64, maximum=2048, default=1280, step=8),
            threshold_b=STEPS,
        ),
        anyline,
    ),
    (
        _entry("pidinet_scribble", "scribble_pidinet", PIDINET, kind="Scribble", first=True),
        lambda work: scribbled(_pidinet(work)),
    ),
    (
        _entry("scribble_hed", "scribble_hed", HED, kind="Scribble", resolution=RESOLUTION),
        lambda work: scribbled(_hed(work)),
    ),
    (
        _entry("pidinet_sketch", "t2ia_sketch_pidi", PIDINET, kind="T2I-Adapter", resolution=RESOLUTION),
        lambda work: _pidinet(work, binary=True),
    ),
    (
        _entry("composer_sketch", "composer_sketch", PIDINET, kind="Scribble", resolution=RESOLUTION),
        lambda work: thinned(_pidinet(work)),
    ),
)
