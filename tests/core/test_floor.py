"""Flags, errors, registry, lock, validation."""

import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from modules.core import errors
from modules.core.errors import AtelierError, InputError, StorageError, UnknownName, nearest, short
from modules.core.flags import parse_flags
from modules.core.lock import hold_lock
from modules.core.paths import ROOT, Paths
from modules.core.registry import Registry


def test_defaults():
    flags = parse_flags([])
    assert (flags.port, flags.data_dir, flags.nowebui, flags.folders) == (7860, ROOT, False, ())


def test_flags_of_a1111(tmp_path):
    given = [
        "--port",
        "7861",
        "--nowebui",
        "--api",
        "--use-cpu",
        "all",
        "--no-half",
        "--xformers",
        "--autolaunch",
        "--ckpt",
        "x",
    ]
    flags = parse_flags([*given, "--data-dir", str(tmp_path / "new"), "--ckpt-dir", str(tmp_path)])
    assert (flags.port, flags.nowebui, flags.use_cpu, flags.no_half, flags.ckpt) == (7861, True, True, True, "x")
    assert (tmp_path / "new").is_dir()
    assert flags.paths.checkpoints[:2] == (tmp_path, tmp_path / "new" / "models" / "Stable-diffusion")
    assert flags.paths.checkpoints[-1] == ROOT / "models" / "Stable-diffusion"


@pytest.mark.parametrize(
    ("given", "whole", "parts"),
    [([], False, ()), (["All"], True, ()), (["sd"], True, ()), (["VAE", "te"], False, ("te", "vae"))],
)
def test_use_cpu(given, whole, parts):
    flags = parse_flags(["--use-cpu", *given] if given else [])
    assert (flags.use_cpu, flags.on_cpu) == (whole, parts)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["--port", "0"], "--port 0"),
        (["--port", "70000"], "65535"),
        (["--port", "x"], "--port"),
        (["--nope"], "--nope"),
        (["--use-cpu", "half"], "--use-cpu"),
        (["--data-dir"], "--data-dir"),
        (["--data-dir", __file__], "is a file"),
        (["--data-dir", __file__ + "/x"], "cannot be made"),
        (["--ckpt-dir", "/nonexistent"], "does not exist"),
        (["--ckpt-dir", __file__], "is a file"),
        (["--data-dir", "a\0b"], "--data-dir"),
        (["--ckpt-dir", "a\0b"], "--ckpt-dir"),
        (["--data-dir", "~nobody-of-that-name/x"], "--data-dir"),
        (["--models-dir", "/nonexistent"], "--models-dir"),
        (["--models-dir", __file__], "is a file"),
        (["--lora-dir", "/nonexistent"], "holds LoRAs"),
        (["--lora-dir", "/" + "x" * 5000], "--lora-dir"),
        (["--vae-dir", "bad\udcff"], "no text"),
        (["--esrgan-models-path", "~nobody-of-that-name"], "--esrgan-models-path"),
        (["--take-over", "/nonexistent"], "--take-over"),
        (["--take-over"], "--take-over"),
        (["--extra-model-paths-config", "a\0b"], "Name a file"),
    ],
)
def test_wrong_flags(given, words):
    with pytest.raises(InputError) as caught:
        parse_flags(given)
    assert words in caught.value.message
    assert caught.value.message.endswith(".")


def test_bundled_models_are_found_from_any_data_folder(tmp_path):
    assert ROOT / "models" in Paths(data=tmp_path).models
    assert len(Paths().models) == 1


def test_tree_of_errors_is_the_docstring():
    def tree(cls: type) -> list[str]:
        return [cls.__name__] + [
            name for child in cls.__subclasses__() if child.__module__ == cls.__module__ for name in tree(child)
        ]

    listed = [
        line.strip("├└─│ ").split()[0]
        for line in (errors.__doc__ or "").splitlines()[2:]
        if "  " in line and line[:1] in "A├│└"
    ]
    assert listed == tree(AtelierError)


@pytest.mark.parametrize(
    "error",
    [
        InputError("steps", "x"),
        UnknownName.among("f", "a", ["b"]),
        StorageError("s"),
        errors.Cancelled(),
        errors.DiskFull("s", Path("x")),
    ],
)
def test_errors_travel_between_processes(error):
    found = pickle.loads(pickle.dumps(error))
    assert type(found) is type(error)
    assert vars(found) == vars(error)


def test_short_is_printable_and_short():
    assert short("a\x1b\n\u202e\ud800") == '"a????"'
    assert len(short("x" * 1000)) == 60
    assert short(1.5) == "1.5"


def test_nearest():
    assert "Euler a" in nearest("eulera", ["DPM++ 2M", "Euler a", "Heun"])
    assert nearest("x", []) == "There is none to choose from."
    assert nearest("\ud800" * 100_000, ["Heun"])


def test_registry():
    registry: Registry[int] = Registry("sampler_name")
    registry.add("Euler a", 1, aliases=["k_euler_a"])
    registry.add("Heun", 2)
    assert (registry.get(" EULER A "), registry.name_of("K_euler_A")) == (1, "Euler a")
    assert list(registry) == ["Euler a", "Heun"]
    assert ("heun" in registry, "x" in registry, len(registry)) == (True, False, 2)
    with pytest.raises(UnknownName, match="Nearest: Heun"):
        registry.get("hoin heun")
    with pytest.raises(ValueError, match="already names"):
        registry.add("Other", 3, aliases=["fresh", "heun"])
    assert "fresh" not in registry
    registry.freeze()
    with pytest.raises(ValueError, match="frozen"):
        registry.add("Late", 4)


def test_one_server_a_data_folder(tmp_path):
    code = f"""
import sys, time
from pathlib import Path
from modules.core.lock import hold_lock
held = hold_lock(Path({str(tmp_path / ".lock")!r}))
print("held", flush=True)
time.sleep(600)
"""
    with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE) as other:
        assert other.stdout and other.stdout.readline() == b"held\n"
        with pytest.raises(AtelierError, match="Another Atelier"):
            hold_lock(tmp_path / ".lock")
        other.kill()
        other.wait()
    hold_lock(tmp_path / ".lock").close()


def test_lock_in_a_folder_that_cannot_be_written(tmp_path):
    Path(tmp_path / "data").write_text("")
    with pytest.raises(StorageError):
        hold_lock(tmp_path / "data" / ".lock")
