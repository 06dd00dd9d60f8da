"""What a merged checkpoint's file says of itself: A1111's `sd_merge_recipe` and `sd_merge_models`."""

import json
from collections.abc import Sequence
from typing import Any

from modules.merging.merge import Merge
from modules.merging.sources import Source, legacy_hash, said
from modules.requests.merge import CONFIG_SOURCES, MergeRequest, read_metadata


def merge_metadata(request: MergeRequest, sources: Sequence[Source], merge: Merge) -> dict[str, str]:
    """The metadata of the result, as A1111 writes it. The sources' checkpoints must know their hashes."""
    if not request.save_metadata:
        return {"format": "pt"}
    found: dict[str, Any] = {}
    for source in sources if request.copy_metadata_fields else ():
        found.update(source.metadata)
    found.update(read_metadata(request.metadata_json))
    found["format"] = "pt"
    if request.add_merge_recipe:
        found["sd_merge_recipe"] = _recipe(request, sources, merge)
        found["sd_merge_models"] = _models(sources)
    return {name: value if isinstance(value, str) else json.dumps(value) for name, value in found.items()}


def _recipe(request: MergeRequest, sources: Sequence[Source], merge: Merge) -> dict[str, Any]:
    hashes = [*(source.checkpoint.sha256 for source in sources), None, None]
    recipe = {
        "type": "webui",
        "primary_model_hash": hashes[0],
        "secondary_model_hash": hashes[1],
        "tertiary_model_hash": hashes[2],
        "interp_method": request.interp_method,
        "multiplier": request.multiplier,
        "save_as_half": request.save_as_half,
        "custom_name": request.custom_name,
        "config_source": CONFIG_SOURCES.index(request.config_source),
        "bake_in_vae": request.bake_in_vae or "None",
        "discard_weights": request.discard_weights,
        "is_inpainting": merge.extra == "inpainting",
        "is_instruct_pix2pix": merge.extra == "instruct-pix2pix",
    }
    if request.block_weights:
        recipe["block_weights"] = request.block_weights
    if request.precision != "Automatic":
        recipe["precision"] = request.precision
    return recipe


def _models(sources: Sequence[Source]) -> dict[str, Any]:
    """Each source under its hash, with its own recipe, and what it was merged from itself."""
    found: dict[str, Any] = {}
    for source in sources:
        found[source.checkpoint.sha256 or ""] = {
            "name": source.checkpoint.name,
            "legacy_hash": legacy_hash(source.checkpoint.file),
            "sd_merge_recipe": said(source.metadata, "sd_merge_recipe"),
        }
        found.update(said(source.metadata, "sd_merge_models") or {})
    return found
