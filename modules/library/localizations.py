"""Localisations: A1111's JSON files that say for each English text of the page what stands there instead."""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from modules.core.errors import InputError, short

log = logging.getLogger(__name__)

NONE = "None"
LARGEST = 8_000_000  # bytes: the largest known ones have some 300,000


@dataclass(frozen=True, kw_only=True)
class Localization:
    """`texts`: English -> translation. `rtl`: written from right to left."""

    name: str
    texts: Mapping[str, str] = field(default_factory=dict)
    rtl: bool = False


class Localizations:
    """What lies in `folders`, read anew each time. Files of one name add up; those of the first folder count before others'."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self._folders = folders

    def names(self) -> list[str]:
        """The names that the setting `localization` may have, "None" aside."""
        return sorted({file.stem for folder in self._folders for file in folder.glob("*.json")}, key=str.casefold)

    def read(self, name: str) -> Localization:
        """The one of that name; empty for "None". A file that cannot be read is told in the log and left out."""
        if name in ("", NONE):
            return Localization(name=NONE)
        if name not in self.names():
            known = ", ".join([NONE, *self.names()])
            log.warning("localization is %s, and there is no such file. Choose one of: %s.", short(name), known)
            return Localization(name=NONE)
        found: dict[str, Any] = {}
        for folder in reversed(self._folders):
            if (file := folder / f"{name}.json").is_file():
                try:
                    found |= read_localization(file)
                except InputError as error:
                    log.warning("%s", error.message)
        rtl = found.pop("rtl", False) is True
        return Localization(name=name, texts=found, rtl=rtl)


def preferred(names: Sequence[str], wanted: str) -> str:
    """The first of `names` in the order of an Accept-Language header; "None" where English comes before, or no name fits.

    A region that writes traditional characters does not ask for zh_CN.
    """
    found = [part.partition(";") for part in wanted.lower().split(",")][:20]
    found.sort(key=lambda part: -_quality(part[2]))
    for tag in (part[0].strip() for part in found):
        language, _, region = tag.partition("-")
        if language == "en":
            break
        for name in names:
            own = name.lower().replace("_", "-")
            simple = language != "zh" or region in ("", "sg", "hans", "hans-cn", "hans-sg") and own == "zh-cn"
            if own == tag or own.partition("-")[0] == language and simple:
                return name
    return NONE


def _quality(said: str) -> float:
    """Of `q=0.8`; 1 where nothing is said, 0 for what is no number."""
    try:
        return float(said.strip().removeprefix("q=") or 1)
    except ValueError:
        return 0


def read_localization(file: Path) -> dict[str, Any]:
    """Its texts, and `rtl` if the file says it; raises InputError that names the file and what is wrong."""
    what = f'The localisation "{file.name}"'
    try:
        if file.stat().st_size > LARGEST:
            raise InputError("localization", f"{what} is larger than {LARGEST // 1_000_000} MB. Choose another file.")
        told = json.loads(file.read_text("utf-8-sig"))
    except OSError as error:
        raise InputError("localization", f"{what} cannot be read: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:
        raise InputError("localization", f"{what} is not JSON: {error}. Mend it, or choose another.") from error
    if not isinstance(told, dict):
        raise InputError("localization", f'{what} must hold one object: {{"English": "translation"}}.')
    found = {key: value for key, value in told.items() if isinstance(value, str) or key == "rtl"}
    if wrong := next((key for key in told if key not in found), None):
        log.warning("%s has no text for %s; such entries are left out.", what, short(wrong))
    return {key: value for key, value in found.items() if value != ""}
