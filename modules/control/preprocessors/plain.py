"""Preprocessors that leave the picture as it is, or change every pixel by itself: none, invert, threshold, references, inpainting."""

import numpy as np

from modules.control.preprocessors.pixels import Pixels, on_grid, rgb
from modules.control.preprocessors.preprocessor import Look, Work
from modules.requests.preprocessors import RESOLUTION, PreprocessorEntry, Slider

FIDELITY = Slider(label="Style Fidelity (only for Balanced mode)", minimum=0, maximum=1, default=0.5, step=0.01)
REFERENCES = ("reference_only", "reference_adain", "reference_adain+attn")


def same(work: Work) -> Pixels:
    """The picture, with its mask if it has one."""
    return work.image


def inverted(work: Work) -> Pixels:
    """The negative, at the picture's own size."""
    return 255 - rgb(work.image)


def binarised(work: Work) -> Pixels:
    """White where all three channels are above the threshold."""

    def look(pixels: Pixels) -> Pixels:
        return np.where(pixels.min(axis=2) > work.values.a, 255, 0).astype(np.uint8)

    return on_grid(work.image, work.resolution, look)


PREPROCESSORS: tuple[tuple[PreprocessorEntry, Look], ...] = (
    (PreprocessorEntry(name="none", label="none", types=("InstructP2P",), first_in=("InstructP2P",)), same),
    (
        PreprocessorEntry(
            name="invert",
            label="invert (from white bg & black line)",
            types=("Canny", "Lineart", "Scribble", "MLSD", "SparseCtrl"),
        ),
        inverted,
    ),
    (
        PreprocessorEntry(
            name="threshold",
            label="threshold",
            resolution=RESOLUTION,
            threshold_a=Slider(label="Binarization Threshold", minimum=0, maximum=255, default=127),
        ),
        binarised,
    ),
    *(
        (
            PreprocessorEntry(
                name=name,
                label=name,
                types=("Reference",),
                first_in=("Reference",) if name == "reference_only" else (),
                threshold_a=FIDELITY,
                model_free=True,
            ),
            same,
        )
        for name in REFERENCES
    ),
    (
        PreprocessorEntry(
            name="inpaint_only", label="inpaint_only", types=("Inpaint",), first_in=("Inpaint",), mask=True
        ),
        same,
    ),
    (PreprocessorEntry(name="inpaint", label="inpaint_global_harmonious", types=("Inpaint",), mask=True), same),
)
