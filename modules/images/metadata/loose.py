"""Values out of files that anyone may have written: what is not as it should be is absent, never an error."""

import json
import math
from typing import Any

MAX_TEXT = 16 * 2**20


def parse_json(text: str) -> Any:
    """The JSON value in `text`, or None if it holds none."""
    if len(text) > MAX_TEXT:
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def parse_object(text: str) -> dict[str, Any] | None:
    """The JSON object in `text`, or None if it holds none."""
    found = parse_json(text)
    return found if isinstance(found, dict) else None


def mapping(value: Any) -> dict[str, Any]:
    """`value` if it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}


def sequence(value: Any) -> list[Any]:
    """`value` if it is a list, else an empty one."""
    return value if isinstance(value, list) else []


def words(value: Any) -> str:
    """`value` if it is text, else ""; halves of surrogate pairs, which are no text, are left out."""
    return value.encode("utf-8", "ignore").decode() if isinstance(value, str) else ""


def number(value: Any) -> int | float | None:
    """A finite number, given as such or as text; whole ones as int."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        found = int(value) if isinstance(value, (int, str)) else float(value)
    except ValueError:
        try:
            found = float(value)
        except (ValueError, OverflowError):
            return None
    if isinstance(found, float):
        if not math.isfinite(found):
            return None
        return int(found) if found.is_integer() and abs(found) < 2**53 else found
    return found if abs(found) < 2**64 else None


def whole(value: Any) -> int | None:
    """A whole number."""
    found = number(value)
    return found if isinstance(found, int) else None


def size(width: Any, height: Any) -> str | None:
    """A1111's "512x768"."""
    found = whole(width), whole(height)
    return f"{found[0]}x{found[1]}" if found[0] and found[1] and min(found[0], found[1]) > 0 else None


def stem(name: Any) -> str:
    """The name of a model file without its folders and its ending."""
    last = words(name).replace("\\", "/").rsplit("/", 1)[-1].strip()
    head, dot, ending = last.rpartition(".")
    return head if dot and ending.lower() in ("safetensors", "ckpt", "pt", "pth", "bin", "gguf", "sft") else last
