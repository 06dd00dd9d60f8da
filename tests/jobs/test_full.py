"""Jobs wait where a picture finds no room on its disk."""

import errno
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from modules.core.disk import has_room
from modules.core.errors import DiskFull, StorageError
from modules.core.user import OWNER, User
from modules.jobs import full
from modules.jobs.service import JobService
from tests.faults.points import Points
from tests.jobs.helpers import play, puppet_inline, running
from tests.server import until


@pytest.fixture
def room(monkeypatch) -> threading.Event:
    """Whether there is room on the disk again."""
    there = threading.Event()
    monkeypatch.setattr(full, "has_room", lambda folder, needed: there.is_set())
    monkeypatch.setattr(full, "EVERY", 0.01)
    return there


@pytest.fixture
def service(tmp_path, monkeypatch, room) -> Iterator[JobService]:
    """Its first picture finds no room in outputs; all others do."""
    points = Points(tmp_path / "points")
    monkeypatch.setenv(*next(iter(points.environment.items())))
    points.plan("image.write", "enospc")
    with running(tmp_path / "data", puppet_inline()) as found:
        found.queue.pause("", True)
        yield found


def kept(service: JobService, job_id: str) -> list[bool]:
    return [image.kept for image in service.images(job_id)]


def test_R9_the_jobs_behind_a_picture_without_room_wait_for_it(service, room):
    jobs = [service.submit(play()).id for _ in range(3)]
    service.queue.pause("", False)
    first = service.wait(jobs[0], 60)
    assert first.state == "done" and "is full. Free some space" in (first.message or "")
    assert kept(service, jobs[0]) == [False]
    other = service.wait(service.submit(play(), user="bob").id, 60)
    assert (other.state, kept(service, other.id)) == ("done", [True])
    assert [service.wait(job, 0.2).state for job in jobs[1:]] == ["queued", "queued"]
    with pytest.raises(DiskFull, match="no further job begins"):
        service.desk(OWNER).submit(play())
    service.desk(User(name="bob", admin=False)).submit(play())
    room.set()
    assert [service.wait(job, 60).state for job in jobs[1:]] == ["done", "done"]
    assert [kept(service, job) for job in jobs[1:]] == [[True], [True]]
    service.desk(OWNER).submit(play())


def test_R9_the_jobs_go_on_without_room_when_their_user_says_so(service):
    jobs = [service.submit(play()).id for _ in range(2)]
    service.queue.pause("", False)
    service.wait(jobs[0], 60)
    until(lambda: service.queue.full.told(("", "api")), 60)
    assert service.queue.full.told(("bob",)) is None
    assert service.wait(jobs[1], 0.2).state == "queued"
    service.queue.pause("", False)
    assert service.wait(jobs[1], 60).state == "done"
    assert service.queue.full.told(("", "api")) is None


def test_R9_a_job_that_found_no_room_anywhere_holds_the_others_too(service, tmp_path):
    Points(tmp_path / "points").plan("image.write", "enospc", times=2)
    jobs = [service.submit(play()).id for _ in range(2)]
    service.queue.pause("", False)
    assert service.wait(jobs[0], 60).info["kind"] == "DiskFull"
    assert service.wait(jobs[1], 0.2).state == "queued"


def test_R9_only_want_of_room_is_waited_for(room):
    rung: list[None] = []
    watch = full.FullDisks(lambda: rung.append(None))
    watch.note("ann", StorageError("The folder cannot be written."))
    assert not watch.users()
    watch.note("ann", DiskFull("full", Path("x")))
    assert (watch.users(), len(rung)) == ({"ann"}, 1)
    room.set()
    watch.note("bob", DiskFull("full", Path("x")))  # it was another that took the room, and it has gone
    watch.look()
    assert (watch.users(), len(rung)) == (frozenset(), 2)


def test_R9_room_is_tried_and_nothing_is_left_of_that(tmp_path, monkeypatch):
    assert has_room(tmp_path / "not" / "there", 1000)
    assert not has_room(tmp_path, 2**70)
    for number, there in ((errno.EDQUOT, False), (errno.ENOSPC, False), (errno.EACCES, True)):

        def refused(path: Path, data: bytes, number: int = number) -> int:
            path.touch()
            raise OSError(number, "refused")

        monkeypatch.setattr(Path, "write_bytes", refused)
        assert has_room(tmp_path, 1000) is there
    assert not list(tmp_path.iterdir())
