"""What stands behind the box "Extra" beside the seed: variations, and a seed's picture at another size. Knows nothing of gradio."""

from collections.abc import Mapping
from typing import Any

from modules.core.errors import InputError, short

SHOW = "seed_extra"  # the box; what it hides counts only while it is ticked
LABELS = {
    SHOW: "Extra",
    "subseed": "Variation seed",
    "subseed_strength": "Variation strength",
    "seed_resize_from_w": "Resize seed from width",
    "seed_resize_from_h": "Resize seed from height",
}
HIDDEN = tuple(name for name in LABELS if name != SHOW)


def counting(values: Mapping[str, Any]) -> dict[str, Any]:
    """`values` as a request takes them: without what the box hides, the variation seed's text as a number."""
    found = {name: value for name, value in values.items() if name != SHOW}
    if not values.get(SHOW, True):
        return {name: value for name, value in found.items() if name not in HIDDEN}
    if isinstance(found.get("subseed"), str):
        found["subseed"] = found["subseed"].strip() or -1
    return found


def check_box(value: Any) -> bool:
    """Ticked or not; raises InputError."""
    if not isinstance(value, bool):
        raise InputError(SHOW, f"{SHOW} is {short(value)}: it must be true or false.")
    return value


def ticked(found: Mapping[str, Any]) -> bool:
    """Whether an infotext's values are such that the box is ticked."""
    return any(name in found for name in HIDDEN)
