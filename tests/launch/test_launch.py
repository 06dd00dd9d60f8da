"""launch.sh in a folder of its own, with a real venv and a `uv` that only writes down what it is asked to install."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.skipif(os.name == "nt", reason="launch.sh needs a POSIX system")

FAKE_UV = """#!/usr/bin/env bash
# Makes real venvs; records installations. FAIL is a word whose installation fails, as one without a network does.
if [ "$1" = venv ]; then
    "{python}" -m venv --without-pip "${{@: -1}}"
    mkdir -p "${{@: -1}}"/lib/python{version}/site-packages/pip
    cp "{pip}" "${{@: -1}}"/lib/python{version}/site-packages/pip/__init__.py
    cp "{pip}" "${{@: -1}}"/lib/python{version}/site-packages/pip/__main__.py
    exit
fi
printf '%s\\n' "$*" >>"$LOG"
case "$*" in *"${{FAIL:-no failure}}"*) echo "error sending request" >&2; exit 2 ;; esac
"""
FAKE_PIP = "import os, sys\nif __name__ == '__main__':\n    print('real pip', *sys.argv[1:], file=open(os.environ['LOG'], 'a'))\n"


class Clone:
    """A copy of what the launcher needs; `start` runs it and `installed` tells what that start installed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "a clone"
        self.log = folder / "log"
        tools = folder / "bin"
        tools.mkdir(parents=True)
        self.folder.mkdir()
        for name in (
            "launch.sh",
            "constraints.txt",
            "requirements.txt",
            "requirements-test.txt",
            "requirements-torch.txt",
        ):
            shutil.copy(ROOT / name, self.folder)
        (self.folder / "app.py").write_text("import sys\nprint('app', sys.argv[1:])\n")
        pip = folder / "pip.py"
        pip.write_text(FAKE_PIP)
        python = Path(sys.base_prefix) / "bin" / "python3"
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        uv = tools / "uv"
        uv.write_text(FAKE_UV.format(python=python, version=version, pip=pip))
        uv.chmod(0o755)
        hidden = {"TORCH_COMMAND", "TORCH_INDEX_URL", "INDEX_URL", "COMMANDLINE_ARGS", "REQS_FILE", "XFORMERS_PACKAGE"}
        self.environment = {key: value for key, value in os.environ.items() if key not in hidden}
        self.environment |= {"PATH": f"{tools}:{os.environ['PATH']}", "LOG": str(self.log), "PYTHON": str(python)}

    def start(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        self.log.write_text("")
        return subprocess.run(
            [self.folder / "launch.sh", *arguments],
            env=self.environment | environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )

    @property
    def installed(self) -> list[str]:
        return self.log.read_text().splitlines()


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    return Clone(tmp_path)


def test_installs_once_then_runs_the_app_in_a_path_with_spaces(clone: Clone) -> None:
    first = clone.start("--port", "7861", "a b")
    assert first.returncode == 0, first.stderr
    assert "app ['--port', '7861', 'a b']" in first.stdout
    torch, requirements = clone.installed
    assert "-r requirements-torch.txt" in torch and "-r requirements.txt" in requirements
    assert "--only-binary :all:" in torch and "-c constraints.txt" in requirements
    assert clone.start().stdout == "app []\n"
    assert clone.installed == []


def test_changed_requirements_are_installed(clone: Clone) -> None:
    clone.start("--exit")
    with (clone.folder / "requirements.txt").open("a") as file:
        file.write("another==1.0\n")
    clone.start("--exit")
    assert [line.rpartition("-r ")[2].split()[0] for line in clone.installed] == ["requirements.txt"]


def test_exit_ends_after_the_installation(clone: Clone) -> None:
    done = clone.start("--exit")
    assert done.returncode == 0 and "app" not in done.stdout and len(clone.installed) == 2


def test_torch_is_chosen_by_the_environment(clone: Clone) -> None:
    clone.start("--exit")
    clone.start("--exit", TORCH_INDEX_URL="https://example.org/whl")
    torch, _ = clone.installed
    assert re.search(r"--index-url https://example.org/whl torch==\S+ torchvision==\S+ --force-reinstall", torch)
    clone.start("--exit", TORCH_COMMAND="pip install 'torch==1.0' --extra-index-url https://example.org")
    assert clone.installed[0] == ("real pip install torch==1.0 --extra-index-url https://example.org --force-reinstall")
    clone.start("--exit", INDEX_URL="https://example.org/simple")
    assert all("--index-url https://example.org/simple" in line for line in clone.installed)


def test_reinstall_torch(clone: Clone) -> None:
    clone.start("--exit")
    clone.start("--exit", "--reinstall-torch")
    assert "--force-reinstall" in clone.installed[0]
    clone.start("--exit")
    assert clone.installed == []


def test_commandline_args_come_first_and_keep_quoted_words(clone: Clone) -> None:
    done = clone.start("--nowebui", COMMANDLINE_ARGS="--data-dir 'my data' --port 1 $(touch no)")
    assert "app ['--data-dir', 'my data', '--port', '1', '$(touch', 'no)', '--nowebui']" in done.stdout


def test_a_failed_installation_is_continued(clone: Clone) -> None:
    failed = clone.start(FAIL="-r requirements.txt")
    assert failed.returncode == 1 and "app" not in failed.stdout
    assert failed.stderr.splitlines()[-1].startswith("Installing requirements failed: ")
    assert clone.start().stdout.endswith("app []\n")
    assert len(clone.installed) == 1
    failed = clone.start("--reinstall-torch", FAIL="requirements-torch.txt")
    assert failed.returncode == 1
    clone.start("--exit")
    assert len(clone.installed) == 2


def test_a_half_made_venv_is_made_again(clone: Clone) -> None:
    (clone.folder / "venv" / "bin").mkdir(parents=True)
    (clone.folder / "venv" / "left-over").touch()
    assert "app []" in clone.start().stdout
    assert not (clone.folder / "venv" / "left-over").exists()


def test_another_python_is_refused_in_one_sentence(clone: Clone, tmp_path: Path) -> None:
    old = tmp_path / "python2"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    done = clone.start(PYTHON=str(old))
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert "3.10, 3.11, 3.12 or 3.13" in done.stderr
    assert not (clone.folder / "venv").exists()


def test_skip_install(clone: Clone) -> None:
    done = clone.start("--skip-install")
    assert done.returncode == 1 and "--skip-install" in done.stderr and clone.installed == []


def test_xformers_is_installed_alone_and_passed_on(clone: Clone) -> None:
    done = clone.start("--xformers", "--api")
    assert "app ['--xformers', '--api']" in done.stdout
    assert re.search(r"--no-deps .*xformers==[\d.]+$", clone.installed[-1])
    clone.start("--exit", "--reinstall-xformers")
    assert len(clone.installed) == 1


def test_test_requirements_are_installed_for_test_only(clone: Clone) -> None:
    clone.start("--test", "--exit")
    assert len(clone.installed) == 3 and "requirements-test.txt" in clone.installed[-1]


def test_both_launchers_name_the_same_options_variables_and_pins() -> None:
    def words(name: str) -> set[str]:
        text = (ROOT / name).read_text()
        options = re.findall(r"^(?:#|rem)   (--[a-z-]+)", text, re.MULTILINE)
        assert all(text.count(option) > 1 for option in options)
        used = re.findall(r"\b(?:PYTHON|TORCH_[A-Z_]+|INDEX_URL|REQS_FILE|XFORMERS_PACKAGE|COMMANDLINE_ARGS)\b", text)
        pins = re.findall(r"\b[a-z]+==[\d.]+|\b[a-z][a-z-]*\.txt", text)
        return {*options, *used, *pins}

    assert words("launch.sh") == words("launch.bat")


def test_every_requirement_is_pinned() -> None:
    for file in ROOT.glob("*.txt"):
        for line in file.read_text().splitlines():
            assert line.startswith("#") or re.match(r"[\w.\[\]-]+==[\w.]+( ?;|$)", line), f"{file.name}: {line}"
