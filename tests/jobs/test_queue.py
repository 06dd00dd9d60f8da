"""Jobs that wait or are over, in the hands of their user."""

from pathlib import Path

import pytest

from modules.core.errors import InputError, NotFound
from tests.jobs.helpers import make_service, play, puppet_inline, running


@pytest.fixture
def service(tmp_path):
    """Not started: what is submitted waits."""
    found = make_service(tmp_path, puppet_inline())
    yield found
    found.close()


def ids(service) -> list[str]:
    return [job.id for job in service.in_order()]


def test_a_waiting_job_is_moved_among_those_of_its_user(service):
    first, second, third = [service.submit(play(seed=n)).id for n in range(3)]
    other = service.submit(play(), user="other").id
    service.queue.move(third, 0)
    assert [job for job in ids(service) if job != other] == [third, first, second]
    service.queue.move(third, 10**30)
    assert [job for job in ids(service) if job != other] == [first, second, third]
    assert len({job.number for job in service.store.unfinished()}) == 4
    with pytest.raises(NotFound, match="There is no job"):
        service.queue.move("nobody", 0)


def test_a_waiting_job_is_edited_or_left_as_it_was(service):
    job = service.submit(play(seed=5))
    service.queue.edit(job.id, {"steps": 7, "seed": 6, "width": 128})
    changed = service.job(job.id)
    assert (changed.request.steps, changed.request.width, changed.request.seed, changed.seed) == (7, 128, 6, 6)
    for wrong, words in (
        ({"steps": 8, "cfg_scale": "much"}, "cfg_scale is .*must be a number"),
        ({"steps": 8, "sampler_name": "Oiler"}, "Nearest: Euler"),
        ({"override_settings": {}}, "override_settings.* cannot be changed. Change prompt,"),
    ):
        with pytest.raises(InputError, match=words):
            service.queue.edit(job.id, wrong)
        assert service.job(job.id).request == changed.request


def test_an_edited_template_is_counted_again(service):
    job = service.submit(play(prompt="a {red|blue} star", dp_combinatorial=True))
    assert job.request.n_iter == 2
    service.queue.edit(job.id, {"prompt": "a {red|blue|green} star"})
    assert service.job(job.id).request.n_iter == 3
    service.queue.edit(job.id, {"prompt": "a {red|blue} star", "n_iter": 1})
    assert service.job(job.id).request.n_iter == 1


def test_paused_jobs_wait_and_others_do_not(tmp_path):
    with running(tmp_path, puppet_inline()) as service:
        service.queue.pause("ann", True)
        held = service.submit(play(), user="ann")
        assert service.wait(service.submit(play(), user="bob").id, 60).state == "done"
        assert service.job(held.id).state == "queued"
    with running(tmp_path, puppet_inline()) as service:  # over a restart
        assert service.wait(held.id, 1).state == "queued"
        service.queue.pause("ann", False)
        assert service.wait(held.id, 60).state == "done"


def test_a_failed_job_goes_on_where_it_ended_and_a_done_one_is_drawn_anew(tmp_path):
    log = tmp_path / "log"
    with running(tmp_path / "data", puppet_inline(log)) as service:
        failed = service.wait(service.submit(play(n_iter=3, seed=1, fail="No luck.")).id, 60)
        assert (failed.state, len(service.images(failed.id))) == ("failed", 1)
        service.queue.pause("", True)
        assert service.queue.again(failed.id).state == "queued"
        with pytest.raises(InputError, match="has pictures already"):
            service.queue.edit(failed.id, {"prompt": "{}"})
        service.store.replace_request(failed.id, play(n_iter=3, seed=1), 1)  # it has better luck now
        service.queue.pause("", False)
        done = service.wait(failed.id, 60)
        assert (done.state, done.tries, done.message) == ("done", 1, None)
        assert [image.seed for image in service.images(failed.id)] == [1, 2, 3]
        assert len(log.read_text().split("\n")[:-1]) == 3, "no picture was drawn twice"

        again = service.wait(service.queue.again(failed.id).id, 60)
        assert again.id != failed.id and (again.seed, again.request) == (1, done.request)


def test_what_runs_cannot_be_changed(tmp_path: Path):
    with running(tmp_path, puppet_inline()) as service:
        job = service.submit(play(wait="interrupt"))
        while service.job(job.id).state == "queued":
            service.bell.wait(service.bell.count, 0.05)
        for change in (
            lambda: service.queue.edit(job.id, {"steps": 3}),
            lambda: service.queue.move(job.id, 0),
            lambda: service.queue.again(job.id),
        ):
            with pytest.raises(InputError, match="it is running"):
                change()
        service.ask("interrupt", job.id)
        assert service.wait(job.id, 60).state == "stopped"
