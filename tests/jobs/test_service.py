"""The queue over a real store: nothing accepted is lost, whatever dies."""

import json
import os
import sqlite3
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from modules.core.errors import InputError, NotFound, QueueFull, StorageError
from modules.core.paths import Paths
from modules.core.policy import HOME
from modules.core.settings import Settings
from modules.core.user import OWNER
from modules.jobs import service as service_module
from modules.jobs.executors.process import ProcessExecutor
from modules.jobs.store import Job, JobStore
from tests.jobs.helpers import make_service, play, puppet_inline, puppet_process, running, write_checkpoint
from tests.jobs.runners import opens_whole
from tests.server import until


def drawn(log: Path) -> list[str]:
    return log.read_text().split("\n")[:-1] if log.exists() else []


def said(job: Job) -> str:
    assert job.message is not None
    return job.message


def test_a_job_and_its_pictures(tmp_path):
    with running(tmp_path, puppet_inline()) as service:
        job = service.wait(service.submit(play(n_iter=2, batch_size=2, seed=5)).id, 60)
        images = service.images(job.id)
    assert (job.state, job.tries, job.message) == ("done", 1, None)
    assert [(i.position, i.seed, i.kept) for i in images] == [(p, 5 + p, True) for p in range(4)]
    assert all(opens_whole(i.path.read_bytes()) for i in images)
    assert all(i.path.is_relative_to(tmp_path / "outputs" / "txt2img-images") for i in images)


def test_C1_accepted_means_on_disk(tmp_path):
    service = make_service(tmp_path, puppet_inline())
    job = service.submit(play(), user="anna")
    other = JobStore(Paths(data=tmp_path).jobs)
    assert other.get(job.id) == job
    assert other.recent(1)[0].options["sd_model_checkpoint"] == "model.safetensors"
    other.close()
    service.store.close()


def test_restart_takes_up_queued_and_running_jobs(tmp_path):
    first = make_service(tmp_path, puppet_inline())
    jobs = [first.submit(play(n_iter=2)) for _ in range(3)]
    first.store.start(jobs[0].id)  # the program is killed here
    first.store.close()
    with running(tmp_path, puppet_inline()) as service:
        ended = [service.wait(job.id, 60) for job in jobs]
    assert [(job.state, job.tries) for job in ended] == [("done", 2), ("done", 1), ("done", 1)]


def test_close_in_the_middle_is_no_try(tmp_path):
    with running(tmp_path, puppet_process()) as service:
        job = service.submit(play(n_iter=100, pause=0.01))
        until(lambda: service.images(job.id), 60)
    with running(tmp_path, puppet_inline()) as service:
        stored = service.job(job.id)
        assert (stored.state, stored.tries) != ("failed", 2)
        assert service.wait(job.id, 120).state == "done"
        assert service.job(job.id).tries == 1
        assert len(service.images(job.id)) == 100


def test_death_of_the_engine_is_retried_once_and_nothing_done_twice(tmp_path):
    log, marker = tmp_path / "drawn", tmp_path / "died"
    with running(tmp_path, puppet_process(log)) as service:
        job = service.wait(service.submit(play(n_iter=4, die=2, once=str(marker))).id, 120)
        images = service.images(job.id)
    assert (job.state, job.tries, marker.exists()) == ("done", 2, True)
    assert drawn(log) == [f"{job.id} {position}" for position in range(4)]
    assert [i.position for i in images] == [0, 1, 2, 3]
    assert len(set((tmp_path / "outputs").rglob("*.png"))) == 4


def test_R4_a_job_whose_gpu_was_lost_is_retried_once(tmp_path):
    marker = tmp_path / "lost"
    with running(tmp_path, puppet_process()) as service:
        job = service.wait(service.submit(play(n_iter=2, lost="The GPU failed.", once=str(marker))).id, 120)
        always = service.wait(service.submit(play(lost="The GPU failed.")).id, 120)
        assert service.wait(service.submit(play()).id, 120).state == "done"
    assert (job.state, job.tries) == ("done", 2)
    assert (always.state, always.tries) == ("failed", 2)
    assert said(always).startswith("The GPU failed. It was tried 2 times.")


def test_C12_a_job_that_always_kills_the_engine_is_parked(tmp_path):
    with running(tmp_path, puppet_process()) as service:
        bad = service.submit(play(n_iter=3, die=1))
        good = service.submit(play())
        ended = service.wait(bad.id, 120)
        assert (ended.state, ended.tries) == ("failed", 2)
        assert "SIGKILL" in said(ended)
        assert "2 times" in said(ended)
        assert [i.position for i in service.images(bad.id)] == [0]
        assert service.wait(good.id, 120).state == "done"


def test_kill_from_outside_at_random_moments(tmp_path):
    log = tmp_path / "drawn"
    executor = puppet_process(log)
    with running(tmp_path, executor) as service:
        for count in (1, 3, 6):
            job = service.submit(play(n_iter=8, pause=0.1))
            until(lambda job=job, count=count: len(service.images(job.id)) >= count, 120)
            assert executor.pid
            os.kill(executor.pid, 9)
            ended = service.wait(job.id, 120)
            assert (ended.state, ended.tries) == ("done", 2)
            images = service.images(job.id)
            assert [i.position for i in images] == list(range(8))
            assert all(opens_whole(i.path.read_bytes()) for i in images)


def test_engine_that_cannot_start_parks_the_job_with_its_reason(tmp_path):
    with running(tmp_path, ProcessExecutor("tests.jobs.runners:build_broken", {})) as service:
        job = service.wait(service.submit(play()).id, 120)
    assert job.state == "failed"
    assert "no such device" in said(job)


def test_failure_keeps_its_sentence_and_the_next_job_works(tmp_path):
    with running(tmp_path, puppet_inline()) as service:
        bad = service.wait(service.submit(play(n_iter=2, fail="The file is broken.")).id, 60)
        good = service.wait(service.submit(play()).id, 60)
    assert (bad.state, bad.message, bad.info["kind"]) == ("failed", "The file is broken.", "ModelFileError")
    assert good.state == "done"


def test_mistake_of_the_runner_fails_the_job_only(tmp_path):
    with running(tmp_path, puppet_inline()) as service:
        bad = service.wait(service.submit(play(raises="secret detail")).id, 60)
        assert bad.state == "failed"
        assert "RuntimeError" in said(bad)
        assert "secret" not in said(bad)
        assert service.wait(service.submit(play()).id, 60).state == "done"


def test_interrupt_of_the_running_job(tmp_path):
    with running(tmp_path, puppet_process()) as service:
        job = service.submit(play(n_iter=3, wait="interrupt"))
        until(lambda: (live := service.live(job.id)) and live.progress, 60)
        service.ask("interrupt")
        assert service.wait(job.id, 60).state == "stopped"


def test_interrupt_after_current(tmp_path):
    with running(tmp_path, puppet_process()) as service:
        desk = service.desk(OWNER)

        def begun(**played) -> str:
            job = service.submit(play(**played))
            until(lambda: (live := service.live(job.id)) and live.progress, 60)
            return job.id

        several = begun(n_iter=3, wait="finish")
        desk.stop([several])
        assert service.wait(several, 60).state == "stopped"
        assert len(service.images(several)) == 1
        twice = begun(n_iter=3, wait="interrupt")
        desk.stop([twice])
        assert service.wishes() == {"finish"}
        desk.stop([twice])
        assert service.wait(twice, 60).state == "stopped"
        assert service.images(twice) == []
        batch = [begun(wait="finish"), service.submit(play()).id]  # one job a picture
        desk.stop(batch)
        assert [service.wait(job, 60).state for job in batch] == ["done", "stopped"]
        assert len(service.images(batch[0])) == 1
        alone = begun(wait="interrupt")
        desk.stop([alone])
        assert service.wait(alone, 60).state == "stopped"
        service.change_options({"interrupt_after_current": False})
        several = begun(n_iter=3, wait="interrupt")
        desk.stop([several])
        assert service.wait(several, 60).state == "stopped"
        assert service.images(several) == []


def test_skip_goes_on_with_the_next_batch(tmp_path):
    with running(tmp_path, puppet_process()) as service:
        job = service.submit(play(n_iter=2, wait="skip"))
        for batch in range(2):
            until(
                lambda batch=batch: (live := service.live(job.id)) and live.progress and live.progress.batch == batch,
                60,
            )
            assert service.wishes() == set()
            service.ask("skip", job.id)
        assert service.wait(job.id, 60).state == "done"
        assert service.images(job.id) == []


def test_interrupt_of_a_waiting_job_takes_it_out(tmp_path):
    with running(tmp_path, puppet_process()) as service:
        first = service.submit(play(wait="interrupt"))
        second, third = service.submit(play()), service.submit(play())
        until(lambda: service.live(first.id), 60)
        assert [service.position(job.id) for job in (first, second, third)] == [0, 1, 2]
        service.ask("interrupt", second.id)
        assert service.job(second.id).state == "stopped"
        assert service.job(first.id).state == "running"
        service.ask("skip", third.id)
        assert service.job(third.id).state == "queued"
        service.ask("interrupt", first.id)
        assert service.wait(third.id, 60).state == "done"


def test_interrupt_with_nothing_to_do_is_no_fault(tmp_path):
    with running(tmp_path, puppet_inline()) as service:
        service.ask("interrupt")
        service.ask("skip", "no such job")
        assert service.wait(service.submit(play()).id, 60).state == "done"


def test_users_take_turns(tmp_path):
    service = make_service(tmp_path, puppet_inline())
    jobs = {service.submit(play(), user=user).id: user for user in "aaaabbbbcd"}
    service.start()
    ended = [service.wait(job, 60) for job in jobs]
    order = "".join(jobs[job.id] for job in sorted(ended, key=lambda job: job.started or 0))
    service.close()
    assert sorted(order[:4]) == ["a", "b", "c", "d"]
    assert order[4:] in ("ababab", "bababa")


def test_newcomers_do_not_wait_for_two_old_hands(tmp_path):
    """With two users ahead by number, a rule that looks at the last user only would let these two alternate for ever."""
    service = make_service(tmp_path, puppet_inline())
    for _ in range(20):
        service.submit(play(), user="a")
        service.submit(play(), user="b")
    late = service.submit(play(), user="c")
    assert service.position(late.id) <= 2
    service.start()
    ended = service.wait(late.id, 60)
    before = [job for job in service.store.recent(100) if job.started and job.started < (ended.started or 0)]
    service.close()
    assert len(before) <= 2


def test_L6_settings_are_those_of_the_moment_of_submission(tmp_path):
    write_checkpoint(tmp_path / "models" / "Stable-diffusion" / "model.safetensors")
    write_checkpoint(tmp_path / "models" / "Stable-diffusion" / "sub" / "other.safetensors")
    service = make_service(tmp_path, puppet_inline())
    before = service.submit(play(override_settings={"CLIP_stop_at_last_layers": 2}))
    service.change_options({"sd_model_checkpoint": "other", "eta_ancestral": 0.5})
    after = service.submit(play())
    assert (before.options["sd_model_checkpoint"], before.options["eta_ancestral"]) == ("model.safetensors", 1.0)
    assert before.options["CLIP_stop_at_last_layers"] == 2
    assert (after.options["sd_model_checkpoint"], after.options["eta_ancestral"]) == ("sub/other.safetensors", 0.5)
    assert after.options["CLIP_stop_at_last_layers"] == 1
    service.store.close()


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"sampler_name": "Eular"}, "sampler_name"),
        ({"scheduler": "Karass"}, "scheduler"),
        ({"override_settings": {"sd_model_checkpoint": "modle"}}, "sd_model_checkpoint"),
        ({"override_settings": {"nonsense": 1}}, "option"),
        ({"override_settings": {"eta_ancestral": 9}}, "eta_ancestral"),
        ({"override_settings": {"outdir_txt2img_samples": "modules"}}, "outdir_txt2img_samples"),
    ],
)
def test_wrong_names_are_refused_before_anything_is_stored(tmp_path, values, field):
    service = make_service(tmp_path, puppet_inline())
    if field == "outdir_txt2img_samples":
        values["override_settings"][field] = str(Path(service_module.__file__).parents[1])
    with pytest.raises(InputError) as caught:
        service.submit(play(**values))
    assert caught.value.field == field
    assert service.store.recent(10) == []
    service.store.close()


def test_task_ids(tmp_path):
    service = make_service(tmp_path, puppet_inline())
    assert service.submit(play(), job_id="task(1a-b_C)").id == "task(1a-b_C)"
    with pytest.raises(InputError, match="taken"):
        service.submit(play(), job_id="task(1a-b_C)")
    for bad in ("", "../../x", "a/b", "a\\b", "..", "x" * 101, "a\0", "ä"):
        with pytest.raises(InputError, match="force_task_id"):
            service.submit(play(), job_id=bad)
    assert len(service.store.recent(10)) == 1
    service.store.close()


def test_same_task_id_at_the_same_moment_is_one_job(tmp_path):
    service = make_service(tmp_path, puppet_inline())
    refused: list[InputError] = []

    def submit() -> None:
        try:
            service.submit(play(), job_id="task1")
        except InputError as error:
            refused.append(error)

    threads = [threading.Thread(target=submit) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refused) == 7
    assert len(service.store.recent(10)) == 1
    service.store.close()


def test_queue_has_an_end(tmp_path):
    service = make_service(tmp_path, puppet_inline())
    service.policy = replace(HOME, queued=3)
    for _ in range(3):
        service.submit(play())
    with pytest.raises(QueueFull, match="3 jobs"):
        service.submit(play())
    service.store.close()


def test_unkept_pictures_go_after_some_days(tmp_path):
    with running(tmp_path, puppet_inline()) as service:
        job = service.wait(service.submit(play(save_images=False)).id, 60)
        image = service.images(job.id)[0]
        assert (image.kept, image.path.exists()) == (False, True)
    database = sqlite3.connect(Paths(data=tmp_path).jobs)
    with database:
        database.execute("UPDATE images SET made=made-86400*4")
    database.close()
    with running(tmp_path, puppet_inline()) as service:
        assert service.images(job.id) == []
        assert not image.path.exists()


def test_restart_sweeps_up_half_written_files(tmp_path):
    service = make_service(tmp_path, puppet_inline())
    job = service.submit(play())
    service.store.start(job.id)
    service.store.close()
    folder = tmp_path / "outputs" / "txt2img-images" / "2026-01-01"
    folder.mkdir(parents=True)
    ours, foreign = folder / ".atelier-0123.tmp", folder / ".editor.tmp"
    ours.write_bytes(b"half")
    foreign.write_bytes(b"not ours")
    with running(tmp_path, puppet_inline()) as service:
        service.wait(job.id, 60)
    assert not ours.exists()
    assert foreign.exists()


def test_unknown_job(tmp_path):
    service = make_service(tmp_path, puppet_inline())
    with pytest.raises(NotFound, match="nope"):
        service.job("nope")
    assert service.position("nope") == 0
    service.store.close()


def test_store_that_cannot_be_opened(tmp_path):
    (tmp_path / "jobs.sqlite3").mkdir()
    with pytest.raises(StorageError, match="jobs.sqlite3"):
        make_service(tmp_path, puppet_inline())


@pytest.mark.parametrize(
    "request_text",
    ["{", "{}x", '{"nonsense": 1}', '{"steps": 0}', "[]", '{"batch_size": 64, "width": 16384, "height": 2048}'],
)
def test_D10_job_of_another_version_does_not_stop_the_start(tmp_path, request_text):
    service = make_service(tmp_path, puppet_inline())
    odd, good = service.submit(play()), service.submit(play())
    service.store.close()
    database = sqlite3.connect(Paths(data=tmp_path).jobs)
    with database:
        database.execute("UPDATE jobs SET request=? WHERE id=?", (request_text, odd.id))
    with running(tmp_path, puppet_inline()) as service:
        assert service.wait(good.id, 60).state == "done"
        with pytest.raises(NotFound):
            service.job(odd.id)
    assert database.execute("SELECT state FROM jobs WHERE id=?", (odd.id,)).fetchall() == [("failed",)]
    database.close()


def test_end_that_could_not_be_written_is_made_up_for(tmp_path):
    """The worker is idle, and a row says that a job runs: its end was lost, the job is not."""
    with running(tmp_path, puppet_inline()) as service:
        job = service.wait(service.submit(play()).id, 60)
        service.store._db.write("UPDATE jobs SET state='running' WHERE id=?", (job.id,))
        assert service.wait(job.id, 60).state == "done"
        assert service.job(job.id).tries == 2


def test_options_that_another_version_stored(tmp_path):
    service = make_service(tmp_path, puppet_inline())
    job = service.submit(play(override_settings={"eta_ancestral": 0.5}))
    service.store.close()
    database = sqlite3.connect(Paths(data=tmp_path).jobs)
    with database:
        options = {"eta_ancestral": 0.5, "an_option_of_tomorrow": 1, "sd_model_checkpoint": "model.safetensors"}
        database.execute("UPDATE jobs SET options=? WHERE id=?", (json.dumps(options), job.id))
    database.close()
    orders = []
    executor = puppet_inline()
    run = executor.run
    executor.run = lambda order, *rest, **more: (orders.append(order), run(order, *rest, **more))[1]
    with running(tmp_path, executor) as service:
        assert service.wait(job.id, 60).state == "done"
    assert (
        orders[0].options
        == Settings().changed({"eta_ancestral": 0.5, "sd_model_checkpoint": "model.safetensors"}).flat()
    )
