"""A disk that fills up while a model comes: the part stays, and is gone on with when there is room."""

import resource
import subprocess

import pytest

from tests.library.downloads.conftest import ended, left, make_downloads
from tests.library.downloads.test_queue import folder, plan_of, ranges
from tests.library.servers import model, sha256


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 1 MB under models/."""
    place = tmp_path / "models"
    place.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(place)], capture_output=True).returncode:
        pytest.skip("mounting a disk of 1 MB takes rights that this user does not have")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_R11_a_full_disk(make, shop, tmp_path, small_disk):
    data = model(tmp_path, size=3_000_000)
    url = shop.file("/a.safetensors", data, length=False)  # a length would be refused before the first byte
    downloads = make()
    report = ended(downloads, downloads.add(plan_of(url, sha256=sha256(data)))["id"])
    assert report["state"] == "failed"
    assert "is full. Free some space" in report["message"]
    assert left(folder(tmp_path)) == ["a.safetensors.part", "a.safetensors.part.json"]
    subprocess.run(["mount", "-o", "remount,size=8m", str(small_disk)], check=True)
    downloads.act(report["id"], "retry")
    assert ended(downloads, report["id"], "done", "failed")["state"] == "done"
    begin = int(ranges(shop)[-1].removeprefix("bytes=").removesuffix("-"))
    assert begin > 500_000  # most of the megabyte was not fetched twice
    assert (folder(tmp_path) / "a.safetensors").read_bytes() == data
    downloads.close()


def test_R11_room_is_looked_for_before_the_first_byte(make, shop, tmp_path, small_disk):
    data = model(tmp_path, size=3_000_000)
    downloads = make()
    report = ended(downloads, downloads.add(plan_of(shop.file("/a.safetensors", data)))["id"])
    assert report["state"] == "failed"
    assert "has 1.0 MB free; the download needs 3.0 MB more." in report["message"]
    assert left(folder(tmp_path)) == []
    downloads.close()


def test_R11_a_write_that_fails(tmp_path, shop):
    data = model(tmp_path, size=900_000)
    downloads = make_downloads(tmp_path, shop)
    downloads.start()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, hard))
    try:
        report = ended(downloads, downloads.add(plan_of(shop.file("/a.safetensors", data)))["id"])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert report["state"] == "failed"
    assert "File too large" in report["message"]
    downloads.act(report["id"], "retry")
    assert ended(downloads, report["id"], "done", "failed")["state"] == "done"
    assert ranges(shop)[-1] == f"bytes={400_000 - 2**16}-"
    assert (folder(tmp_path) / "a.safetensors").read_bytes() == data
    downloads.close()
