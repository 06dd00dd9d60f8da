"""Poses by OpenPose (arXiv:1812.08008): body, hands and face."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from modules.control.preprocessors.networks import annotator, filled, from_aux
from modules.control.preprocessors.people import drawn
from modules.control.preprocessors.pixels import Pixels, on_grid
from modules.control.preprocessors.preprocessor import Look, Work
from modules.families.weights import read_weights
from modules.requests.preprocessors import RESOLUTION, PreprocessorEntry

BODY = annotator("body_pose_model.pth", 209_000_000)
HAND = annotator("hand_pose_model.pth", 147_000_000)
FACE = annotator("facenet.pth", 154_000_000)


def _open(body: Path, hand: Path, face: Path) -> Any:
    """The detector of controlnet_aux around networks that are read here: its own way would run what a file says."""
    models, module = from_aux("open_pose.model"), from_aux("open_pose")
    parts = []
    for name, network, path in (
        ("body.Body", models.bodypose_model, body),
        ("hand.Hand", models.handpose_model, hand),
        ("face.Face", from_aux("open_pose.face").FaceNet, face),
    ):
        file, _, cls = name.partition(".")
        part = object.__new__(getattr(from_aux(f"open_pose.{file}"), cls))
        named = _staged(network, read_weights(path)) if file != "face" else read_weights(path)
        part.model = filled(network, path, named).eval().requires_grad_(False)
        parts.append(part)
    return module.OpenposeDetector(*parts)


def _staged(network: Any, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The file's tensors under the network's names, which have the stage before them ("model0.conv1_1.weight")."""
    import torch

    with torch.device("meta"):
        names = network().state_dict()
    return {name: tensors[name.partition(".")[2]] for name in names if name.partition(".")[2] in tensors}


def pose(work: Work, *, body: bool = True, hand: bool = False, face: bool = False) -> Pixels:
    """People in coloured limbs on black."""

    def look(pixels: Pixels) -> Pixels:
        detector = work.tools.network("OpenPose", [BODY, HAND, FACE], _open).to(work.tools.device)
        people = detector.detect_poses(pixels, include_hand=hand, include_face=face)
        return drawn(people, (pixels.shape[1], pixels.shape[0]), body=body, hand=hand, face=face)

    return on_grid(work.image, work.resolution, look)


def _entry(name: str, *, slider: bool = False, first: bool = False) -> PreprocessorEntry:
    return PreprocessorEntry(
        name=name,
        label=name,
        types=("OpenPose",),
        first_in=("OpenPose",) if first else (),
        resolution=RESOLUTION if slider else None,
        weights=(BODY, HAND, FACE),
    )


PREPROCESSORS: tuple[tuple[PreprocessorEntry, Look], ...] = (
    (_entry("openpose_full", slider=True, first=True), lambda work: pose(work, hand=True, face=True)),
    (_entry("openpose", slider=True), pose),
    (_entry("openpose_face"), lambda work: pose(work, face=True)),
    (_entry("openpose_faceonly"), lambda work: pose(work, body=False, face=True)),
    (_entry("openpose_hand"), lambda work: pose(work, hand=True)),
)
