"""Fault points: nothing without the variable, what was planned with it, and none that no test uses."""

import errno
import math
import re
import subprocess
import sys
import time

import pytest
import torch

from modules.core.faults import FOLDER, InjectedFault, fault
from modules.core.paths import ROOT
from tests.faults.points import Points


@pytest.fixture
def points(tmp_path, monkeypatch) -> Points:
    found = Points(tmp_path / "faults")
    for name, value in found.environment.items():
        monkeypatch.setenv(name, value)
    return found


def test_without_the_variable_nothing_happens(points, monkeypatch):
    points.plan("here", "raise")
    monkeypatch.delenv(FOLDER)
    fault("here")
    assert points.waits("here")
    assert points.reached() == []


def test_a_point_costs_next_to_nothing(monkeypatch):
    monkeypatch.delenv(FOLDER, raising=False)
    begun = time.perf_counter()
    for _ in range(10_000):
        fault("here")
    assert time.perf_counter() - begun < 0.5  # 50 µs each on a busy machine; about 1 on an idle one


def test_turns_are_counted(points):
    points.plan("here", "raise", skip=2, times=2)
    happened = []
    for _ in range(6):
        try:
            fault("here")
            happened.append(False)
        except InjectedFault:
            happened.append(True)
    assert happened == [False, False, True, True, False, False]
    assert points.reached() == ["here"] * 6
    fault("elsewhere")


def test_kinds(points):
    points.plan("disk", "enospc")
    with pytest.raises(OSError, match="space") as caught:
        fault("disk")
    assert caught.value.errno == errno.ENOSPC
    points.plan("memory", "oom")
    with pytest.raises(torch.OutOfMemoryError):
        fault("memory")
    points.plan("step", "nan")
    assert math.isnan(fault("step", torch.ones(2)).sum().item())
    points.plan("slow", "sleep:0.05")
    begun = time.monotonic()
    assert fault("slow", 5) == 5
    assert time.monotonic() - begun >= 0.05
    points.plan("odd", "explode")
    with pytest.raises(ValueError, match="explode"):
        fault("odd")


@pytest.mark.parametrize(("action", "code"), [("kill", -9), ("exit", 9)])
def test_ends(points, action, code):
    points.plan("here", action)
    program = "from modules.core.faults import fault\nfault('here')\nprint('went on')"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (code, "")


def names() -> set[str]:
    """The points of the program, and the kinds of files by which those of `write_atomic` are named."""
    source = "\n".join(path.read_text() for path in sorted((ROOT / "modules").rglob("*.py")))
    kinds = re.findall(r'point(?:: str)?\s?=\s?"(\w+)"', source)
    return {*kinds, *re.findall(r'\bfault\(\s*"([^"]+)"', source)}


def test_every_point_is_used_by_a_test():
    used = "\n".join(path.read_text() for path in sorted((ROOT / "tests").rglob("test_*.py")))
    assert len(names()) > 20
    assert not {name for name in names() if not re.search(rf'"{re.escape(name)}[.":]', used)}


def test_nobody_but_the_environment_says_what_goes_wrong():
    holders = [
        path.relative_to(ROOT).as_posix()
        for folder in ("modules", "webui")
        for path in sorted((ROOT / folder).rglob("*.py"))
        if FOLDER in path.read_text()
    ]
    assert [*holders, *(["app.py"] if FOLDER in (ROOT / "app.py").read_text() else [])] == ["modules/core/faults.py"]
