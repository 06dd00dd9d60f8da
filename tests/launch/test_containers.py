"""Dockerfile, .dockerignore and compose.yaml: a linter's opinion, and what they name against what is there."""

import fnmatch
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from modules.core.flags import parse_flags

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text("utf-8")
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text("utf-8"))


def test_hadolint_finds_nothing():
    beside = Path(sys.executable).parent / "hadolint"
    program = str(beside) if beside.exists() else shutil.which("hadolint")
    if program is None:
        pytest.skip("hadolint is not installed here: its wheels are for Linux, macOS and Windows on common processors")
    done = subprocess.run([program, str(ROOT / "Dockerfile")], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


def test_what_is_copied_is_there():
    for line in re.findall(r"^COPY (?:--\S+ )*(.+) \S+$", DOCKERFILE, re.MULTILINE):
        for name in line.split():
            assert (ROOT / name).exists(), name


def test_the_entry_point_is_understood():
    words = [word.strip(' "') for word in re.findall(r"ENTRYPOINT \[(.*)\]", DOCKERFILE)[0].split(",")]
    launcher = (ROOT / "launch.sh").read_text("utf-8")
    own = [word for word in words[1:] if f"{word})" in launcher]
    assert own == ["--skip-install"]
    for service in COMPOSE["services"].values():
        given = [word for word in words[1:] if word not in own and word not in ("--data-dir", "/data")]
        flags = parse_flags([*given, *service.get("command", [])])
        assert flags.network.policy.login and flags.port == 7860


def test_profiles():
    services = COMPOSE["services"]
    assert {name: service["profiles"] for name, service in services.items()} == {"cuda": ["cuda"], "cpu": ["cpu"]}
    devices = services["cuda"]["deploy"]["resources"]["reservations"]["devices"]
    assert devices[0]["capabilities"] == ["gpu"] and "deploy" not in services["cpu"]
    known = {*re.findall(r"^ARG (\w+)", DOCKERFILE, re.MULTILINE)}
    for service in services.values():
        assert {*service["build"]["args"]} <= known
        assert all("127.0.0.1" in port for port in service["ports"])  # unless the user says otherwise
        assert all(volume.endswith(":/data") for volume in service["volumes"])
    assert (
        services["cpu"]["build"]["args"]["TORCH_INDEX_URL"] and not services["cuda"]["build"]["args"]["TORCH_INDEX_URL"]
    )


def ignored(path: str) -> bool:
    """As Docker decides it: the last line that matches counts; a folder's line takes what is in it."""
    found = False
    for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines():
        if not line or line.startswith("#"):
            continue
        pattern = line.lstrip("!")
        options = {pattern, pattern.replace("**/", "")}
        starts = ["/".join(path.split("/")[: n + 1]) for n in range(path.count("/") + 1)]
        if any(fnmatch.fnmatchcase(start, option) for start in starts for option in options):
            found = not line.startswith("!")
    return found


def test_what_belongs_to_the_user_stays_out_and_the_bundled_models_do_not():
    for path in (
        "venv/bin/python",
        "jobs.sqlite3",
        "config.json",
        "outputs/a/b.png",
        "models/Stable-diffusion/my.safetensors",
    ):
        assert ignored(path), path
    there = subprocess.run(
        ["git", "ls-files", "models", "modules", "webui", "*.txt"], cwd=ROOT, capture_output=True, text=True
    )
    if there.returncode:
        pytest.skip("this is no checkout of git")
    lost = [path for path in there.stdout.split() if ignored(path)]
    assert lost == []
