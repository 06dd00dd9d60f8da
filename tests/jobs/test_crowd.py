"""Several people at one queue at once."""

import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from PIL import Image

from modules.core.paths import Paths
from modules.core.settings import SettingsFile
from modules.core.user import User
from modules.images.encode import encode_png
from modules.jobs.store import ENDED
from modules.jobs.writer import Writer, album_of
from modules.requests.events import ImageReady
from tests.jobs.helpers import make_service, play, puppet_inline, running

USERS, JOBS = 8, 20


def test_L1_every_job_is_drawn_once_and_is_its_users(tmp_path):
    log = tmp_path / "drawn"
    with running(tmp_path / "data", puppet_inline(log)) as service:

        def submit(user: str) -> list[tuple[str, int]]:
            desk = service.desk(User(name=user, admin=False))
            seeds = [sum(map(ord, user)) * 1000 + number for number in range(JOBS)]
            return [(desk.submit(play(seed=seed, steps=1)).id, seed) for seed in seeds]

        names = [f"user{number}" for number in range(USERS)]
        with ThreadPoolExecutor(USERS) as pool:
            sent = dict(zip(names, pool.map(submit, names), strict=True))
        for user, jobs in sent.items():
            for id, seed in jobs:
                job = service.wait(id, 120)
                (image,) = service.images(id)
                assert (job.state, job.user, job.tries) == ("done", user, 1)
                with Image.open(image.path) as picture:
                    assert f"Seed: {seed}," in picture.info["parameters"]
    drawn = log.read_text().split("\n")[:-1]
    assert len(drawn) == len(set(drawn)) == USERS * JOBS
    assert len(list((tmp_path / "data" / "outputs").rglob("*.png"))) == USERS * JOBS


def test_L8_jobs_that_are_cancelled_at_any_moment_end_once(tmp_path):
    wish = random.Random(8)
    with running(tmp_path / "data", puppet_inline()) as service:
        jobs = [service.submit(play(n_iter=3, pause=0.002)).id for _ in range(60)]
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda id: service.ask("interrupt", id), wish.sample(jobs, 50)))
        ended = [service.wait(id, 120) for id in jobs]
        assert all(job.state in ENDED for job in ended)
        assert sum(job.state == "done" for job in ended) >= 10
        assert {job.state for job in ended} <= {"done", "stopped"}
        assert service.wait(service.submit(play()).id, 60).state == "done"


def test_D3_nothing_is_written_over_by_two_programs_at_once(tmp_path):
    """Two servers that save into one folder, several pictures at a time: each picture has a file of its own."""
    shared = tmp_path / "shared"
    services = [make_service(tmp_path / name, puppet_inline(), outdir_txt2img_samples=str(shared)) for name in "ab"]

    def save(number: int) -> Path:
        service = services[number % 2]
        job = service.submit(play(steps=1))
        image = ImageReady(index=0, data=picture(number), infotext="", seed=7, fields={"seed": 7, "prompt": "the same"})
        paths = Paths(data=tmp_path / "ab"[number % 2])
        settings = service.settings.current
        writer = Writer(paths, service.store, album_of(paths, SettingsFile(paths.settings)), service.queue.full)
        assert writer.save(job, settings, image) is None
        return service.images(job.id)[0].path

    with ThreadPoolExecutor(8) as pool:
        paths = list(pool.map(save, range(120)))
    assert len(set(paths)) == 120
    assert {path.read_bytes() for path in paths} == {picture(number) for number in range(120)}
    for service in services:
        service.store.close()


def picture(number: int) -> bytes:
    return encode_png(Image.new("RGB", (8, 8), (number, 0, 0)), f"picture {number}")
