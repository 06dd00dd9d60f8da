"""Named points in the program at which its tests let something go wrong. Outside of tests they do nothing.

The environment variable ATELIER_TEST_FAULTS names a folder, and is the only way to any of this. A file there, named as a point,
holds "ACTION [SKIP [TIMES]]": what happens there, after how many times that nothing does (0), and how often (1). Every process that has
the variable looks there at every point, so that a test can plan for a server that already runs. Points that were reached are
written down in the folder's file `reached`.
"""

import contextlib
import errno
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any, TypeVar

FOLDER = "ATELIER_TEST_FAULTS"
REACHED = "reached"
ACTIONS = ("raise", "sleep:SECONDS", "kill", "exit", "enospc", "oom", "nan")

Value = TypeVar("Value")


class InjectedFault(Exception):
    """What the action "raise" raises: as a mistake of the program would be, it is no AtelierError."""


def fault(name: str, value: Value = None) -> Value:
    """The point of that name: gives back `value`, unless a test wants something else. `value`: a tensor that "nan" fills with NaN."""
    return value if FOLDER not in os.environ else _pass(name, value)


def _pass(name: str, value: Any) -> Any:
    folder = Path(os.environ[FOLDER])
    with contextlib.suppress(OSError), (folder / REACHED).open("a") as file:
        file.write(f"{name}\n")
    action = _due(folder / name)
    return _happen(action, name, value) if action else value


def _due(plan: Path) -> str | None:
    """The action whose turn it is; one pass is counted. Of two processes that come at once, one counts and the other passes."""
    taken = plan.with_name(f"{plan.name}.taken-{os.getpid()}-{time.monotonic_ns()}")
    try:
        plan.rename(taken)
        action, skip, times = [*taken.read_text().split(), "0", "1"][:3]
    except (OSError, ValueError):
        return None
    due = int(skip) == 0
    left = int(times) - due
    if left:
        taken.write_text(f"{action} {max(int(skip) - 1, 0)} {left}")
        taken.rename(plan)
    else:
        taken.unlink()
    return action if due else None


def _happen(action: str, name: str, value: Any) -> Any:
    kind, _, detail = action.partition(":")
    if kind == "sleep":
        time.sleep(float(detail))
        return value
    if kind == "nan":
        return value * float("nan")
    if kind == "kill":
        os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))
        time.sleep(60)  # it comes at once, but not always before the next line
    if kind == "exit":
        os._exit(9)
    raise _error(kind, name)


def _error(kind: str, name: str) -> Exception:
    if kind == "enospc":
        return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), name)
    if kind == "oom":
        torch = sys.modules.get("torch")  # where it is not at hand, nothing catches its error either
        return (torch.OutOfMemoryError if torch else MemoryError)(f"out of memory at {name}")
    if kind == "raise":
        return InjectedFault(f"a fault was asked for at {name}")
    return ValueError(f"{kind} at {name} is none of {', '.join(ACTIONS)}")
