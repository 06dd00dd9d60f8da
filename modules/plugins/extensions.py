"""What lies in extensions/: each folder with `engine.py`, `ui.py` or both is one."""

import hashlib
import importlib.util
import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modules.core.paths import ROOT, Paths

log = logging.getLogger(__name__)

SIDES = ("engine", "ui")
"""The files that an extension may have, one for each process."""


@dataclass(frozen=True, kw_only=True)
class Extension:
    """One folder. `trouble`: why it is not loaded, in a sentence; None where it is."""

    name: str
    folder: Path
    trouble: str | None = None

    @property
    def sides(self) -> tuple[str, ...]:
        """Those of SIDES that it has."""
        return tuple(side for side in SIDES if (self.folder / f"{side}.py").is_file())

    @property
    def stamp(self) -> str:
        """Changes with every file of code in it."""
        digest = hashlib.sha256()
        for path in sorted(self.folder.rglob("*.py")):
            try:
                status = path.stat()
            except OSError:
                continue
            digest.update(f"{path.relative_to(self.folder)}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
        return digest.hexdigest()


def find_extensions(paths: Paths) -> list[Extension]:
    """Those there are, by name: in the program's folder, and in the data folder."""
    found: dict[str, Extension] = {}
    for root in dict.fromkeys((ROOT / "extensions", paths.data / "extensions")):
        for folder in sorted(root.iterdir()) if root.is_dir() else ():
            extension = Extension(name=folder.name, folder=folder)
            if folder.is_dir() and extension.sides and not folder.name.startswith("."):
                found[folder.name] = extension
    return list(found.values())


def load(folder: Path, side: str, api: Any) -> None:
    """Import that file of an extension and let it register itself. Raises whatever it does.

    The folder comes into `sys.path`, behind all others, so that its files can import each other.
    """
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
    name = f"extension_{folder.name}_{side}"
    spec = importlib.util.spec_from_file_location(name, folder / f"{side}.py")
    if spec is None or spec.loader is None:
        raise ImportError(f"{side}.py cannot be read")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    module.register(api)


def load_each(extensions: Sequence[Extension], side: str, api_of: Any) -> list[Extension]:
    """Load that side of every one that has it, with an `api_of(extension)`; those that failed, with their troubles."""
    failed = []
    for extension in extensions:
        if side not in extension.sides:
            continue
        try:
            load(extension.folder, side, api_of(extension))
        except (Exception, SystemExit) as error:
            trouble = f"{side}.py: {told(error)}"
            log.warning('The extension "%s" is not used: %s', extension.name, trouble)
            failed.append(Extension(name=extension.name, folder=extension.folder, trouble=trouble))
    return failed


def told(error: BaseException) -> str:
    """An error in one line."""
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0][:300]}" if text else type(error).__name__
