"""ZIP files leave nothing behind, whatever happens while they are packed."""

import tempfile
import zipfile

import pytest

from modules.api import archives
from modules.api.archives import packed, pieces


def test_names_and_data():
    with packed([("a", b"1"), ("b", b"22")]) as file, zipfile.ZipFile(file) as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == {"a": b"1", "b": b"22"}


def test_the_file_is_closed_when_packing_fails(monkeypatch):
    made, make_one = [], tempfile.TemporaryFile

    def make():
        made.append(make_one())
        return made[-1]

    def files():
        yield "a", b"1"
        raise OSError("no room")

    monkeypatch.setattr(archives.tempfile, "TemporaryFile", make)
    with pytest.raises(OSError, match="no room"):
        packed(files())
    assert made[0].closed
    unread = pieces(packed([("a", b"1")]))
    next(unread)
    assert next(unread, None) is None and made[1].closed
