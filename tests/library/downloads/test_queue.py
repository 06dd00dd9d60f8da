"""Downloads from local servers: whole, resumed, refused, stopped."""

import sqlite3
import threading
from pathlib import Path
from typing import Any

import pytest

from modules.core.errors import InputError, NotFound, StorageError
from modules.library.checkpoints import Checkpoints
from modules.library.downloads.part import Part
from modules.library.downloads.plan import Plan, RemoteFile
from modules.library.hashes import HashCache
from tests.library.downloads.conftest import ended, left, make_downloads
from tests.library.servers import model, sha256
from tests.server import until

MIB = 2**20


def plan_of(url: str, *, name: str = "a.safetensors", kind: str = "Stable-diffusion", **file: Any) -> Plan:
    return Plan(site="", title=name, kind=kind, name=name, files=(RemoteFile(url=url, path=name, **file),))


def folder(tmp_path: Path) -> Path:
    return tmp_path / "models" / "Stable-diffusion"


def ranges(shop) -> list[str]:
    return [asked.headers.get("range", "") for asked in shop.asked]


def test_a_file_comes_whole_and_is_listed(downloads, shop, tmp_path):
    data = model(tmp_path)
    url = shop.file("/a.safetensors", data)
    report = ended(downloads, downloads.add(plan_of(url, size=len(data), sha256=sha256(data)))["id"])
    assert (report["state"], report["message"]) == ("done", "")
    assert report["received"] == report["size"] == len(data)
    assert left(folder(tmp_path)) == ["a.safetensors"]
    assert (folder(tmp_path) / "a.safetensors").read_bytes() == data
    found = Checkpoints([folder(tmp_path)], HashCache(tmp_path / "cache")).list()
    assert [(c.name, c.sha256) for c in found] == [("a.safetensors", sha256(data))]  # the hash was kept on the way


@pytest.mark.parametrize("known", [True, False])
def test_cut_connections_are_gone_on_with(downloads, shop, tmp_path, known):
    data = model(tmp_path)
    url = shop.file("/a.safetensors", data, cuts=[100_000, 50_000, 1])
    report = ended(downloads, downloads.add(plan_of(url, sha256=sha256(data) if known else None))["id"])
    assert report["state"] == "done", report
    assert (folder(tmp_path) / "a.safetensors").read_bytes() == data
    assert ranges(shop) == ["", "bytes=100000-", "bytes=150000-", "bytes=150001-"]
    assert [asked.headers.get("if-range") for asked in shop.asked] == [None, '"v1"', '"v1"', '"v1"']


def test_without_length_and_ranges(downloads, shop, tmp_path):
    data = model(tmp_path)
    url = shop.file("/a.safetensors", data, length=False, ranges=False, cuts=[70_000])
    report = ended(downloads, downloads.add(plan_of(url, size=len(data), sha256=sha256(data)))["id"])
    assert report["state"] == "done", report
    assert (folder(tmp_path) / "a.safetensors").read_bytes() == data


def test_a_server_that_ignores_ranges_is_begun_anew(downloads, shop, tmp_path):
    data = model(tmp_path)
    url = shop.file("/a.safetensors", data, ranges=False, cuts=[100_000])
    report = ended(downloads, downloads.add(plan_of(url))["id"])
    assert report["state"] == "done"
    assert (folder(tmp_path) / "a.safetensors").read_bytes() == data


def paused_half_way(downloads, shop, data: bytes, **file) -> str:
    """A download that was stopped after 100,000 bytes."""
    shop.file("/a.safetensors", data, cuts=[100_000], statuses=[])
    served = shop.served["/a.safetensors"]
    served.cuts.extend([0] * 20)
    report = ended(downloads, downloads.add(plan_of(f"{shop.url}/a.safetensors", **file))["id"])
    assert report["state"] == "failed"
    assert "broke off" in report["message"]
    served.cuts.clear()
    return report["id"]


@pytest.mark.parametrize("honest", [True, False])
def test_D6_a_changed_file_is_begun_anew(downloads, shop, tmp_path, honest):
    """`honest`: the server heeds If-Range; one that does not still tells another ETag."""
    old, new = model(tmp_path, name="old"), model(tmp_path, name="new!", size=299_999)
    assert len(old) == len(new)
    entry = paused_half_way(downloads, shop, old)
    shop.file("/a.safetensors", new, etag='"v2"')
    if not honest:
        serve = shop._file
        shop._file = lambda handler, served, headers: serve(handler, served, {**headers, "if-range": served.etag})
    downloads.act(entry, "retry")
    report = ended(downloads, entry, "done", "failed")
    assert report["state"] == "done", report
    assert (folder(tmp_path) / "a.safetensors").read_bytes() == new


def test_D6_416_with_another_length_is_begun_anew(downloads, shop, tmp_path):
    entry = paused_half_way(downloads, shop, model(tmp_path))
    short = model(tmp_path, size=1000, name="short")
    shop.file("/a.safetensors", short)
    downloads.act(entry, "retry")
    assert ended(downloads, entry, "done", "failed")["state"] == "done"
    assert (folder(tmp_path) / "a.safetensors").read_bytes() == short
    assert "bytes=100000-" in ranges(shop)


def test_D6_416_at_the_end_is_the_end(downloads, shop, tmp_path):
    data = model(tmp_path)
    target = folder(tmp_path) / "a.safetensors"
    url = shop.file("/a.safetensors", data)
    part = Part(target)
    part.open(part.mark(url))
    part.write(data)
    part._mark = type(part._mark)(url=url, validator='"v1"')
    part.sync()
    part.close()
    assert ended(downloads, downloads.add(plan_of(url))["id"])["state"] == "done"
    assert ranges(shop) == [f"bytes={len(data)}-"]
    assert left(folder(tmp_path)) == ["a.safetensors"]


def test_a_part_that_lost_its_end_goes_on_where_it_was_safe(downloads, shop, tmp_path):
    data = model(tmp_path)
    entry = paused_half_way(downloads, shop, data)
    part = folder(tmp_path) / "a.safetensors.part"
    part.write_bytes(part.read_bytes() + b"\0" * 5000)  # as after a power cut: longer than what was safe
    downloads.act(entry, "retry")
    assert ended(downloads, entry, "done", "failed")["state"] == "done"
    assert (folder(tmp_path) / "a.safetensors").read_bytes() == data


def test_a_part_that_was_spoilt_is_begun_anew_once(downloads, shop, tmp_path):
    data = model(tmp_path)
    entry = paused_half_way(downloads, shop, data, sha256=sha256(data))
    part = folder(tmp_path) / "a.safetensors.part"
    part.write_bytes(b"\0" * part.stat().st_size)
    downloads.act(entry, "retry")
    assert ended(downloads, entry, "done", "failed")["state"] == "done"
    assert (folder(tmp_path) / "a.safetensors").read_bytes() == data


BAD = {
    "wrong hash": ({}, {"sha256": "0" * 64}, "sha256 begins with"),
    "wrong size": ({}, {"size": 5}, "but 5 were announced"),
    "too short": ({"length": False, "etag": ""}, {"size": 999_999_999}, "broke off"),
    "a page by its type": ({"kind": "text/html; charset=utf-8"}, {}, "is a web page, not a model"),
    "a page by its text": ({"data": b" <!DOCTYPE html><html>Log in</html>"}, {}, "is a web page, not a model"),
    "no model": ({"data": b"hello, this is no model at all"}, {}, "not a valid safetensors"),
    "half a model": ({"half": True}, {}, "is incomplete"),
    "compressed": ({"headers": {"Content-Encoding": "gzip"}}, {}, "compressed"),
    "404": ({"statuses": [404] * 9}, {}, "has nothing at"),
    "401": ({"statuses": [401] * 9}, {}, "a login is needed"),
    "403": ({"statuses": [403] * 9}, {}, "a login is needed"),
    "418": ({"statuses": [418] * 9}, {}, "status 418"),
    "500": ({"statuses": [500] * 9}, {}, "a fault of its own"),
    "429": ({"statuses": [429] * 9, "headers": {"Retry-After": "0"}}, {}, "no more requests"),
}


@pytest.mark.parametrize("case", BAD)
def test_D6_what_is_not_the_model_is_never_listed(downloads, shop, tmp_path, case):
    served, file, words = BAD[case]
    served = dict(served)
    data = served.pop("data", model(tmp_path))
    if served.pop("half", False):
        data = data[: len(data) // 2]
    url = shop.file("/a.safetensors", data, **served)
    report = ended(downloads, downloads.add(plan_of(url, **file))["id"])
    assert report["state"] == "failed"
    assert words in report["message"]
    assert str(tmp_path) not in report["message"]
    assert Checkpoints([folder(tmp_path)], HashCache(tmp_path / "cache")).list() == []
    if case not in ("500", "429", "too short"):
        assert left(folder(tmp_path)) == []


def test_too_many_requests_are_waited_out(downloads, shop, tmp_path):
    data = model(tmp_path)
    url = shop.file("/a.safetensors", data, statuses=[429, 503, 429], headers={"Retry-After": "0"})
    assert ended(downloads, downloads.add(plan_of(url))["id"])["state"] == "done"
    assert len(shop.asked) == 4


def slow(shop, tmp_path, path: str = "/a.safetensors", size: int = 1_500_000) -> tuple[str, bytes]:
    data = model(tmp_path, size=size, name=path.strip("/"))
    return shop.file(path, data, pause=0.02), data


def at_work(downloads, entry: str) -> None:
    until(
        lambda: any(r["id"] == entry and r["received"] > 0 for r in downloads.all()), 20, lambda: f"{downloads.all()}"
    )


def test_pause_and_resume(downloads, shop, tmp_path):
    url, data = slow(shop, tmp_path)
    entry = downloads.add(plan_of(url))["id"]
    at_work(downloads, entry)
    running = next(r for r in downloads.all() if r["id"] == entry)
    assert running["state"] == "running"
    report = downloads.act(entry, "pause")
    assert report["state"] == "paused"
    assert 0 < report["received"] < len(data)
    assert left(folder(tmp_path)) == ["a.safetensors.part", "a.safetensors.part.json"]
    with pytest.raises(InputError, match="is paused: it cannot be paused"):
        downloads.act(entry, "pause")
    shop.served["/a.safetensors"].pause = 0
    downloads.act(entry, "resume")
    assert ended(downloads, entry, "done", "failed")["state"] == "done"
    assert ranges(shop)[-1] == f"bytes={report['received']}-"
    assert (folder(tmp_path) / "a.safetensors").read_bytes() == data


def test_cancel_leaves_nothing(downloads, shop, tmp_path):
    url, _ = slow(shop, tmp_path)
    entry = downloads.add(plan_of(url))["id"]
    at_work(downloads, entry)
    assert downloads.act(entry, "cancel")["state"] == "cancelled"
    assert left(folder(tmp_path)) == []
    with pytest.raises(InputError, match="is cancelled: it cannot be resumed"):
        downloads.act(entry, "resume")
    downloads.clear()
    assert downloads.all() == []
    with pytest.raises(NotFound):
        downloads.act(entry, "pause")


def test_order(downloads, shop, tmp_path):
    url, _ = slow(shop, tmp_path)
    first = downloads.add(plan_of(url))["id"]
    at_work(downloads, first)
    second, third = (
        downloads.add(plan_of(shop.file(f"/{n}.safetensors", model(tmp_path, name=n)), name=f"{n}.safetensors"))["id"]
        for n in ("b", "c")
    )
    assert [r["state"] for r in downloads.all()] == ["running", "queued", "queued"]
    downloads.act(third, "first")
    assert [r["id"] for r in downloads.all()] == [third, first, second]
    downloads.act(second, "pause")
    downloads.act(second, "cancel")
    downloads.act(first, "cancel")
    assert ended(downloads, third)["state"] == "done"
    assert left(folder(tmp_path)) == ["c.safetensors"]


def test_two_at_once(make, shop, tmp_path):
    downloads = make(settings={"downloads_at_once": 2})
    entries = []
    for name in ("a", "b", "c"):
        url, _ = slow(shop, tmp_path, f"/{name}.safetensors")
        entries.append(downloads.add(plan_of(url, name=f"{name}.safetensors"))["id"])
    at_work(downloads, entries[0])
    at_work(downloads, entries[1])
    assert [r["state"] for r in downloads.all()] == ["running", "running", "queued"]


def test_C9_a_closed_queue_goes_on_at_the_next_start(make, shop, tmp_path):
    first = make()
    url, data = slow(shop, tmp_path)
    entry = first.add(plan_of(url))["id"]
    at_work(first, entry)
    first.close()
    shop.served["/a.safetensors"].pause = 0
    second = make()
    assert ended(second, entry)["state"] == "done"
    assert (folder(tmp_path) / "a.safetensors").read_bytes() == data
    assert any(text.startswith("bytes=") for text in ranges(shop))


def test_what_is_here_is_not_fetched_again(downloads, shop, tmp_path):
    data = model(tmp_path)
    url = shop.file("/a.safetensors", data)
    ended(downloads, downloads.add(plan_of(url))["id"])
    count = len(shop.asked)
    known: dict[str, Any]
    for known in ({"sha256": sha256(data)}, {"size": len(data)}, {"size": len(data), "sha256": sha256(data)}):
        with pytest.raises(InputError, match='You have it already: "a.safetensors" lies in "Stable-diffusion"'):
            downloads.add(plan_of(url, **known))
    assert len(shop.asked) == count


def test_another_file_of_that_name_gets_a_number(downloads, shop, tmp_path):
    mine = folder(tmp_path) / "a.safetensors"
    mine.parent.mkdir(parents=True)
    mine.write_bytes(b"mine")
    data = model(tmp_path)
    url = shop.file("/a.safetensors", data)
    report = ended(downloads, downloads.add(plan_of(url, size=len(data), sha256=sha256(data)))["id"])
    assert (report["state"], report["name"]) == ("done", "a-2.safetensors")
    assert mine.read_bytes() == b"mine"


def test_a_name_that_is_taken_in_the_meantime(downloads, shop, tmp_path):
    url, data = slow(shop, tmp_path)
    entry = downloads.add(plan_of(url))["id"]
    at_work(downloads, entry)
    (folder(tmp_path) / "a.safetensors").write_bytes(b"mine")
    shop.served["/a.safetensors"].pause = 0
    report = ended(downloads, entry)
    assert (report["state"], report["name"]) == ("done", "a-2.safetensors")
    assert 'it is called "a-2.safetensors"' in report["message"]
    assert (folder(tmp_path) / "a.safetensors").read_bytes() == b"mine"
    assert (folder(tmp_path) / "a-2.safetensors").read_bytes() == data


def test_the_same_twice_is_refused_and_names_are_kept_apart(downloads, shop, tmp_path):
    url, _ = slow(shop, tmp_path)
    downloads.add(plan_of(url))
    with pytest.raises(InputError, match="in the list of downloads already"):
        downloads.add(plan_of(url))
    other = shop.file("/b.safetensors", model(tmp_path, name="b"))
    assert downloads.add(plan_of(other, name="A.safetensors"))["name"] == "A-2.safetensors"


def test_R11_no_room(make, shop, tmp_path):
    downloads = make(reserve=10**18)
    url = shop.file("/a.safetensors", model(tmp_path))
    with pytest.raises(
        StorageError, match=r"has [\d.]+ GB free; the download needs 7.0 GB more and 1000000000.0 GB to"
    ):
        downloads.add(plan_of(url, size=7 * 10**9))
    assert downloads.all() == []


def test_a_folder_that_cannot_be_made(downloads, shop, tmp_path):
    (tmp_path / "models").write_text("a file in the way")
    report = ended(downloads, downloads.add(plan_of(shop.file("/a.safetensors", model(tmp_path / "x"))))["id"])
    assert report["state"] == "failed"
    assert "failed" in report["message"] or "cannot be written" in report["message"]


def test_the_list_on_disk_may_hold_rows_of_another_version(tmp_path, shop):
    first = make_downloads(tmp_path, shop)
    first.close()
    with sqlite3.connect(tmp_path / "downloads.sqlite3") as db:
        db.execute("INSERT INTO downloads (id, place, state, plan, added) VALUES ('x', 1, 'queued', '{}', 0)")
    db.close()
    second = make_downloads(tmp_path, shop)
    second.start()
    assert second.all() == []
    second.close()


def test_C8_a_list_that_is_no_database_is_kept_aside(tmp_path, shop):
    (tmp_path / "downloads.sqlite3").write_bytes(b"no database" * 100)
    downloads = make_downloads(tmp_path, shop)
    assert downloads.all() == []
    downloads.close()
    (aside,) = tmp_path.glob("downloads.sqlite3.damaged-*")
    assert aside.read_bytes() == b"no database" * 100


def test_a_list_that_cannot_be_opened(tmp_path, shop):
    (tmp_path / "downloads.sqlite3").mkdir()
    with pytest.raises(StorageError, match="cannot be opened"):
        make_downloads(tmp_path, shop)


def test_a_site_that_is_not_there(downloads, shop, tmp_path):
    report = ended(downloads, downloads.add(plan_of("http://127.0.0.1:9/a.safetensors"))["id"])
    assert report["state"] == "failed"
    assert '"127.0.0.1" cannot be reached' in report["message"]


def test_a_site_that_falls_silent(make, shop, tmp_path):
    downloads = make(timeout=0.3)
    url = shop.file("/a.safetensors", model(tmp_path, size=3_000_000), pause=0.5)
    entry = downloads.add(plan_of(url))["id"]
    report = ended(downloads, entry, "failed", "running")
    downloads.act(entry, "cancel")
    assert report["state"] in ("failed", "running")
    assert left(folder(tmp_path)) == []


def test_reports_hold_no_signature(downloads, shop, tmp_path):
    shop.file("/a.safetensors", model(tmp_path))
    plan = downloads.finder.address(f"{shop.url}/a.safetensors?token=secret&Signature=s3cret")
    report = ended(downloads, downloads.add(plan)["id"])
    assert report["state"] == "done"
    assert "cret" not in str(downloads.all())


def test_threads_end(make):
    make().close()
    until(lambda: not [t for t in threading.enumerate() if t.name.startswith("download ")], 10)


def test_plans_are_checked_when_made(tmp_path):
    for name in ("../a.safetensors", "/a.safetensors", "a/b.safetensors", "con.safetensors"):
        with pytest.raises(ValueError, match="cannot be used here|plain file name"):
            plan_of("http://h/a", name=name)
    whole = plan_of("http://h/a")
    with pytest.raises(ValueError, match="plain file name"):
        Plan(**{**whole.model_dump(), "name": "../a.safetensors"})
