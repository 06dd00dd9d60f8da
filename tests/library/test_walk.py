"""Walking a folder: whatever lies in it, it ends soon and finds the models."""

import os
import time

import pytest

from modules.library.walk import walk
from tests.jobs.helpers import write_checkpoint


def names(root, *suffixes):
    return sorted(seen.name for seen in walk(root, suffixes or (".safetensors", ".ckpt")))


def test_names_are_below_the_root(tmp_path):
    for name in ("a.safetensors", "sub/deep/B.SAFETENSORS", "c.ckpt", "d.txt", "._a.safetensors", ".hidden/x.ckpt"):
        write_checkpoint(tmp_path / name)
    assert names(tmp_path) == ["a.safetensors", "c.ckpt", "sub/deep/B.SAFETENSORS"]
    assert names(tmp_path, ".txt") == ["d.txt"]
    assert names(tmp_path / "nowhere") == []
    assert names(tmp_path / "d.txt") == []


def test_a_download_that_is_not_finished_is_no_model(tmp_path):
    for name in ("a.safetensors.part", "a.safetensors.tmp", "a.safetensors.aria2", "a.safetensors.crdownload"):
        write_checkpoint(tmp_path / name)
    assert names(tmp_path) == []


def test_F14_names_of_other_case_and_other_unicode_form_are_other_files(tmp_path):
    given = ["\u00c4.safetensors", "A\u0308.safetensors", "a.safetensors", "A.safetensors"]
    for name in given:
        write_checkpoint(tmp_path / name)
    if len(list(tmp_path.iterdir())) < 4:
        pytest.skip("this file system holds them for the same")
    assert names(tmp_path) == sorted(given)


def test_what_is_no_model_costs_nothing(tmp_path):
    write_checkpoint(tmp_path / "good.safetensors")
    write_checkpoint(tmp_path / "x.safetensors" / "inside.safetensors")
    os.mkfifo(tmp_path / "pipe.safetensors")
    os.mkfifo(tmp_path / "good.json")
    (tmp_path / "dead.safetensors").symlink_to("nowhere")
    (tmp_path / "me.safetensors").symlink_to("me.safetensors")
    (tmp_path / "up").symlink_to(tmp_path)
    (tmp_path / "zero.ckpt").symlink_to("/dev/zero")
    write_checkpoint(tmp_path / "model" / "model_index.json")
    write_checkpoint(tmp_path / "model" / "unet" / "weights.safetensors")
    began = time.monotonic()
    assert names(tmp_path) == ["good.safetensors", "model", "x.safetensors/inside.safetensors"]
    assert time.monotonic() - began < 60  # it does not hang: a pipe would for ever


def test_bytes_that_are_no_text_are_left_out(tmp_path):
    try:
        (folder := tmp_path / os.fsdecode(b"bad\xff")).mkdir()
    except OSError:
        pytest.skip("this file system takes only UTF-8 names")
    (folder / "a.ckpt").write_bytes(b"")
    assert names(tmp_path) == []


def test_a_deep_tree(tmp_path):
    deep = tmp_path.joinpath(*["d"] * 200)
    write_checkpoint(deep / "a.ckpt")
    assert names(tmp_path) == ["/".join(["d"] * 200) + "/a.ckpt"]


def test_what_lies_beside(tmp_path):
    write_checkpoint(tmp_path / "a.safetensors")
    for name in ("a.json", "a.civitai.info", "a.preview.png", "a.webp", "b.png"):
        (tmp_path / name).write_text("x")
    (seen,) = walk(tmp_path)
    assert seen.sidecars == ("a.json", "a.civitai.info")
    assert seen.preview == "a.preview.png"
    (tmp_path / "a.png").write_text("x")
    before = seen
    (seen,) = walk(tmp_path)
    assert seen.preview == "a.png"
    assert seen.stamp == before.stamp
    os.utime(tmp_path / "a.json", ns=(1, 1))
    (seen,) = walk(tmp_path)
    assert seen.sidecar_time != before.sidecar_time


def test_a_file_that_is_replaced_by_one_of_the_same_size_and_time(tmp_path):
    path = write_checkpoint(tmp_path / "a.safetensors")
    (before,) = walk(tmp_path)
    status = path.stat()
    other = write_checkpoint(tmp_path / "other.tmp")
    os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
    other.replace(path)
    (after,) = walk(tmp_path)
    assert (before.stamp.size, before.stamp.mtime) == (after.stamp.size, after.stamp.mtime)
    assert before.stamp != after.stamp
