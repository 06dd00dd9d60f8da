"""Jobs that are drawn over and over, until somebody stops that."""

from typing import Any

import pytest

from modules.core.errors import NotFound, QueueFull
from modules.core.user import OWNER, User
from modules.jobs.service import JobService
from tests.jobs.helpers import play, puppet_inline, running
from tests.server import until

ANN = User(name="ann", admin=False)


def done(service: JobService, user: str = "") -> int:
    return sum(job.state == "done" for job in service.store.recent(1000, user))


def quiet(service: JobService) -> bool:
    return not service.store.tickets()


def test_X16_it_goes_on_with_other_seeds_until_it_is_taken_back(tmp_path):
    with running(tmp_path, puppet_inline()) as service:
        job = service.submit(play(seed=-1), user="ann")
        desk = service.desk(ANN)
        assert desk.forever(job.id, True) == (job.id, True)
        until(lambda: done(service, "ann") >= 4, 60)
        last, was = desk.forever(job.id, False)
        assert was and last != job.id
        assert service.wait(last, 60).state == "done"
        until(lambda: quiet(service), 60)
        count = done(service, "ann")
        assert desk.forever(job.id, False) == (job.id, False)
        jobs = service.store.recent(1000, "ann")
        assert len({each.seed for each in jobs}) == len(jobs) == count
        assert {each.user for each in jobs} == {"ann"}


@pytest.mark.parametrize("how", ["stop", "fail"])
def test_one_that_is_stopped_or_fails_is_the_last(tmp_path, how):
    with running(tmp_path, puppet_inline()) as service:
        wrong: dict[str, Any] = {"fail": "It broke."} if how == "fail" else {"steps": 100, "pause": 0.05}
        job = service.submit(play(**wrong))
        desk = service.desk(OWNER)
        desk.forever(job.id, True)
        if how == "stop":
            until(lambda: service.live(job.id), 30)
            desk.ask("interrupt", job.id)
        assert service.wait(job.id, 60).state == ("failed" if how == "fail" else "stopped")
        until(lambda: not service.store.chains.open(), 30)
        assert len(service.store.recent(10, None)) == 1


def test_it_is_taken_up_where_the_program_ended(tmp_path):
    with running(tmp_path, puppet_inline()) as service:
        job = service.submit(play())
        assert service.wait(job.id, 60).state == "done"
        service.store.chains.begin(job.id)  # as if the program had ended right then
    with running(tmp_path, puppet_inline()) as service:
        until(lambda: done(service) >= 3, 60)
        service.desk(OWNER).forever(job.id, False)


def test_a_job_that_is_over_already_is_followed_at_once_if_there_is_room(tmp_path, monkeypatch):
    with running(tmp_path, puppet_inline()) as service:
        job = service.submit(play())
        service.wait(job.id, 60)
        service.desk(OWNER).forever(job.id, True)
        until(lambda: done(service) >= 2, 60)

        def full(*_: object) -> None:
            raise QueueFull("500 jobs are waiting already.")

        monkeypatch.setattr("modules.jobs.service.check_taken", full)
        until(lambda: quiet(service) and not service.store.chains.open(), 60)


def test_another_s_is_not_there(tmp_path):
    with running(tmp_path, puppet_inline()) as service:
        job = service.submit(play(), user="ann")
        for wish in (True, False):
            with pytest.raises(NotFound):
                service.desk(User(name="bob", admin=False)).forever(job.id, wish)
        assert service.wait(job.id, 60).state == "done"
        assert not service.store.chains.open()
