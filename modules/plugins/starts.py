"""How often in a row the program ended before it served: after two such starts the third one is without extensions."""

import contextlib
from pathlib import Path

from modules.core.errors import AtelierError
from modules.core.files import write_atomic

LIMIT = 2


class Starts:
    """A file with the number of starts that did not succeed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.failed = self._read()

    @property
    def safe(self) -> bool:
        """Is this a start without extensions?"""
        return self.failed >= LIMIT

    def begin(self) -> None:
        """Count this start as failed until it has succeeded."""
        with contextlib.suppress(AtelierError):
            write_atomic(self._path, str(self.failed + 1).encode())

    def succeed(self) -> None:
        """The program serves, or was ended on purpose. After a start in safe mode the next one tries everything again."""
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)

    def forget(self) -> None:
        """This start came to nothing for a reason that it told: it does not count."""
        with contextlib.suppress(AtelierError):
            write_atomic(self._path, str(self.failed).encode())

    def _read(self) -> int:
        with contextlib.suppress(OSError, ValueError):
            return max(int(self._path.read_text()), 0)
        return 0
