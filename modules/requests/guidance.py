"""Techniques that change how guidance works or leave computation out, each a part of a request; absent is off.

Their values have flat names too, Forge's where Forge has them ("freeu_b1"): those of the page's fields and the infotext's keys.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field
from pydantic.fields import FieldInfo

from modules.core.validation import Number, Whole
from modules.requests.tiled import TiledDiffusion


class Technique(BaseModel):
    """Frozen, and strict about its fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class FreeU(Technique):
    """FreeU (arXiv:2309.11497): b for the backbone, s for skip connections, 1 for the widest features, 2 for the next.

    `version` 2 adapts b to the picture. It works from step `start` (n - 1) to step `end` (n - 1) of n, the first being 0.
    """

    b1: Number = Field(1.01, title="B1", ge=0, le=2)
    b2: Number = Field(1.02, title="B2", ge=0, le=2)
    s1: Number = Field(0.99, title="S1", ge=0, le=4)
    s2: Number = Field(0.95, title="S2", ge=0, le=4)
    start: Number = Field(0.0, title="Start at", ge=0, le=1)
    end: Number = Field(1.0, title="End at", ge=0, le=1)
    version: Whole = Field(2, title="Version", ge=1, le=2)


class SelfAttentionGuidance(Technique):
    """Self-attention guidance (arXiv:2210.00939)."""

    scale: Number = Field(0.5, title="Scale", ge=-2, le=5)
    blur_sigma: Number = Field(2.0, title="Blur sigma", ge=0, le=10)
    threshold: Number = Field(1.0, title="Blur mask threshold", ge=0, le=4)


class PerturbedAttentionGuidance(Technique):
    """Perturbed-attention guidance (arXiv:2403.17377)."""

    scale: Number = Field(3.0, title="Scale", ge=0, le=100)


class DynamicThresholding(Technique):
    """Dynamic thresholding, "CFG-Fix": the range of guidance with scale `mimic_scale`; see modules/sampling/tempering.py."""

    mimic_scale: Number = Field(7.0, title="Mimicked CFG scale", ge=0, le=100)
    threshold_percentile: Number = Field(1.0, title="Percentile of latents to clamp at", ge=0, le=1)
    separate_feature_channels: Literal["enable", "disable"] = Field("enable", title="Each channel by itself")
    subtract_mean: bool = Field(True, title="Centre channels on their mean")
    interpolate_phi: Number = Field(1.0, title="Strength", ge=0, le=1)


class DeepCache(Technique):
    """DeepCache (arXiv:2312.00858): the U-Net's deep features are computed at every `interval`th step and used again in between.

    `branch`: the skip connection above which everything is computed at every step, 0 being the highest: faster, less exact.
    """

    interval: Whole = Field(3, title="Interval", ge=2, le=10)
    branch: Whole = Field(0, title="Branch", ge=0, le=10)


class FirstBlockCache(Technique):
    """First-block caching: where a transformer's first block changes less than `threshold` of what it did at the step that was
    computed last, the other blocks are taken to do what they did there."""

    threshold: Number = Field(0.08, title="Threshold", ge=0, le=1)


# request field -> (prefix of its flat names, its type), in the order of Forge's infotext
TECHNIQUES: dict[str, tuple[str, type[BaseModel]]] = {
    "dynamic_thresholding": ("dynthres_", DynamicThresholding),
    "freeu": ("freeu_", FreeU),
    "self_attention_guidance": ("sag_", SelfAttentionGuidance),
    "perturbed_attention_guidance": ("pag_", PerturbedAttentionGuidance),
    "deep_cache": ("deepcache_", DeepCache),
    "first_block_cache": ("fbcache_", FirstBlockCache),
    "tiled_diffusion": ("tiled_", TiledDiffusion),
}
ENABLED = "enabled"
NAMES = {
    "dynamic_thresholding": "Dynamic thresholding",
    "freeu": "FreeU",
    "self_attention_guidance": "Self-attention guidance",
    "perturbed_attention_guidance": "Perturbed-attention guidance",
    "deep_cache": "DeepCache",
    "first_block_cache": "First-block cache",
    "tiled_diffusion": "Tiled diffusion",
}


def flat_names() -> Iterator[tuple[str, str, str]]:
    """(flat name, request field, its part) of everything; each technique's first part is ENABLED."""
    for field, (prefix, technique) in TECHNIQUES.items():
        for part in (ENABLED, *technique.model_fields):
            yield f"{prefix}{part}", field, part


def part_of(name: str) -> FieldInfo | None:
    """What is known of a flat name's value; None for ENABLED."""
    field, part = next((field, part) for flat, field, part in flat_names() if flat == name)
    return TECHNIQUES[field][1].model_fields.get(part)


def label_of(name: str) -> str:
    """What users call a flat name."""
    field = next(field for flat, field, _ in flat_names() if flat == name)
    part = part_of(name)
    return NAMES[field] if part is None else f"{NAMES[field]}: {part.title}"


def flattened(request: Any) -> dict[str, Any]:
    """The flat values of the techniques that a request uses."""
    return {
        name: True if part == ENABLED else getattr(getattr(request, field), part)
        for name, field, part in flat_names()
        if getattr(request, field) is not None
    }


def gathered(values: Mapping[str, Any]) -> dict[str, Any]:
    """Flat values as request fields; a technique without a true ENABLED is off. Other names are left out."""
    found: dict[str, Any] = {}
    for name, field, part in flat_names():
        if part == ENABLED:
            found[field] = {} if values.get(name) in (True, "True", "true") else None
        elif found[field] is not None and name in values:
            found[field][part] = values[name]
    return found


def limits_of(name: str) -> dict[str, Any]:
    """A flat name's bounds as minimum and maximum, or its choices; nothing for true and false, and for text."""
    part = part_of(name)
    if part is None or part.annotation in (bool, str):
        return {}
    bounds = {key: getattr(found, key) for found in part.metadata for key in ("ge", "le") if hasattr(found, key)}
    return (
        {"minimum": bounds["ge"], "maximum": bounds["le"]} if bounds else {"choices": list(get_args(part.annotation))}
    )
