"""The values of the tab Extras: to a request, and as its fields are called. Knows nothing of gradio."""

import json
from collections.abc import Sequence
from typing import Any

from modules.core.errors import InputError
from modules.jobs.uploads import Uploads
from modules.requests.extras import MAX_PICTURES, ExtrasRequest, make_extras_request

SINGLE, BATCH, DIRECTORY = "Single Image", "Batch Process", "Batch from Directory"
MODES = (SINGLE, BATCH, DIRECTORY)

LABELS = {
    "input_dir": "Input directory",
    "output_dir": "Output directory",
    "upscale": "Upscale",
    "upscaling_resize": "Resize",
    "max_side_length": "Max side length",
    "upscaling_resize_w": "Width",
    "upscaling_resize_h": "Height",
    "upscaling_crop": "Crop to fit",
    "upscaler_1": "Upscaler 1",
    "upscaler_2": "Upscaler 2",
    "extras_upscaler_2_visibility": "Upscaler 2 visibility",
    "upscale_first": "Upscale before faces are restored",
    "gfpgan_visibility": "GFPGAN visibility",
    "codeformer_visibility": "CodeFormer visibility",
    "codeformer_weight": "Weight (0 = maximum effect, 1 = minimum effect)",
    "remove_background": "Remove background",
    "split_oversized": "Split oversized images",
    "split_oversized.threshold": "Threshold",
    "split_oversized.overlap_ratio": "Overlap ratio",
    "focal_crop": "Auto focal point crop",
    "focal_crop.face_weight": "Focal point face weight",
    "focal_crop.entropy_weight": "Focal point entropy weight",
    "focal_crop.edges_weight": "Focal point edges weight",
    "focal_crop.debug": "Create debug image",
    "autosized_crop": "Auto-sized crop",
    "autosized_crop.mindim": "Dimension lower bound",
    "autosized_crop.maxdim": "Dimension upper bound",
    "autosized_crop.minarea": "Area lower bound",
    "autosized_crop.maxarea": "Area upper bound",
    "autosized_crop.objective": "Resizing objective",
    "autosized_crop.threshold": "Error threshold",
    "flipped_copies": "Create flipped copies",
    "caption": "Caption (BLIP)",
    "tags": "Caption (Deepbooru)",
}
PARTS = ("split_oversized", "focal_crop", "autosized_crop")
FIELDS = tuple(LABELS)


def to_extras_request(told: Any, values: Sequence[Any], uploads: Uploads) -> ExtrasRequest:
    """The request of the form's values, in the order of FIELDS. `told`: JSON of assets/extras.js, which says what was chosen in tabs
    and which pictures were sent. Raises InputError that calls fields as the page does."""
    said = _object(told)
    given = {name: value for name, value in zip(FIELDS, values, strict=True) if value is not None}
    request: dict[str, Any] = {name: value for name, value in given.items() if name.split(".")[0] not in PARTS}
    for part in PARTS:
        if given.get(part):
            request[part] = {name.split(".")[1]: value for name, value in given.items() if name.startswith(f"{part}.")}
    request["resize_mode"] = int(said["resize_mode"] == 1)
    if said["mode"] == DIRECTORY:
        if not str(request.get("input_dir", "")).strip():
            raise InputError("input_dir", f"{LABELS['input_dir']} is empty. Name a folder with pictures.")
    else:
        request["input_dir"] = ""
        files = said["files"]
        request["images"] = [uploads.find(sha, "The picture") for _, sha in files]
        request["names"] = [str(name) for name, _ in files] if said["mode"] == BATCH else []
    if said["mode"] == SINGLE:
        request["output_dir"] = ""
    try:
        return make_extras_request(request)
    except InputError as error:
        raise InputError(error.field, labelled(error.field, error.message)) from error


def labelled(field: str | None, message: str) -> str:
    """A sentence about a field, which is called as the tab calls it."""
    label = LABELS.get(field or "")
    return label + message[len(field or "") :] if label and field and message.startswith(f"{field} ") else message


def _object(told: Any) -> dict[str, Any]:
    """What the page said, in the form that it has; raises InputError."""
    try:
        said = json.loads(told)
    except (TypeError, ValueError, RecursionError):
        said = None
    if isinstance(said, dict) and isinstance(trouble := said.get("trouble"), str):
        raise InputError("images", trouble[:500])
    if not isinstance(said, dict) or said.get("mode") not in MODES:
        raise InputError("images", "The page did not say what to work on. Load it again.")
    files = said.get("files") or []
    if not isinstance(files, list) or not all(isinstance(file, list) and len(file) == 2 for file in files):
        raise InputError("images", "The page did not say what to work on. Load it again.")
    if said["mode"] != DIRECTORY and not files:
        raise InputError("images", "There is no picture to work on. Drop one into the field at the left.")
    if len(files) > MAX_PICTURES:
        raise InputError(
            "images", f"There are {len(files)} pictures: at most {MAX_PICTURES} fit one press. Divide them."
        )
    return {"mode": said["mode"], "resize_mode": said.get("resize_mode"), "files": files}
