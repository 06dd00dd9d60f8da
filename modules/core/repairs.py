"""What was found damaged and mended, told in a file beside it until an administrator has put the notice of it away."""

import contextlib
import logging
from collections.abc import Iterable
from pathlib import Path

log = logging.getLogger(__name__)

NAME = "damaged-files.txt"
MOST = 20


def tell(file: Path, sentence: str) -> None:
    """Keep what became of that file for the page, and write it to the log."""
    log.warning("%s", sentence)
    with contextlib.suppress(OSError), (file.parent / NAME).open("a", encoding="utf-8") as lines:
        lines.write(f"{' '.join(sentence.split())}\n")


def told(folders: Iterable[Path]) -> list[str]:
    """The latest sentences about files in these folders, each once, the oldest first."""
    found: dict[str, None] = {}
    for folder in dict.fromkeys(folders):
        with contextlib.suppress(OSError):
            found |= dict.fromkeys((folder / NAME).read_text("utf-8", "replace").splitlines())
    return [*found][-MOST:]


def forget(folders: Iterable[Path]) -> None:
    """They were read. Raises OSError."""
    for folder in folders:
        (folder / NAME).unlink(missing_ok=True)
