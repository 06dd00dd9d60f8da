"""Hashes of files: in the background, and of LoRAs as A1111 writes them into infotexts."""

import hashlib
import io
import json
import struct

import pytest

from modules.core.errors import ModelFileError
from modules.library.hashes import HashCache, lora_hash


def write(path, data, metadata=None):
    """A safetensors file of one tensor of bytes."""
    entries = {"t": {"dtype": "U8", "shape": [len(data)], "data_offsets": [0, len(data)]}}
    header = json.dumps({"__metadata__": metadata or {}, **entries}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + data)
    return path


def test_it_is_of_the_data_alone(tmp_path):
    data = bytes(range(256)) * 5000  # more than one piece of reading
    expected = hashlib.sha256(data).hexdigest()[:12]
    assert lora_hash(write(tmp_path / "a.safetensors", data)) == expected
    assert lora_hash(write(tmp_path / "b.safetensors", data, {"ss_output_name": "b"})) == expected
    assert lora_hash(write(tmp_path / "c.safetensors", data[1:])) != expected


def test_the_trainers_own_comes_first(tmp_path):
    path = write(tmp_path / "a.safetensors", b"x", {"sshs_model_hash": "0123456789abcdef" * 4})
    assert lora_hash(path) == "0123456789ab"


def test_other_files_as_a_whole(tmp_path):
    (tmp_path / "a.pt").write_bytes(b"pickle")
    assert lora_hash(tmp_path / "a.pt") == hashlib.sha256(b"pickle").hexdigest()[:12]


@pytest.mark.parametrize("name", ["gone.pt", "gone.safetensors", "broken.safetensors"])
def test_what_cannot_be_read_is_named(tmp_path, name):
    (tmp_path / "broken.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0{broken}")
    with pytest.raises(ModelFileError, match=name):
        lora_hash(tmp_path / name)


def test_a_hash_in_the_background_is_that_of_the_file_that_was_there(tmp_path):
    path, cache = tmp_path / "a.safetensors", HashCache(tmp_path / "cache")
    path.write_bytes(b"old" * 2**21)
    first = cache.begin(path)
    (tmp_path / "new").write_bytes(b"new")
    (tmp_path / "new").replace(path)
    assert first() == first() == hashlib.sha256(b"old" * 2**21).hexdigest()
    assert cache.begin(path)() == hashlib.sha256(b"new").hexdigest() == cache.known(path)


def test_a_hash_in_the_background_of_what_changes_or_is_gone(tmp_path, monkeypatch):
    path, cache = tmp_path / "a.safetensors", HashCache(tmp_path / "cache")
    with pytest.raises(ModelFileError, match=r"a\.safetensors"):
        cache.begin(path)
    path.write_bytes(b"whole")

    class Growing(io.FileIO):
        """A file that somebody writes to as soon as it is read."""

        def read(self, size=-1, /):
            with path.open("ab") as other:
                other.write(b"." if self.tell() == 0 else b"")
            return super().read(size)

    with pytest.raises(ModelFileError, match="was changed while it was read"):
        cache._compute(path, Growing(path))
    assert cache.known(path) is None
