"""Segment Anything (arXiv:2304.02643; 2408.00714) from the authors' files or folders of transformers; Grounding DINO (arXiv:2303.05499)."""

from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from modules.control.preprocessors.networks import filled, from_aux, quiet
from modules.core.errors import ModelFileError
from modules.families.weights import read_weights

Mask = NDArray[np.bool_]
Boxes = NDArray[np.float32]

POSITIONS, TINY = "image_encoder.pos_embed", "image_encoder.layers."
WIDTHS = {768: "vit_b", 1024: "vit_l", 1280: "vit_h"}
"""The authors' sizes by the width of the positions; MobileSAM has none, but layers of its own."""


class Segmenter(Protocol):
    """What selects by points and boxes, whatever it is made of."""

    def to(self, device: torch.device) -> "Segmenter":
        """Itself, there."""
        ...

    def select(self, pixels: NDArray[np.uint8], points: Boxes, labels: NDArray[np.int64], box: Boxes | None) -> Mask:
        """The mask (H, W) that fits best for points (N, 2) of labels (N,), 1 in and 0 out, and a box (4,), in pixels of (H, W, 3)."""
        ...


class Original:
    """The authors' network."""

    def __init__(self, network: Any) -> None:
        self._network = network
        self._predictor = from_aux("segment_anything.predictor").SamPredictor(network)
        self._seen: bytes | None = None

    def to(self, device: torch.device) -> "Original":
        self._network.to(device)
        return self

    def select(self, pixels: NDArray[np.uint8], points: Boxes, labels: NDArray[np.int64], box: Boxes | None) -> Mask:
        if self._seen != (seen := pixels.tobytes()):  # the picture is looked at once for many clicks
            self._predictor.set_image(pixels)
            self._seen = seen
        masks, scores, _ = self._predictor.predict(
            point_coords=points if len(points) else None,
            point_labels=labels if len(points) else None,
            box=box,
            multimask_output=True,
        )
        return np.asarray(masks[int(np.argmax(scores))], bool)


class Folder:
    """A model of transformers (SAM, SAM HQ, SAM 2)."""

    def __init__(self, folder: Path) -> None:
        import transformers

        with quiet():
            self._processor: Any = transformers.AutoProcessor.from_pretrained(folder, local_files_only=True)
            network: Any = transformers.AutoModelForMaskGeneration.from_pretrained(folder, local_files_only=True)
        self._network = network.eval().requires_grad_(False)

    def to(self, device: torch.device) -> "Folder":
        self._network.to(device)
        return self

    def select(self, pixels: NDArray[np.uint8], points: Boxes, labels: NDArray[np.int64], box: Boxes | None) -> Mask:
        told: dict[str, Any] = {}
        if len(points):
            told |= {"input_points": [[points.tolist()]], "input_labels": [[labels.tolist()]]}
        if box is not None:
            told["input_boxes"] = [[box.tolist()]]
        seen = self._processor(images=Image.fromarray(pixels), return_tensors="pt", **told)
        sizes = {name: seen[name] for name in ("original_sizes", "reshaped_input_sizes") if name in seen}
        passed = {name: value for name, value in seen.items() if name not in sizes}
        moved = {
            name: (value.float() if value.is_floating_point() else value).to(self._network.device)
            for name, value in passed.items()
        }
        found = self._network(**moved, multimask_output=True)
        masks = self._processor.post_process_masks(found.pred_masks.cpu(), *(value.cpu() for value in sizes.values()))[
            0
        ]
        best = int(found.iou_scores.reshape(-1).argmax())
        return np.asarray(masks.reshape(-1, *masks.shape[-2:])[best].numpy() > 0, bool)


def open_segmenter(path: Path) -> Segmenter:
    """What lies there; raises ModelFileError for a file that is no Segment Anything."""
    if path.is_dir():
        return Folder(path)
    tensors = read_weights(path)
    kind = "vit_t" if any(name.startswith(TINY) for name in tensors) else None
    if kind is None and POSITIONS in tensors:
        kind = WIDTHS.get(tensors[POSITIONS].shape[-1])
    if kind is None:
        raise ModelFileError(f'"{path.name}" holds no Segment Anything of a known size. Choose another file.')
    make = from_aux("segment_anything.build_sam").sam_model_registry[kind]
    return Original(filled(make, path, tensors).eval().requires_grad_(False))


class Finder:
    """Boxes of what words name."""

    def __init__(self, folder: Path) -> None:
        import transformers

        with quiet():
            self._processor: Any = transformers.AutoProcessor.from_pretrained(folder, local_files_only=True)
            network: Any = transformers.AutoModelForZeroShotObjectDetection.from_pretrained(
                folder, local_files_only=True
            )
        self._network = network.eval().requires_grad_(False)

    def to(self, device: torch.device) -> "Finder":
        """Itself, there."""
        self._network.to(device)
        return self

    def find(self, pixels: NDArray[np.uint8], text: str, confidence: float) -> Boxes:
        """Boxes (N, 4) in pixels, surest first; several things are parted by full stops or commas."""
        words = ". ".join(filter(None, (part.strip().lower() for part in text.replace(",", ".").split("."))))
        seen = self._processor(images=Image.fromarray(pixels), text=f"{words}.", return_tensors="pt").to(
            self._network.device
        )
        found = self._processor.post_process_grounded_object_detection(
            self._network(**seen),
            seen.input_ids,
            threshold=confidence,
            text_threshold=confidence,
            target_sizes=[pixels.shape[:2]],
        )[0]
        order = found["scores"].argsort(descending=True)
        return found["boxes"][order].float().cpu().numpy().reshape(-1, 4)
