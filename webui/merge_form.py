"""The values of the merging forms: to requests, and as their fields are called. Knows nothing of gradio."""

import json
from collections.abc import Sequence
from typing import Any

from modules.core.errors import InputError, ModelFileError, short
from modules.library.checkpoints import Checkpoints
from modules.library.header import read_header
from modules.requests.merge import (
    ExtractLoraRequest,
    FileRequest,
    MergeLorasRequest,
    MergeRequest,
    make_file_request,
)

MERGE = {
    "primary_model_name": "Primary model (A)",
    "secondary_model_name": "Secondary model (B)",
    "tertiary_model_name": "Tertiary model (C)",
    "custom_name": "Custom Name (Optional)",
    "multiplier": "Multiplier (M) - set to 0 to get model A",
    "interp_method": "Interpolation Method",
    "block_weights": "Block weights (instead of M in the U-Net)",
    "checkpoint_format": "Checkpoint format",
    "save_as_half": "Save as float16",
    "precision": "Precision",
    "config_source": "Copy config from",
    "bake_in_vae": "Bake in VAE",
    "discard_weights": "Discard weights with matching name",
    "overwrite": "Replace a file of that name",
    "save_metadata": "Save metadata",
    "add_merge_recipe": "Add merge recipe metadata",
    "copy_metadata_fields": "Copy metadata from merged models",
    "metadata_json": "Metadata in JSON format",
}
EXTRACT = {
    "tuned_model_name": "Tuned checkpoint",
    "base_model_name": "Base checkpoint",
    "rank": "Rank (network dim)",
    "conv_rank": "Rank of convolutions (0: without)",
    "text_encoder": "Text encoders too",
    "precision": "Precision",
    "custom_name": "Custom Name (Optional)",
    "overwrite": "Replace a file of that name",
}
LORAS = {
    "loras": "LoRAs",
    "weights": "Weights, between commas (1 each)",
    "checkpoint": "Into a checkpoint (None: into one LoRA)",
    "rank": "Rank of the LoRA (0: exact)",
    "precision": "Precision of the LoRA",
    "custom_name": "Custom Name (Optional)",
    "overwrite": "Replace a file of that name",
}
FORMS: dict[str, tuple[type[FileRequest], dict[str, str]]] = {
    "merge": (MergeRequest, MERGE),
    "extract": (ExtractLoraRequest, EXTRACT),
    "loras": (MergeLorasRequest, LORAS),
}
METHOD_WORDS = {
    "No interpolation": "No interpolation will be used. Requires one model; A. Allows for format conversion and VAE baking.",
    "Weighted sum": "A weighted sum will be used for interpolation. Requires two models; A and B. The result is calculated as A * (1 - M) + B * M",
    "Add difference": "The difference between the last two models will be added to the first. Requires three models; A, B and C. The result is calculated as A + (B - C) * M",
}
"""A1111's own words for its methods."""


def to_file_request(form: str, values: Sequence[Any]) -> MergeRequest | ExtractLoraRequest | MergeLorasRequest:
    """The request of that form's values, in the order of its fields; raises InputError that calls fields as the page does."""
    kind, labels = FORMS[form]
    given = {name: value for name, value in zip(labels, values, strict=True) if value is not None}
    try:
        if form == "loras":
            given["weights"] = _numbers(given.get("weights", ""))
        return make_file_request(kind, given)  # type: ignore[type-var]  # of the three kinds that FORMS holds
    except InputError as error:
        raise InputError(error.field, labelled(form, error.field, error.message)) from error


def labelled(form: str, field: str | None, message: str) -> str:
    """A sentence about a field, which is called as that form calls it."""
    label = FORMS[form][1].get((field or "").split(".")[0])
    return label + message[len(field or "") :] if label and field and message.startswith(f"{field} ") else message


def form_of(request: object) -> str | None:
    """Which form makes such requests."""
    return next((form for form, (kind, _) in FORMS.items() if type(request) is kind), None)


def metadata_of(names: Sequence[Any], checkpoints: Checkpoints) -> str:
    """What the files of those checkpoints say of themselves, together, as JSON to be edited; what has no metadata counts as empty.

    Raises InputError for a checkpoint that is not there.
    """
    found: dict[str, Any] = {}
    for name in names:
        if not isinstance(name, str) or not name:
            continue
        try:
            found.update(read_header(checkpoints.find(name).file).metadata)
        except ModelFileError:
            continue
    return json.dumps({name: _parsed(value) for name, value in found.items()}, indent=4, ensure_ascii=False)


def _parsed(value: str) -> Any:
    """Objects as objects, as A1111 shows them."""
    if not value.startswith("{"):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value


def _numbers(text: Any) -> list[float]:
    parts = [part.strip() for part in text.split(",") if part.strip()] if isinstance(text, str) else []
    try:
        return [float(part) for part in parts]
    except ValueError as error:
        raise InputError(
            "weights", f"weights is {short(text)}: it must be numbers between commas, or empty."
        ) from error
