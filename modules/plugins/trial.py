"""Extensions are tried in a process of their own before they are loaded into ours: whatever code does there, the program starts.

`python -m modules.plugins.trial FOLDER SIDE SECONDS` is that process.
"""

import contextlib
import faulthandler
import importlib
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from modules.core.errors import AtelierError
from modules.core.files import write_atomic
from modules.core.paths import ROOT
from modules.plugins.extensions import Extension, load, told

PATIENCE = 30.0
"""Seconds that each has, what it takes to load PyTorch aside."""
HEAVY = {"engine": "torch"}
SLOWEST = 180.0
"""Seconds that the slowest disk takes to load that."""
LATE = "Timeout ("
"""What a process that was not done in time says before it ends."""
PASSED, FAILED = 10, 11
"""Exit codes: nothing else comes to the first by itself, and with the second comes a sentence."""


class Anything:
    """Stands for what `register` is given: takes every call."""

    def __getattr__(self, name: str) -> "Anything":
        return Anything()

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        return arguments[0] if len(arguments) == 1 and callable(arguments[0]) else Anything()


def tried(extensions: Sequence[Extension], cache: Path, patience: float = PATIENCE) -> list[Extension]:
    """All of them, those that cannot be loaded with their troubles. `cache`: a file that tells which were tried before, and passed."""
    passed = _read(cache)
    stamps = {extension.name: extension.stamp for extension in extensions}
    running: dict[tuple[str, str], subprocess.Popen[str]] = {}
    for extension in extensions:
        if passed.get(extension.name) != stamps[extension.name]:
            for side in extension.sides:
                command = [sys.executable, "-m", "modules.plugins.trial", str(extension.folder), side, str(patience)]
                running[extension.name, side] = subprocess.Popen(
                    command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, errors="replace"
                )  # fmt: skip
    end, troubles = time.monotonic() + patience + SLOWEST, {}
    for (name, side), process in running.items():
        if trouble := _trouble(process, side, end, patience):
            troubles.setdefault(name, trouble)
    if running:
        good = {name: stamp for name, stamp in stamps.items() if name not in troubles}
        with contextlib.suppress(AtelierError):  # they are tried again, then
            write_atomic(cache, json.dumps(good).encode())
    return [replace(extension, trouble=troubles.get(extension.name)) for extension in extensions]


def _trouble(process: subprocess.Popen[str], side: str, end: float, patience: float) -> str | None:
    try:
        _, said = process.communicate(timeout=max(end - time.monotonic(), 0.01))
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        said = LATE
    if LATE in said and process.returncode not in (PASSED, FAILED):
        return f"{side}.py was not loaded after {patience:.0f} s."
    if process.returncode == FAILED:
        return f"{side}.py: {(said.strip().splitlines() or ['it failed'])[-1][:400]}"
    if process.returncode != PASSED:
        return f"{side}.py ended the process it was tried in (exit code {process.returncode})."
    return None


def _read(cache: Path) -> dict[str, str]:
    with contextlib.suppress(OSError, ValueError):
        found = json.loads(cache.read_text("utf-8"))
        if isinstance(found, dict):
            return found
    return {}


def main(folder: str, side: str, patience: str) -> int:
    """Load one side of one extension; PASSED when that went well. After so many seconds the process ends, whatever it is at."""
    try:
        if side in HEAVY:
            importlib.import_module(HEAVY[side])
        faulthandler.dump_traceback_later(float(patience), exit=True)
        load(Path(folder), side, Anything())
    except (Exception, SystemExit) as error:
        print(told(error), file=sys.stderr, flush=True)
        return FAILED
    return PASSED


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:4]))
