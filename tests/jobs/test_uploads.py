"""Pictures sent before their job."""

import io
import os
import time
from pathlib import Path

import pytest
from PIL import Image

from modules.core.errors import InputError
from modules.jobs.uploads import KEPT, Uploads


def png(colour: str = "red") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), colour).save(buffer, "PNG")
    return buffer.getvalue()


def test_what_is_kept_is_found_by_its_hash(tmp_path: Path):
    uploads = Uploads(tmp_path / "uploads")
    picture = uploads.keep(png())
    assert uploads.find(picture.sha256).data == png()
    assert uploads.keep(png()).sha256 == picture.sha256
    assert len(list((tmp_path / "uploads").iterdir())) == 1


@pytest.mark.parametrize("name", ["", None, 5, "../../etc/passwd", "A" * 64, "0" * 63, ["0" * 64]])
def test_names_that_are_no_hash_are_refused(name: object, tmp_path: Path):
    with pytest.raises(InputError, match="is no picture's hash"):
        Uploads(tmp_path).find(name)


def test_what_is_gone_is_told(tmp_path: Path):
    with pytest.raises(InputError, match=r"^mask is no longer kept here\. Press Generate again"):
        Uploads(tmp_path).find("0" * 64, "mask")


@pytest.mark.parametrize("data", [b"", b"text", png()[:40]])
def test_what_is_no_picture_is_refused(data: bytes, tmp_path: Path):
    with pytest.raises(InputError):
        Uploads(tmp_path / "uploads").keep(data)
    assert not (tmp_path / "uploads").exists()


def test_old_ones_are_pruned(tmp_path: Path):
    uploads = Uploads(tmp_path)
    old = uploads.keep(png("blue"))
    long_ago = time.time() - KEPT - 10
    os.utime(tmp_path / old.sha256, (long_ago, long_ago))
    new = uploads.keep(png("green"))
    assert [path.name for path in tmp_path.iterdir()] == [new.sha256]
