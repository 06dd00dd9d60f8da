"""Files that are there whole or not at all."""

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from modules.core.database import Database
from modules.core.errors import AtelierError, StorageError
from modules.core.files import remove_leftovers, storage_sentence, write_atomic
from modules.core.lock import hold_lock
from modules.core.paths import ROOT
from tests.jobs.runners import opens_whole
from tests.server import until

LOOP = """
import random, sys
from pathlib import Path
from modules.core.files import write_atomic
from modules.images.encode import encode_png
from tests.jobs.runners import noise
folder = Path(sys.argv[1])
pictures = [encode_png(noise(seed, 400_000), "text") for seed in range(4)]
print("ready", flush=True)
for number in range(1_000_000):
    write_atomic(folder / f"{number % 50:05}.png", random.choice(pictures))
"""


def test_C4_kill_at_random_moments_leaves_whole_pictures(tmp_path):
    for moment in (0.0, 0.011, 0.023, 0.05, 0.1, 0.17, 0.31):
        with subprocess.Popen([sys.executable, "-c", LOOP, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE) as child:
            assert child.stdout and child.stdout.readline() == b"ready\n"
            until(lambda: list(tmp_path.glob("*.png")), 60)
            time.sleep(moment)
            child.send_signal(signal.SIGKILL)
        pictures = list(tmp_path.glob("*.png"))
        assert pictures
        assert all(opens_whole(path.read_bytes()) for path in pictures)
    remove_leftovers(tmp_path)
    assert all(path.suffix == ".png" for path in tmp_path.iterdir())


def test_replaces_and_makes_folders(tmp_path):
    path = tmp_path / "a" / "b" / "file"
    write_atomic(path, b"one")
    write_atomic(path, b"two")
    assert path.read_bytes() == b"two"
    assert [p.name for p in path.parent.iterdir()] == ["file"]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EIO])
def test_R10_a_disk_that_refuses(tmp_path, monkeypatch, code):
    (tmp_path / "file").write_bytes(b"old")

    def refuse(descriptor: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(StorageError) as caught:
        write_atomic(tmp_path / "file", b"new")
    assert str(tmp_path) in caught.value.message
    assert (tmp_path / "file").read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (errno.ENOSPC, "full"),
        (errno.EDQUOT, "full"),
        (errno.EROFS, "--data-dir"),
        (errno.EACCES, "right"),
        (errno.EIO, "Check"),
    ],
)
def test_sentences(code, words):
    sentence = storage_sentence(OSError(code, os.strerror(code)), Path("/there"))
    assert words in sentence
    assert '"/there"' in sentence


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_for_real():
    with pytest.raises(OSError, match="space") as caught, Path("/dev/full").open("wb", buffering=0) as file:
        file.write(b"x")
    assert "full" in storage_sentence(caught.value, Path("/dev"))


def test_a_file_in_place_of_the_folder(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError, match="file"):
        write_atomic(tmp_path / "file" / "picture.png", b"x")


def test_leftovers_of_a_folder_that_is_not_there(tmp_path):
    remove_leftovers(tmp_path / "nope")
    assert list(tmp_path.iterdir()) == []


class Disk:
    """What a disk holds after a power loss: contents up to the last fsync of the file, names up to the last fsync of the folder."""

    def __init__(self, name: str, content: bytes) -> None:
        self.names = {name: "old"}
        self.safe_names = dict(self.names)
        self.contents, self.safe = {"old": content}, {"old": content}

    def after_loss(self, name: str) -> set[bytes]:
        """Every content that the file may have then: renames that were not made safe may have reached the disk, or not."""
        return {self.safe.get(names[name], b"") for names in (self.names, self.safe_names)}


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="asks /proc which file is meant")
def test_C15_after_a_power_loss_the_file_is_the_old_one_or_the_new_one(tmp_path, monkeypatch):
    """Each call that reaches the disk is written down; after each of them the power is lost."""
    path = tmp_path / "file"
    path.write_bytes(b"old")
    disk, steps = Disk("file", b"old"), []
    sync, rename = os.fsync, Path.replace

    def fsync(descriptor: int) -> None:
        sync(descriptor)
        target = Path(f"/proc/self/fd/{descriptor}").readlink()
        if target.is_dir():
            disk.safe_names = dict(disk.names)
        else:
            disk.safe["new"] = target.read_bytes()
        steps.append(disk.after_loss("file"))

    def replace(self: Path, target: Path) -> Path:
        found = rename(self, target)
        disk.names["file"] = "new"
        steps.append(disk.after_loss("file"))
        return found

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "replace", replace)
    write_atomic(path, b"new")
    assert steps == [{b"old"}, {b"old", b"new"}, {b"new"}]


def test_C15_databases_wait_for_the_disk(tmp_path):
    database = Database(tmp_path / "jobs.sqlite3", "CREATE TABLE IF NOT EXISTS a (b)", "The job store")
    assert database.read("PRAGMA synchronous")[0][0] == 2  # FULL: a commit is on the disk when it returns
    assert database.read("PRAGMA journal_mode")[0][0] == "wal"
    database.close()


HOLD = """
import sys, time
from pathlib import Path
from modules.core.lock import hold_lock
held = hold_lock(Path(sys.argv[1]))
print("held", flush=True)
time.sleep(60)
"""


def test_C14_the_lock_of_a_killed_program_is_free(tmp_path):
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / ".lock")], cwd=ROOT, stdout=subprocess.PIPE
    ) as held:
        assert held.stdout and held.stdout.readline() == b"held\n"
        with pytest.raises(AtelierError, match="Another Atelier"):
            hold_lock(tmp_path / ".lock")
        held.kill()
    hold_lock(tmp_path / ".lock").close()
