"""kill -9 at every point at which the queue, the writer and the settings touch the disk; then everything must be right."""

import json
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from modules.core.paths import ROOT, Paths
from modules.core.settings import SettingsFile
from modules.jobs.store import JobStore
from modules.library.styles import Styles
from tests.faults.points import Points
from tests.jobs.helpers import play, puppet_inline, puppet_process, running
from tests.jobs.runners import opens_whole

QUEUE = """
import sys
from pathlib import Path
from tests.jobs.helpers import play, puppet_inline, running

with running(Path(sys.argv[1]), puppet_inline()) as service:
    if len(sys.argv) > 2:
        service.submit(play(n_iter=3, seed=5), job_id="job")
        print("accepted", flush=True)
    service.wait("job", 60)
"""

SETTINGS = """
import sys
from pathlib import Path
from modules.core.settings import SettingsFile
SettingsFile(Path(sys.argv[1])).update({"samples_format": "webp"})
"""

STYLES = """
import sys
from pathlib import Path
from modules.core.paths import Paths
from modules.library.styles import Styles
Styles(Paths(data=Path(sys.argv[1]))).save("new", "new one", "")
"""

FILE = """
import sys
from pathlib import Path
from modules.core.files import write_atomic
write_atomic(Path(sys.argv[1]), b"new" * 1000)
"""

MOMENTS = ("open", "write", "sync", "rename", "renamed")
FILE_POINTS = {"settings": SETTINGS, "styles": STYLES, "file": FILE}
"""Programs that write a file of each kind."""


@pytest.fixture
def points(tmp_path) -> Points:
    return Points(tmp_path / "faults")


def program(source: str, points: Points, *arguments: object) -> subprocess.CompletedProcess:
    """Run it to its end, or to the kill."""
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", **points.environment}
    command = [sys.executable, "-c", source, *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)


def killed(source: str, points: Points, *arguments: object) -> str:
    """Run it up to the kill, which must come; what it printed."""
    done = program(source, points, *arguments)
    assert done.returncode == -9, done.stderr
    return done.stdout


def check_right(data: Path, tries: int) -> None:
    """The job ends well after a restart, with three pictures, each whole and once; nothing else lies about."""
    with running(data, puppet_inline()) as service:
        job = service.wait("job", 60)
        images = service.images("job")
    assert (job.state, job.tries) == ("done", tries), job.message
    assert [(image.position, image.seed) for image in images] == [(0, 5), (1, 6), (2, 7)]
    files = sorted((data / "outputs").rglob("*.*"))
    assert sorted(image.path for image in images) == files
    assert all(opens_whole(path.read_bytes()) for path in files)
    assert not list(data.rglob("*.tmp"))
    with sqlite3.connect(data / "jobs.sqlite3") as db:
        assert db.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
    db.close()


def test_C1_a_job_that_was_accepted_is_drawn(tmp_path, points):
    points.plan("job.stored", "kill")
    killed(QUEUE, points, tmp_path / "data", "submit")
    check_right(tmp_path / "data", tries=1)


def test_C1_a_job_that_was_not_is_not_there(tmp_path, points):
    points.plan("job.accepted", "kill")
    assert killed(QUEUE, points, tmp_path / "data", "submit") == ""
    store = JobStore(Paths(data=tmp_path / "data").jobs)
    assert store.recent(5) == []
    store.close()


@pytest.mark.parametrize("point", ["job.started", "job.end"])
def test_C2_a_job_that_ran_is_tried_once_more(tmp_path, points, point):
    points.plan(point, "kill")
    assert killed(QUEUE, points, tmp_path / "data", "submit") == "accepted\n"
    check_right(tmp_path / "data", tries=2)


@pytest.mark.parametrize(("point", "skip"), [("engine.start", 0), ("ipc.event", 3)])
def test_C2_a_job_whose_engine_ends_between_two_words(tmp_path, points, monkeypatch, point, skip):
    for name, value in points.environment.items():
        monkeypatch.setenv(name, value)
    points.plan(point, "exit", skip=skip)
    with running(tmp_path / "data", puppet_process()) as service:
        service.wait(service.submit(play(n_iter=3, seed=5), job_id="job").id, 120)
    assert not points.waits(point)
    check_right(tmp_path / "data", tries=2)


def test_C3_pictures_before_the_kill_are_the_same_files(tmp_path, points):
    points.plan("image.recorded", "kill", skip=1)
    killed(QUEUE, points, tmp_path / "data", "submit")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "data" / "outputs").rglob("*.png")}
    assert len(before) == 2
    check_right(tmp_path / "data", tries=2)
    assert {path: path.stat().st_mtime_ns for path in before} == before


SAVING = [*(f"image.{moment}" for moment in MOMENTS), "image.record", "image.recorded"]


@pytest.mark.parametrize("point", SAVING)
def test_C4_a_picture_is_there_whole_and_once(tmp_path, points, point):
    points.plan(point, "kill", skip=1)
    killed(QUEUE, points, tmp_path / "data", "submit")
    check_right(tmp_path / "data", tries=2)


def test_C4_every_change_of_the_job_store(tmp_path, points):
    """As SQLite tests itself: kill at the first change after the job is stored, at the fourth ... up to the last."""
    program(QUEUE, points, tmp_path / "counted", "submit")
    reached, kills = points.reached(), 0
    first = reached[: reached.index("job.stored")].count("database.commit")
    for number in range(first, reached.count("database.commit"), 3):
        name = "database.commit" if number % 2 else "database.committed"
        points.clear()
        points.plan(name, "kill", skip=number)
        data = tmp_path / str(number)
        done = program(QUEUE, points, data, "submit")
        kills += done.returncode == -9  # the gallery's changes come when they come: a run may have one less
        with running(data, puppet_inline()) as service:
            job = service.wait("job", 60)
            paths = [image.path for image in service.images("job")]
        assert (job.state, len(paths)) == ("done", 3), (name, number)
        assert sorted(paths) == sorted((data / "outputs").rglob("*.*")), (name, number)
    assert kills >= 2


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("kind", FILE_POINTS)
def test_C5_a_file_is_the_old_one_or_the_new_one(tmp_path, points, kind, moment):
    place = {"settings": tmp_path / "config.json", "styles": tmp_path, "file": tmp_path / "file"}[kind]
    file = tmp_path / "styles.csv" if kind == "styles" else place
    old = {
        "settings": '{"samples_format": "jpg", "foreign": 1}',
        "styles": "name,prompt,negative_prompt\nold,old one,\n",
        "file": "old",
    }[kind]
    file.write_text(old)
    points.plan(f"{kind}.{moment}", "kill")
    killed(FILE_POINTS[kind], points, place)
    written = moment == "renamed"
    if kind == "settings":
        assert SettingsFile(file).current.saving.samples_format == ("webp" if written else "jpg")
        assert json.loads(file.read_text())["foreign"] == 1
    elif kind == "styles":
        assert set(Styles(Paths(data=tmp_path)).all()) == ({"old", "new"} if written else {"old"})
    else:
        assert file.read_bytes() == (b"new" * 1000 if written else b"old")


def test_C12_a_job_that_kills_the_whole_program_is_parked(tmp_path, points):
    points.plan("job.end", "kill", times=9)
    killed(QUEUE, points, tmp_path / "data", "submit")
    killed(QUEUE, points, tmp_path / "data")
    assert program(QUEUE, points, tmp_path / "data").returncode == 0
    with running(tmp_path / "data", puppet_inline()) as service:
        job = service.job("job")
        assert (job.state, job.tries) == ("failed", 2)
        assert "tried 2 times" in (job.message or "")
        assert service.wait(service.submit(play()).id, 60).state == "done"


def test_C16_a_clock_that_jumps_writes_nothing_over(tmp_path, monkeypatch):
    """A day back, then two forward, by the time of day that names and rows are made with."""
    real, paths = time.time, []
    with running(tmp_path, puppet_inline()) as service:
        for jump in (0, -86_400, 86_400, 0):
            monkeypatch.setattr(time, "time", lambda jump=jump: real() + jump)
            job = service.wait(service.submit(play(seed=5, n_iter=2)).id, 60)
            assert job.state == "done"
            paths += [image.path for image in service.images(job.id)]
        assert len(set(paths)) == 8 == len(list((tmp_path / "outputs").rglob("*.png")))
        assert [job.number for job in service.store.recent(4)] == [4, 3, 2, 1]
