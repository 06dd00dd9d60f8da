"""The arguments of the extension Dynamic Prompts in `alwayson_scripts`."""

from collections.abc import Sequence
from typing import Any

from modules.core.errors import InputError

TITLE = "Dynamic Prompts"
"""Its title goes on with its version."""

ARGUMENTS: tuple[tuple[str, str], ...] = (
    ("dynamic_prompts", ""),
    ("dp_combinatorial", ""),
    ("dp_combinatorial_batches", ""),
    ("", "magic prompts"),
    ("", "I'm feeling lucky"),
    ("", "the attention grabber"),
    *(("", ""),) * 4,
    ("dp_fixed_seed", ""),
    ("dp_unlink_seed", ""),
    ("", ""),
    ("", "Jinja2 templates"),
    ("", "no image generation (POST to /atelier/prompts for that)"),
    ("dp_max_generations", ""),
    *(("", ""),) * 2,
)
"""In order: the request's field, or what this version has not and therefore at false alone; neither: what has no effect without that."""


def read_dynamic(field: str, arguments: Sequence[Any]) -> dict[str, Any]:
    """The request's fields from these arguments; those left out are the defaults. Raises InputError."""
    found: dict[str, Any] = {}
    if arguments and not arguments[0]:
        return {"dynamic_prompts": False}
    for value, (name, missing) in zip(arguments, ARGUMENTS, strict=False):
        if name:
            found[name] = value
        elif missing and value:
            raise InputError(field, f'{field} asks "{TITLE}" for {missing}: not part of this version; send false.')
    return found
