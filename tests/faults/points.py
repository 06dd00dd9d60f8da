"""What goes wrong in the program, as a test plans it."""

from pathlib import Path

from modules.core.faults import FOLDER, REACHED


class Points:
    """The folder that programs look into; `environment` is what they need for that."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.environment = {FOLDER: str(folder)}

    def plan(self, name: str, action: str, *, skip: int = 0, times: int = 1) -> None:
        """Have that happen at that point, so often, after so many times that it does not."""
        (self._folder / name).write_text(f"{action} {skip} {times}")

    def clear(self) -> None:
        """Nothing is planned any more, and nothing was reached."""
        for path in self._folder.iterdir():
            path.unlink()

    def waits(self, name: str) -> bool:
        """Whether what is planned there is still to happen."""
        return (self._folder / name).exists()

    def reached(self) -> list[str]:
        """The points that were passed, in order."""
        path = self._folder / REACHED
        return path.read_text().split() if path.exists() else []
