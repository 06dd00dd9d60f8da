"""kill -9 in the middle of a download: the next start goes on with it."""

import json
import os
import subprocess
import sys

import pytest

from modules.core.paths import ROOT
from modules.library.checkpoints import Checkpoints
from modules.library.hashes import HashCache
from tests.faults.points import Points
from tests.library.downloads.conftest import ended, left
from tests.library.downloads.test_queue import folder, plan_of, ranges
from tests.library.servers import model, sha256
from tests.server import until

PROGRAM = """
import sys, time
from pathlib import Path
from types import SimpleNamespace
from modules.library.downloads.plan import Plan
from tests.library.downloads.conftest import make_downloads

downloads = make_downloads(Path(sys.argv[1]), SimpleNamespace(url=sys.argv[2]))
downloads.start()
downloads.add(Plan.model_validate_json(sys.argv[3]))
time.sleep(60)
"""


def test_C9_kill_9(make, shop, tmp_path):
    data = model(tmp_path, size=9_000_000)
    url = shop.file("/a.safetensors", data, pause=0.01)
    plan = plan_of(url, size=len(data), sha256=sha256(data))
    command = [sys.executable, "-c", PROGRAM, str(tmp_path), shop.url, plan.model_dump_json()]
    note = folder(tmp_path) / "a.safetensors.part.json"
    with subprocess.Popen(command, cwd=ROOT) as running:
        try:
            until(lambda: note.is_file() and json.loads(note.read_text())["received"], 30)
        finally:
            running.kill()
    assert Checkpoints([folder(tmp_path)], HashCache(tmp_path / "cache")).list() == []
    assert not (folder(tmp_path) / "a.safetensors").exists()
    shop.served["/a.safetensors"].pause = 0
    (folder(tmp_path) / ".atelier-0.tmp").touch()  # what a note that was being written would leave
    downloads = make()
    rows = downloads.all()
    assert len(rows) == 1
    assert ended(downloads, rows[0]["id"])["state"] == "done"
    assert (folder(tmp_path) / "a.safetensors").read_bytes() == data
    assert left(folder(tmp_path)) == ["a.safetensors"]
    begin = int(ranges(shop)[-1].removeprefix("bytes=").removesuffix("-"))
    assert begin > 100_000


@pytest.mark.parametrize(
    ("point", "skip"), [("download.write", 3), ("download.rename", 0), ("download.renamed", 0)], ids=lambda v: str(v)
)
def test_C9_killed_at_a_moment_it_is_gone_on_with_and_listed_once(make, shop, tmp_path, point, skip):
    data = model(tmp_path, size=9_000_000)  # a read takes 2**20 bytes at most
    plan = plan_of(shop.file("/a.safetensors", data), size=len(data), sha256=sha256(data))
    points = Points(tmp_path / "faults")
    points.plan(point, "kill", skip=skip)
    command = [sys.executable, "-c", PROGRAM, str(tmp_path), shop.url, plan.model_dump_json()]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, **points.environment}, timeout=120)
    assert done.returncode == -9
    assert (folder(tmp_path) / "a.safetensors").exists() == (point == "download.renamed")
    downloads = make()
    rows = downloads.all()
    assert [ended(downloads, row["id"])["state"] for row in rows] == ["done"]
    assert (folder(tmp_path) / "a.safetensors").read_bytes() == data
    assert left(folder(tmp_path)) == ["a.safetensors"]
