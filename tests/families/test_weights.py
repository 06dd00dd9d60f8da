"""Model files of every format: the same tensors, and no code of theirs run."""

import os
import pickle
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from modules.core.errors import ModelFileError, UnsafeModelFile
from modules.families.weights import read_weights, shapes_of

TENSORS = {
    "a.weight": torch.randn(3, 4, generator=torch.Generator().manual_seed(0)),
    "b.bias": torch.arange(5, dtype=torch.float16),
}


class Trainer:
    """What a training library leaves in a checkpoint."""

    def __init__(self) -> None:
        self.best = {"score": 1.0}


class Bomb:
    """Writes a file when it is unpickled the ordinary way."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def equal(found: dict) -> bool:
    return found.keys() == TENSORS.keys() and all(torch.equal(found[name], TENSORS[name]) for name in TENSORS)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("wrapped", [True, False])
def test_checkpoints_of_both_ages(tmp_path, zipped, wrapped):
    path = tmp_path / "old.ckpt"
    content = {"state_dict": OrderedDict(TENSORS), "callbacks": [Trainer()], "epoch": 3} if wrapped else TENSORS
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    assert equal(read_weights(path))
    assert shapes_of(path).shapes == {"a.weight": (3, 4), "b.bias": (5,)}


def test_safetensors(tmp_path):
    path = tmp_path / "new.safetensors"
    save_file(TENSORS, path)
    assert equal(read_weights(path))
    assert shapes_of(path).shapes["a.weight"] == (3, 4)


@pytest.mark.parametrize("zipped", [True, False])
def test_no_code_of_a_checkpoint_is_run(tmp_path, zipped):
    path, trace = tmp_path / "evil.ckpt", tmp_path / "ran"
    torch.save({"state_dict": TENSORS, "x": Bomb(trace)}, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(UnsafeModelFile, match=r'"evil\.ckpt" names \w+\.mkdir, code that was to be run'):
        read_weights(path)
    assert not trace.exists()
    torch.load(path, weights_only=False)
    assert trace.exists()  # it would have


def test_parameters_and_a_plain_pickle(tmp_path):
    path = tmp_path / "module.pt"
    torch.save({name: torch.nn.Parameter(value.float()) for name, value in TENSORS.items()}, path)
    assert read_weights(path)["a.weight"].requires_grad is False
    path.write_bytes(pickle.dumps({"no": "tensors"}))
    with pytest.raises(ModelFileError, match="module.pt"):
        read_weights(path)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.write_bytes(path.read_bytes()[:-200]),
        lambda path: path.write_bytes(b"<!DOCTYPE html><html></html>"),
        lambda path: path.write_bytes(b""),
        lambda path: (path.unlink(), path.mkdir()),
        lambda path: (path.unlink(), os.mkfifo(path)),
        lambda path: path.unlink(),
        lambda path: torch.save({"epoch": 1}, path),
        lambda path: torch.save([1, 2], path),
    ],
    ids=["cut", "web page", "empty", "folder", "pipe", "gone", "no weights", "list"],
)
def test_a_file_that_is_no_checkpoint_is_named(tmp_path, spoil):
    path = tmp_path / "bad.ckpt"
    torch.save({"state_dict": TENSORS}, path)
    spoil(path)
    for read in (read_weights, shapes_of):
        with pytest.raises(ModelFileError, match=r"bad\.ckpt"):
            read(path)
