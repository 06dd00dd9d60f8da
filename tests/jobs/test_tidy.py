"""What is kept for a while has an end, however much of it there is and whatever was killed."""

import os
import time
from pathlib import Path

import pytest

from modules.jobs import tidy
from modules.jobs.service import JobService
from modules.jobs.tidy import Tidy
from modules.jobs.uploads import KEPT, Uploads
from tests.jobs.helpers import make_service, play, puppet_inline, running
from tests.jobs.test_uploads import png
from tests.server import until


def age(path: Path, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(path, (then, then))


def results(service: JobService) -> list[Path]:
    return [path for path in (service.paths.cache / "results").rglob("*") if path.is_file()]


def test_R14_pictures_that_are_not_saved_are_bounded(tmp_path, monkeypatch):
    with running(tmp_path, puppet_inline()) as service:
        jobs = [service.wait(service.submit(play(n_iter=8, save_images=False)).id, 60) for _ in range(4)]
        size = max(path.stat().st_size for path in results(service))
        assert len(results(service)) == 32
        monkeypatch.setattr(tidy, "GB", size * 2)  # of which 5 are kept
        monkeypatch.setattr(tidy, "EVERY", 0.0)
        until(lambda: len(results(service)) < 32, 60)  # by itself, while it runs
        service.close()
    left = results(service)
    assert 8 <= len(left) <= 12 and sum(path.stat().st_size for path in left) <= 10 * size
    service = make_service(tmp_path, puppet_inline())
    told = {image.path for job in jobs for image in service.images(job.id)}
    newest = {image.path for image in service.images(jobs[-1].id)}
    service.store.close()
    assert told == set(left) and len(newest) == 8


def test_R14_what_a_job_has_made_so_far_stays(tmp_path, monkeypatch):
    monkeypatch.setattr(tidy, "GB", 0)
    with running(tmp_path, puppet_inline()) as service:
        held = service.wait(service.submit(play(n_iter=3, save_images=False, fail="No luck.")).id, 60)
        service.queue.pause("", True)
        service.queue.again(held.id)
        Tidy(service.paths, service.store, service.settings).look()
        assert len(service.images(held.id)) == len(results(service)) == 1
        service.ask("interrupt", held.id)
        Tidy(service.paths, service.store, service.settings).look()
        assert not results(service)


@pytest.mark.parametrize("old", [False, True])
def test_R14_what_a_killed_program_left_goes(tmp_path, old):
    cache = tmp_path / "cache"
    files = [
        *(tmp_path / ".atelier-1.tmp", cache / ".atelier-2.tmp", cache / "uploads" / ".atelier-3.tmp"),
        *(cache / "results" / "gone" / "00000.png", cache / "openvino" / ".tmp1" / "samples.npz"),
    ]
    ours = [tmp_path / "notes.tmp", cache / "openvino" / "unet-1" / "model.xml"]
    for path in (*files, *ours):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"half")
        age(path, 2 * tidy.DAY if old else 60)
        age(path.parent, 2 * tidy.DAY if old else 60)
    picture = Uploads(cache / "uploads").keep(png())
    age(cache / "uploads" / picture.sha256, KEPT + 10 if old else KEPT - 10)
    service = make_service(tmp_path, puppet_inline())
    Tidy(service.paths, service.store, service.settings).look()
    service.store.close()
    assert [path.exists() for path in (*files, cache / "uploads" / picture.sha256)] == [not old] * 6
    assert all(path.exists() for path in ours)
