"""Masks of what a user points at: by Segment Anything, or with no network by GrabCut and by colour."""

import cv2
import numpy as np

from modules.control.preprocessors.pixels import Pixels, resized
from modules.control.preprocessors.tools import Tools
from modules.control.segment_anything import Finder, Mask, open_segmenter
from modules.core.errors import InputError, short
from modules.library.segmenters import Segmenters
from modules.requests.select import GRABCUT, SAM, SelectRequest, inside

WORKING = 2**20
"""Pixels of the copy that GrabCut works on."""

ROUNDS = 5
CORE, AROUND = 0.02, 0.25
"""Radii about a click, in parts of the shorter side: what belongs to the thing, and what may."""

NARROWEST = 64
"""How many times as long as wide a picture may be for networks that see it in a square."""

MOST = 32
"""Things that words find at once."""


def select(pixels: Pixels, request: SelectRequest, segmenters: Segmenters, tools: Tools) -> Mask:
    """The mask (H, W) of a picture (H, W, 3). Raises ModelFileError where files are missing, InputError where words find nothing."""
    size = pixels.shape[1], pixels.shape[0]
    points = [inside(point, size) for point in request.points]
    away = [inside(point, size) for point in request.away]
    box = _ordered(request, size)
    if request.method == GRABCUT:
        return grabcut(pixels, points, away, box)
    if request.method != SAM:
        return similar(pixels, points, round(request.tolerance))
    return _segmented(pixels, request, points, away, box, segmenters, tools)


def _ordered(request: SelectRequest, size: tuple[int, int]) -> tuple[int, int, int, int] | None:
    if request.box is None:
        return None
    corners = inside(request.box[:2], size), inside(request.box[2:], size)
    (left, right), (top, bottom) = (sorted(values) for values in zip(*corners, strict=True))
    return left, top, right, bottom


def _segmented(
    pixels: Pixels,
    request: SelectRequest,
    points: list[tuple[int, int]],
    away: list[tuple[int, int]],
    box: tuple[int, int, int, int] | None,
    segmenters: Segmenters,
    tools: Tools,
) -> Mask:
    text = request.text.strip()
    if max(pixels.shape[:2]) > NARROWEST * min(pixels.shape[:2]):
        raise InputError(
            "picture", f"picture is {pixels.shape[1]} x {pixels.shape[0]}: too narrow for {SAM}. Take {GRABCUT}."
        )
    path, folder = segmenters.get(text=bool(text))
    segmenter = tools.opened("Segment Anything", [path], open_segmenter).to(tools.device)
    places = np.array([*points, *away], np.float32).reshape(-1, 2)
    labels = np.array([1] * len(points) + [0] * len(away), np.int64)
    if folder is None:
        return segmenter.select(pixels, places, labels, None if box is None else np.array(box, np.float32))
    finder = tools.opened("Grounding DINO", [folder], Finder).to(tools.device)
    boxes = finder.find(pixels, text, request.confidence)[:MOST]
    if not len(boxes):
        raise InputError(
            "text",
            f"text {short(text)} is nowhere in the picture with confidence {request.confidence:g}. Say it otherwise, or lower it.",
        )
    found = np.zeros(pixels.shape[:2], bool)
    for each in boxes:
        found |= segmenter.select(pixels, places, labels, each)
    return found


def grabcut(
    pixels: Pixels,
    points: list[tuple[int, int]],
    away: list[tuple[int, int]],
    box: tuple[int, int, int, int] | None,
) -> Mask:
    """GrabCut (Rother et al., 2004): what differs in colour from what is outside the box, or far from the clicks."""
    height, width = pixels.shape[:2]
    scale = min(1.0, (WORKING / (height * width)) ** 0.5)
    small = resized(pixels, max(round(width * scale), 1), max(round(height * scale), 1))
    labels = _guess(small.shape[:2], scale, points, away, box)
    known = {int(value) for value in np.unique(labels)}
    if not known & {cv2.GC_FGD, cv2.GC_PR_FGD} or not known & {cv2.GC_BGD, cv2.GC_PR_BGD}:
        found = np.isin(labels, (cv2.GC_FGD, cv2.GC_PR_FGD))  # nothing to tell it from
    else:
        cv2.setRNGSeed(0)
        models = np.zeros((1, 65)), np.zeros((1, 65))
        cv2.grabCut(
            cv2.cvtColor(small, cv2.COLOR_RGB2BGR), labels, (0, 0, 0, 0), *models, ROUNDS, cv2.GC_INIT_WITH_MASK
        )
        found = np.isin(labels, (cv2.GC_FGD, cv2.GC_PR_FGD))
    return np.asarray(cv2.resize(found.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST), bool)


def _guess(
    shape: tuple[int, ...],
    scale: float,
    points: list[tuple[int, int]],
    away: list[tuple[int, int]],
    box: tuple[int, int, int, int] | None,
) -> Pixels:
    """What GrabCut begins with (H, W)."""
    labels = np.full(shape, cv2.GC_PR_BGD if box is None else cv2.GC_BGD, np.uint8)
    side = min(shape)
    core, around = max(round(side * CORE), 1), max(round(side * AROUND), 2)
    if box is not None:
        left, top, right, bottom = (round(value * scale) for value in box)
        labels[top : bottom + 1, left : right + 1] = cv2.GC_PR_FGD
    else:
        for x, y in points:
            cv2.circle(labels, (round(x * scale), round(y * scale)), around, cv2.GC_PR_FGD, -1)
    for places, label in ((points, cv2.GC_FGD), (away, cv2.GC_BGD)):
        for x, y in places:
            cv2.circle(labels, (round(x * scale), round(y * scale)), core, label, -1)
    return labels


def similar(pixels: Pixels, points: list[tuple[int, int]], tolerance: int) -> Mask:
    """What is joined to a click and differs from its colour by at most that in each channel."""
    height, width = pixels.shape[:2]
    found = np.zeros((height, width), bool)
    for point in points:
        mask = np.zeros((height + 2, width + 2), np.uint8)
        flags = 4 | cv2.FLOODFILL_MASK_ONLY | cv2.FLOODFILL_FIXED_RANGE | (255 << 8)
        cv2.floodFill(pixels.copy(), mask, point, (0, 0, 0), (tolerance,) * 3, (tolerance,) * 3, flags)
        found |= mask[1:-1, 1:-1] > 0
    return found
