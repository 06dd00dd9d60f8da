"""The thread that reads and hashes: in the background, held back by jobs, one file at a time, stopped at once."""

import hashlib
import os
import threading

import pytest

from modules.core.errors import Cancelled, ModelFileError
from modules.core.paths import Paths
from modules.library.hashes import CHUNK, HashCache, lora_hash
from modules.library.library import Library
from tests.jobs.helpers import write_checkpoint
from tests.library.files import lora_shapes, write_model
from tests.server import until


@pytest.fixture
def paths(tmp_path):
    paths = Paths(data=tmp_path)
    write_checkpoint(paths.own("Stable-diffusion") / "model.safetensors")
    write_model(paths.own("Lora") / "fox.safetensors", lora_shapes())
    return paths


@pytest.fixture
def library(paths):
    library = Library(paths)
    yield library
    library.close()


def hashed(library, kind):
    """Those of the user's own folder that are hashed; what comes with the program is there besides."""
    models = library.models(kind).list()
    return {model.name: model.hashes for model in models if model.hashes.sha256 and "starter" not in model.name}


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_everything_is_read_and_hashed(library, paths):
    library.start()
    until(lambda: "fox.safetensors" in hashed(library, "Lora"), 60)
    fox = paths.own("Lora") / "fox.safetensors"
    found = hashed(library, "Lora")["fox.safetensors"]
    assert (found.sha256, found.auto_v2, found.auto_v3) == (sha256(fox), sha256(fox)[:10], lora_hash(fox))
    until(lambda: "model.safetensors" in hashed(library, "Stable-diffusion"), 60)
    checkpoint = library.checkpoints.find("model.safetensors")
    assert checkpoint.sha256 == sha256(checkpoint.path)
    assert library.models("Lora").list()[0].row.family == "SD1"


def test_what_is_new_or_changes_is_hashed_when_somebody_looks(library, paths):
    library.start()
    fox, wolf = (paths.own("Lora") / name for name in ("fox.safetensors", "wolf.safetensors"))
    until(lambda: "fox.safetensors" in hashed(library, "Lora"), 60)
    write_model(wolf, lora_shapes(1024))
    write_model(fox, lora_shapes(2048))
    assert library.search("Lora").total == 3  # with the bundled one
    until(lambda: len(hashed(library, "Lora")) == 2, 60)
    assert {found.sha256 for found in hashed(library, "Lora").values()} == {sha256(fox), sha256(wolf)}
    (paths.own("Lora") / "third.safetensors").write_bytes(wolf.read_bytes())
    library.look()
    until(lambda: len(hashed(library, "Lora")) == 3, 60)


def test_without_hashing_it_only_reads(paths):
    library = Library(paths, hashing=False)
    library.start()
    until(lambda: library.models("Lora").list()[0].row.read and not library.index.unread(), 60)
    library.close()
    assert library.hashes.all() == {}


def test_nothing_is_hashed_while_a_job_runs(library):
    with library.paused():
        library.start()
        until(lambda: library.models("Lora").list()[0].row.read, 60)
        library.hold("engine")
        assert library.hashes.all() == {}
    assert library.hashes.all() == {}
    library.release("engine")
    until(lambda: len(hashed(library, "Lora")) == 1, 60)


def test_it_ends_in_the_middle_of_a_file(library, paths):
    with (paths.own("Stable-diffusion") / "big.ckpt").open("wb") as file:
        file.truncate(2**40)  # sparse: days of hashing
    (paths.own("Stable-diffusion") / "model.safetensors").unlink()
    library.start()
    until(lambda: library.models("Lora").list()[0].row.read, 60)
    library.close()
    assert not library._thread.is_alive()


def test_what_cannot_be_used_or_read_is_not_tried_for_ever(library, paths, monkeypatch):
    (paths.own("Lora") / "broken.safetensors").write_bytes(b"\xff" * 100)
    tried = []

    def complete(path, go_on):
        tried.append(path.name)
        raise ModelFileError("It cannot be read.")

    monkeypatch.setattr(library.hashes, "complete", complete)
    library.start()
    until(lambda: "fox.safetensors" in tried, 60)
    for _ in range(3):
        library.search(None)
        until(lambda: not library._awake.is_set(), 60)
    library.close()
    assert tried.count("fox.safetensors") == 1
    assert "broken.safetensors" not in tried


def test_an_error_does_not_end_the_thread(library, monkeypatch, caplog):
    once = threading.Event()
    all_of = library.hashes.all

    def fails():
        if threading.current_thread().name == "library" and not once.is_set():
            once.set()
            raise ZeroDivisionError
        return all_of()

    monkeypatch.setattr(library.hashes, "all", fails)
    monkeypatch.setattr("modules.library.library.REST", 0.1)
    library.start()
    until(once.is_set, 60)
    library.look()
    until(lambda: len(hashed(library, "Lora")) == 1, 60)
    assert "goes on" in caplog.text


def test_hashing_a_file_that_is_being_written(tmp_path):
    path, cache = tmp_path / "a.ckpt", HashCache(tmp_path / "cache")
    path.write_bytes(b"1" * (CHUNK + 1))

    def go_on():
        path.write_bytes(b"2" * (CHUNK + 1))
        os.utime(path, ns=(1, 1))
        return True

    with pytest.raises(ModelFileError, match="was changed while it was read"):
        cache.complete(path, go_on)
    assert cache.known(path) is None
    assert cache.complete(path).sha256 == sha256(path) == cache.known(path)


def test_a_hash_is_given_up_when_told(tmp_path):
    path = write_checkpoint(tmp_path / "a.safetensors")
    with pytest.raises(Cancelled):
        HashCache(tmp_path / "cache").complete(path, lambda: False)


def test_D9_a_file_of_the_same_size_and_time_is_hashed_again(tmp_path):
    path, cache = write_model(tmp_path / "a.safetensors", {"a": (1000,)}), HashCache(tmp_path / "cache")
    first, status = cache.sha256(path), path.stat()
    other = write_model(tmp_path / "b.safetensors", {"b": (1000,)})
    os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
    other.replace(path)
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (status.st_size, status.st_mtime_ns)
    assert cache.known(path) is None
    assert cache.sha256(path) == sha256(path) != first


def test_every_hash_of_a_file(tmp_path):
    path = write_model(tmp_path / "a.safetensors", {"a": (2**20 + 5,), "b": (7,)})
    data = bytearray(path.read_bytes())
    data[-50:] = os.urandom(50)
    data[0x100000:0x100100] = os.urandom(256)
    path.write_bytes(data)
    found = HashCache(tmp_path / "cache").complete(path)
    header = 8 + int.from_bytes(data[:8], "little")
    assert found.sha256 == hashlib.sha256(data).hexdigest()
    assert found.data_sha256 == hashlib.sha256(data[header:]).hexdigest()
    assert found.old_hash == hashlib.sha256(data[0x100000:0x110000]).hexdigest()[:8]
    assert (found.auto_v2, found.auto_v3) == (found.sha256[:10], found.data_sha256[:12])
    assert HashCache(tmp_path / "cache").lora_hash(path) == lora_hash(path) == found.auto_v3


def test_the_hash_of_a_lora_is_computed_once(tmp_path, monkeypatch):
    path, cache = write_model(tmp_path / "a.safetensors", {"a": (5,)}), HashCache(tmp_path / "cache")
    first = cache.lora_hash(path)
    monkeypatch.setattr("modules.library.hashes._all", lambda *_: 1 / 0)
    assert cache.lora_hash(path) == first
    told = write_model(tmp_path / "b.safetensors", {"a": (5,)}, {"sshs_model_hash": "0123456789abcdef"})
    assert cache.lora_hash(told) == "0123456789ab"
    with pytest.raises(ModelFileError, match="gone"):
        cache.lora_hash(tmp_path / "gone.pt")
