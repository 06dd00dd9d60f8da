"""A1111's file-name patterns: `[seed]-[prompt_spaces]` and the like."""

import re
import unicodedata
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

MAX_BYTES = 200
_INVALID = str.maketrans(dict.fromkeys('#<>:"/\\|?*\n\r\t', "_"))
_RESERVED = re.compile(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\..*)?")


def apply_pattern(pattern: str, values: Mapping[str, Any], now: datetime, words: int = 8) -> str:
    """`pattern` with every known `[name]` replaced; unknown ones stay as they are. One path part: no separators left.
    `words`: how many of the prompt's are in [prompt_words]."""
    prompt = str(values.get("prompt", ""))
    known: dict[str, Any] = {
        **values,
        "date": now.strftime("%Y-%m-%d"),
        "datetime": now.strftime("%Y%m%d%H%M%S"),
        "prompt": prompt,
        "prompt_spaces": prompt,
        "prompt_words": " ".join(re.findall(r"\w+", prompt)[:words]),
        "none": "",
    }
    text = re.sub(r"\[(\w+)\]", lambda m: str(known.get(m[1].lower(), m[0])), pattern)
    return sanitize(text)


def sanitize(text: str, max_bytes: int = MAX_BYTES) -> str:
    """`text` as one part of a path on any system: printable, no separators, not reserved, at most `max_bytes` of UTF-8."""
    text = unicodedata.normalize("NFC", text).translate(_INVALID)
    text = "".join(c if c.isprintable() else "_" for c in text)
    text = text.encode("utf-8", "replace")[:max_bytes].decode("utf-8", "ignore").strip(" .")
    return f"_{text}" if _RESERVED.fullmatch(text) else text


def next_number(folder: Path) -> int:
    """One more than the highest five-digit number that begins a file name in `folder`."""
    highest = -1
    if folder.is_dir():
        for entry in folder.iterdir():
            number = entry.name.split("-", 1)[0]
            if number.isascii() and number.isdigit() and len(number) <= 9:
                highest = max(highest, int(number))
    return highest + 1
