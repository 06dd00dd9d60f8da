"""Files that are written tensor by tensor: whole or not there."""

import hashlib
import shutil
import subprocess
import sys
from collections import namedtuple

import pytest
import torch
from safetensors.torch import load_file

from modules.core.errors import Cancelled, StorageError
from modules.core.paths import ROOT
from modules.library.header import read_header
from modules.merging.save import save
from modules.merging.writer import Writer, temporary_of

TENSORS = {
    "b": torch.arange(6, dtype=torch.float16).reshape(2, 3),
    "ä odd name": torch.tensor(3, dtype=torch.int64),
    "empty": torch.zeros(0, 4, dtype=torch.bfloat16),
    "eight": torch.tensor([1.0, -2.0]).to(torch.float8_e4m3fn),
    "turned": torch.arange(6.0).reshape(2, 3).T,
    "flags": torch.tensor([True, False]),
}
FORMS = {name: (tensor.dtype, tuple(tensor.shape)) for name, tensor in TENSORS.items()}


def quiet(done: int, whole: int) -> None:
    assert 0 <= done <= whole


@pytest.mark.parametrize("suffix", [".safetensors", ".ckpt"])
def test_what_is_written_is_read(tmp_path, suffix):
    path = tmp_path / "new folder" / f"x{suffix}"
    sha256 = save(path, "job", FORMS, TENSORS.__getitem__, {"note": "ä"}, quiet)
    found = load_file(path) if suffix == ".safetensors" else torch.load(path, weights_only=True)
    assert found.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert (found[name].dtype, found[name].shape) == (tensor.dtype, tensor.shape)
        assert torch.equal(found[name].float(), tensor.float())
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]
    if suffix == ".safetensors":
        assert sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
        assert read_header(path).metadata == {"note": "ä"}


@pytest.mark.parametrize("suffix", [".safetensors", ".ckpt"])
@pytest.mark.parametrize("wrong", [Cancelled(), ValueError("no"), KeyboardInterrupt()])
def test_nothing_is_left_of_what_did_not_end(tmp_path, suffix, wrong):
    path = tmp_path / f"x{suffix}"
    path.write_bytes(b"as it was")

    def fails(name: str):
        if name == "flags":
            raise wrong
        return TENSORS[name]

    with pytest.raises(type(wrong)):
        save(path, "job", FORMS, fails, {}, quiet)
    assert path.read_bytes() == b"as it was"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_told_before_anything_is_written(tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage(1, 1, 3 * 10**9))
    forms = {"x": (torch.float32, (10**9,))}
    with pytest.raises(StorageError, match=r"needs 4\.00 GB, and .* has 3\.00 GB free"):
        save(tmp_path / "x.safetensors", "job", forms, TENSORS.__getitem__, {}, quiet)
    with pytest.raises(StorageError, match=r"needs 4\.00 GB"):
        save(tmp_path / "x.ckpt", "job", {"x": (torch.float32, (5 * 10**8,))}, TENSORS.__getitem__, {}, quiet)
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(sys.platform == "win32", reason="no limit on file sizes there")
@pytest.mark.parametrize("suffix", [".safetensors", ".ckpt"])
def test_a_disk_that_fills_up_on_the_way(tmp_path, suffix):
    code = (
        "import resource, signal, sys, torch; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (2**21, 2**21))\n"
        "from pathlib import Path; from modules.merging.save import save\n"
        "from modules.core.errors import StorageError\n"
        "try: save(Path(sys.argv[1]), 'job', {'x': (torch.float32, (2**20,))}, lambda n: torch.zeros(2**20), {}, lambda a, b: None)\n"
        "except StorageError as error: print(error.message)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / f"x{suffix}")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    assert "failed: File too large" in done.stdout
    assert not list(tmp_path.iterdir())


def test_a_second_try_takes_the_first_ones_leftover_away(tmp_path):
    path = tmp_path / "x.safetensors"
    temporary_of(path, "job").write_bytes(b"x" * 1000)
    save(path, "job", FORMS, TENSORS.__getitem__, {}, quiet)
    assert list(tmp_path.iterdir()) == [path]


def test_another_tensor_than_was_said_is_refused(tmp_path):
    with (
        pytest.raises(ValueError, match="was said"),
        Writer(tmp_path / "x.safetensors", tmp_path / "t", {"x": (torch.float32, (2,))}, {}) as writer,
    ):
        writer.write(torch.zeros(3))
    with (
        pytest.raises(ValueError, match="1 tensors were not written"),
        Writer(tmp_path / "x.safetensors", tmp_path / "t", {"x": (torch.float32, (2,))}, {}),
    ):
        pass
    assert not list(tmp_path.iterdir())
