"""People drawn as models for OpenPose know them: limbs, hands and faces in their colours on black."""

import colorsys
from collections.abc import Iterable, Sequence
from typing import Any

import cv2
import numpy as np

from modules.control.preprocessors.networks import from_aux
from modules.control.preprocessors.pixels import Pixels

FINGERS = tuple(
    (0 if step == 0 else 4 * finger + step, 4 * finger + step + 1) for finger in range(5) for step in range(4)
)
"""Pairs of a hand's 21 points that are joined: from the wrist along each finger."""

KNUCKLE = (0, 0, 255)


def drawn(people: Iterable[Any], size: tuple[int, int], *, body: bool, hand: bool, face: bool) -> Pixels:
    """People (controlnet_aux's PoseResult, places from 0 to 1) on black, size (width, height)."""
    draw = from_aux("open_pose.util")
    canvas = np.zeros((size[1], size[0], 3), np.uint8)
    for person in people:
        if body:
            canvas = draw.draw_bodypose(canvas, person.body.keypoints)
        for points in (person.left_hand, person.right_hand) if hand else ():
            _draw_hand(canvas, points or ())
        if face:
            canvas = draw.draw_facepose(canvas, person.face)
    return np.asarray(canvas, np.uint8)


def _draw_hand(canvas: Pixels, points: Sequence[Any]) -> None:
    height, width = canvas.shape[:2]
    places = [None if p is None or min(p.x, p.y) <= 0 else (int(p.x * width), int(p.y * height)) for p in points]
    for number, (first, second) in enumerate(FINGERS if places else ()):
        if (start := places[first]) and (end := places[second]):
            colour = [round(255 * value) for value in colorsys.hsv_to_rgb(number / len(FINGERS), 1, 1)]
            cv2.line(canvas, start, end, colour, thickness=2)
    for place in filter(None, places):
        cv2.circle(canvas, place, 4, KNUCKLE, thickness=-1)
