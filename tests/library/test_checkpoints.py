"""Checkpoints on disk: found by any of their names, whatever else lies beside them."""

import hashlib
import os
import sqlite3

import pytest

from modules.core.errors import ModelFileError, UnknownName
from modules.library.checkpoints import Checkpoint, Checkpoints, page_defaults
from modules.library.hashes import HashCache
from tests.jobs.helpers import write_checkpoint


@pytest.fixture
def folder(tmp_path):
    for name in ("alpha", "sub/beta", "Gamma"):
        write_checkpoint(tmp_path / "models" / f"{name}.safetensors")
    return tmp_path / "models"


@pytest.fixture
def hashes(tmp_path):
    return HashCache(tmp_path / "cache")


@pytest.fixture
def checkpoints(folder, hashes):
    return Checkpoints((folder,), hashes)


def test_list_is_sorted(checkpoints):
    assert [c.name for c in checkpoints.list()] == ["alpha.safetensors", "Gamma.safetensors", "sub/beta.safetensors"]


def test_every_name_finds_it(checkpoints):
    beta = checkpoints.identify(checkpoints.find("beta"))
    assert beta.sha256 == hashlib.sha256(beta.path.read_bytes()).hexdigest()
    assert beta.title == f"sub/beta.safetensors [{(beta.sha256 or '')[:10]}]"
    names = [
        beta.title,
        beta.name,
        "BETA",
        "beta.safetensors",
        "sub_beta",
        " sub/beta.safetensors ",
        "sub/beta.safetensors [0123456789]",
    ]
    for name in names:
        assert checkpoints.find(name).path == beta.path, name


def test_hash_finds_it(tmp_path, hashes):
    write_checkpoint(tmp_path / "m" / "one.safetensors", {"n": "1"})
    write_checkpoint(tmp_path / "m" / "two.safetensors", {"n": "2"})
    checkpoints = Checkpoints((tmp_path / "m",), hashes)
    two = checkpoints.identify(checkpoints.find("two"))
    assert checkpoints.find(two.sha256 or "?").path == two.path
    assert checkpoints.find(two.short_hash or "?").path == two.path


def test_empty_name_is_the_first(checkpoints):
    assert checkpoints.find("").name == "alpha.safetensors"


def test_unknown_name(checkpoints):
    with pytest.raises(UnknownName, match="alpha") as caught:
        checkpoints.find("alfa")
    assert caught.value.field == "sd_model_checkpoint"


def test_no_checkpoint_at_all(tmp_path, hashes):
    with pytest.raises(ModelFileError, match="no checkpoint yet"):
        Checkpoints((tmp_path / "nope", tmp_path), hashes).find("")


def test_first_folder_wins(tmp_path, folder, hashes):
    write_checkpoint(tmp_path / "other" / "alpha.safetensors")
    found = Checkpoints((tmp_path / "other", folder), hashes)
    assert found.find("alpha").path == tmp_path / "other" / "alpha.safetensors"
    assert len(found.list()) == 3


def test_odd_files_do_not_disturb(folder, checkpoints):
    names = [c.name for c in checkpoints.list()]
    os.mkfifo(folder / "fifo.safetensors")
    (folder / "folder.safetensors").mkdir()
    (folder / "broken.safetensors").symlink_to(folder / "gone")
    (folder / "loop.safetensors").symlink_to(folder / "loop.safetensors")
    (folder / "note.txt").write_text("x")
    (folder / ".hidden").mkdir()
    write_checkpoint(folder / ".hidden" / "x.safetensors")
    (folder / "empty.safetensors").write_bytes(b"")
    assert [c.name for c in checkpoints.list()] == sorted([*names, "empty.safetensors"], key=str.casefold)
    assert page_defaults(checkpoints.find("empty")) == {}


def test_links_that_go_round_are_walked_once(folder, checkpoints, hashes):
    names = [c.name for c in checkpoints.list()]
    for number in range(12):
        (folder / f"round{number}").symlink_to(folder)
        (folder / "sub" / f"up{number}").symlink_to(folder)
    assert [c.name for c in checkpoints.list()] == names


def test_links_to_elsewhere_are_followed(tmp_path, folder, checkpoints):
    write_checkpoint(tmp_path / "elsewhere" / "delta.safetensors")
    (folder / "link").symlink_to(tmp_path / "elsewhere")
    assert checkpoints.find("delta").name == "link/delta.safetensors"


def test_name_that_is_no_text_is_left_out(folder, checkpoints):
    names = [c.name for c in checkpoints.list()]
    try:
        write_checkpoint(folder / os.fsdecode(b"bad\xff.safetensors"))
    except OSError:
        pytest.skip("this file system takes only UTF-8 names")
    assert [c.name for c in checkpoints.list()] == names


def test_hash_is_computed_once_and_again_when_the_file_changes(folder, checkpoints, hashes):
    alpha = checkpoints.find("alpha")
    assert (alpha.sha256, alpha.title) == (None, "alpha.safetensors")
    first = checkpoints.identify(alpha).sha256
    assert checkpoints.find("alpha").sha256 == first
    assert HashCache(hashes._file.parent).known(alpha.path) == first
    write_checkpoint(alpha.path, {"changed": "yes"})
    assert checkpoints.find("alpha").sha256 is None
    assert checkpoints.identify(alpha).sha256 not in (None, first)


def test_hash_of_a_file_that_is_gone(folder, checkpoints):
    alpha = checkpoints.find("alpha")
    alpha.path.unlink()
    with pytest.raises(ModelFileError, match="alpha"):
        checkpoints.identify(alpha)


@pytest.mark.parametrize("broken", ["a folder", "garbage", "a file in place of the folder"])
def test_hash_cache_that_cannot_be_used(tmp_path, folder, broken):
    if broken == "a folder":
        (tmp_path / "cache" / "hashes.sqlite3").mkdir(parents=True)
    elif broken == "garbage":
        (tmp_path / "cache").mkdir()
        (tmp_path / "cache" / "hashes.sqlite3").write_bytes(b"garbage" * 1000)
    else:
        (tmp_path / "cache").write_text("")
    cache, path = HashCache(tmp_path / "cache"), folder / "alpha.safetensors"
    assert cache.known(path) is None
    assert cache.sha256(path) == hashlib.sha256(path.read_bytes()).hexdigest()
    if broken == "garbage":
        assert cache.known(path) is not None


def test_hash_cache_of_an_older_layout(tmp_path, folder):
    (tmp_path / "cache").mkdir()
    with sqlite3.connect(tmp_path / "cache" / "hashes.sqlite3") as database:
        database.execute("CREATE TABLE hashes (path TEXT)")
    database.close()
    path = folder / "alpha.safetensors"
    assert HashCache(tmp_path / "cache").sha256(path) == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("stored", "found"),
    [
        ('{"width": 128, "prompt": "x"}', {"width": 128, "prompt": "x"}),
        ("{", {}),
        ("[]", {}),
        ("null", {}),
        ("[" * 100_000, {}),
        ("", {}),
    ],
    ids=range(6),
)
def test_page_defaults_from_metadata(tmp_path, stored, found):
    path = write_checkpoint(tmp_path / "m.safetensors", {"atelier.defaults": stored})
    assert page_defaults(Checkpoint(path=path, name="m")) == found


def test_page_defaults_of_a_file_that_is_gone(tmp_path):
    assert page_defaults(Checkpoint(path=tmp_path / "gone.safetensors", name="gone")) == {}
