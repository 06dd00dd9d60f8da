"""Files among the upscalers that are none, or worse: the M rows of the reliability matrix."""

import os
import pickle
import zipfile
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from modules.core.errors import ModelFileError, UnsafeModelFile
from tests.upscale.tiny_upscalers import compact, upscalers_at, write_compact

SMALL = Image.new("RGB", (16, 16), "teal")


class Poison:
    """Runs a command when it is unpickled."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


@pytest.fixture
def folder(tmp_path) -> Path:
    found = tmp_path / "models" / "ESRGAN"
    found.mkdir(parents=True)
    return found


def refused(folder: Path, name: str = "bad") -> ModelFileError:
    """What is said of the file of that name; the other one still works."""
    write_compact(folder, "good.safetensors")
    upscalers = upscalers_at(folder.parents[1])
    with pytest.raises(ModelFileError) as caught:
        upscalers.get(name).upscale(SMALL, 2)
    assert name in caught.value.message and "\n" not in caught.value.message
    assert upscalers.get("good").upscale(SMALL, 2).size == (32, 32)
    return caught.value


@pytest.mark.parametrize("packed", [True, False])
def test_M2_no_code_of_a_pickle_is_run(folder, tmp_path, packed):
    poison = {"params": Poison(f"touch {tmp_path}/PWNED")}
    if packed:
        torch.save(poison, folder / "bad.pth")
    else:
        (folder / "bad.pth").write_bytes(pickle.dumps(poison))
    error = refused(folder)
    assert isinstance(error, UnsafeModelFile) and "system" in error.message and "safetensors" in error.message
    assert not (tmp_path / "PWNED").exists()


def test_M6_a_file_is_what_its_name_says(folder, tmp_path):
    (folder / "bad.safetensors").write_bytes(pickle.dumps(Poison(f"touch {tmp_path}/PWNED")))
    refused(folder)
    save_file(compact().state_dict(), folder / "other.safetensors")
    (folder / "other.safetensors").rename(folder / "other.pth")
    refused(folder, "other")
    assert not (tmp_path / "PWNED").exists()


def test_M11_a_zip_bomb_is_not_unpacked(folder):
    torch.save({"params": compact().state_dict()}, folder / "plain.pth")
    with zipfile.ZipFile(folder / "plain.pth") as old, zipfile.ZipFile(folder / "bad.pth", "w") as new:
        for entry in old.infolist():
            new.writestr(entry.filename, old.read(entry), zipfile.ZIP_STORED)
        new.writestr("archive/data/99", bytes(300 * 2**20), zipfile.ZIP_DEFLATED)
    assert (folder / "bad.pth").stat().st_size < 2**20
    refused(folder)


def test_M13_an_interrupted_download_is_told(folder):
    whole = write_compact(folder, "whole.safetensors").read_bytes()
    for length in (7, 100, len(whole) // 2, len(whole) - 1):
        (folder / "bad.safetensors").write_bytes(whole[:length])
        refused(folder)
    packed = write_compact(folder, "bad.pth").read_bytes()
    (folder / "bad.safetensors").unlink()
    (folder / "bad.pth").write_bytes(packed[: len(packed) // 2])
    assert "incomplete" in refused(folder).message


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_M14_a_web_page_is_told_from_a_network(folder, suffix):
    (folder / f"bad{suffix}").write_text("<!DOCTYPE html><html>Sign in</html>")
    assert "web page" in refused(folder).message


def test_M15_odd_files_do_not_stop_the_list(folder):
    (folder / "empty.pth").touch()
    (folder / "folder.pth").mkdir()
    os.mkfifo(folder / "pipe.pth")
    (folder / "broken.pth").symlink_to(folder / "nowhere.pth")
    (folder / "loop.pth").symlink_to(folder / "loop.pth")
    names = upscalers_at(folder.parents[1]).files.names()
    assert "pipe" not in names and "folder" not in names
    refused(folder, "empty")


def test_M21_a_file_that_vanishes(folder):
    path = write_compact(folder, "gone.safetensors")
    upscaler = upscalers_at(folder.parents[1]).get("gone")
    path.unlink()
    with pytest.raises(ModelFileError, match="cannot be read"):
        upscaler.upscale(SMALL, 2)


def weights(kind: str) -> dict[str, torch.Tensor]:
    """Those of something else, or of a network that cannot be."""
    sound = compact().state_dict()
    return {
        "other": {"a.weight": torch.zeros(3)},
        "shapes": {**sound, "body.4.weight": torch.zeros(2, 2, 3, 3)},
        "scale": {**sound, "body.8.weight": torch.zeros(7500, 8, 3, 3), "body.8.bias": torch.zeros(7500)},
    }[kind]


@pytest.mark.parametrize(
    ("kind", "words"), [("other", "known architecture"), ("shapes", "damaged"), ("scale", "cannot be used")]
)
def test_weights_of_something_else_are_told(folder, kind, words):
    save_file(weights(kind), folder / "bad.safetensors")
    assert words in refused(folder).message


def test_more_weights_than_a_file_holds_are_not_read(folder):
    torch.save({"body.0.weight": torch.zeros(1).expand(1 << 20, 3, 64, 64)}, folder / "bad.pth")
    assert "far more than it holds" in refused(folder).message
