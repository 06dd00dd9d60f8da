"""The job store by itself."""

from pathlib import Path

import pytest

from modules.core.errors import StorageError
from modules.jobs.store import JobStore
from modules.requests.img2img import make_img2img_request
from modules.requests.pictures import Picture
from modules.requests.txt2img import make_request


def test_pictures_of_a_job_are_kept_until_it_is_long_over(tmp_path: Path):
    picture, mask = Picture.of(b"p" * 1000), Picture.of(b"m")
    request = make_img2img_request({"init_images": [picture, picture], "mask": mask})
    store = JobStore(tmp_path / "jobs.sqlite3")
    job = store.add(user="", request=request, seed=1, options={})
    store.close()

    store = JobStore(tmp_path / "jobs.sqlite3")
    found = store.get(job.id)
    assert found and found.request == job.request and not found.request.mask.data
    assert store.whole_request(found) == request
    store.forget_given(found.submitted + 100)
    assert store.whole_request(found).mask.data == b"m"  # it still waits

    store.end(job.id, "done")
    store.forget_given(found.submitted + 100)
    with pytest.raises(StorageError, match="no longer kept. Send it again with them."):
        store.whole_request(found)
    store.close()


def test_a_job_that_was_read_before_is_found_as_it_is_now(tmp_path: Path):
    store = JobStore(tmp_path / "jobs.sqlite3")
    first, second = (
        store.add(user="", request=make_request({"prompt": prompt}), seed=1, options={"a": prompt})
        for prompt in ("one", "two")
    )
    assert [job.request.prompt for job in store.some([second.id, "none", first.id])] == ["two", "one"]
    store.start(first.id)
    store.replace_request(second.id, make_request({"prompt": "three"}), 7)
    found = store.some([first.id, second.id])
    assert [(job.state, job.request.prompt, job.seed) for job in found] == [
        ("running", "one", 1),
        ("queued", "three", 7),
    ]
    assert [job.options for job in found] == [{"a": "one"}, {"a": "two"}]
    store.end(first.id, "done")
    store.forget(first.id)
    again = store.add(user="", request=make_request({"prompt": "four"}), seed=1, options={}, job_id=first.id)
    assert again.request.prompt == "four" and again.state == "queued"
    store.close()


def test_pictures_of_several_jobs_come_each_to_its_own(tmp_path: Path):
    store = JobStore(tmp_path / "jobs.sqlite3")
    jobs = [store.add(user="", request=make_request({"prompt": "x"}), seed=1, options={}).id for _ in range(3)]
    for job, position in ((jobs[1], 1), (jobs[0], 0), (jobs[1], 0)):
        kept = {"infotext": "", "seed": 1, "kept": True, "incomplete": False}
        store.add_image(job=job, position=position, path=tmp_path / "a.png", **kept)
    found = store.images_of(jobs)
    assert {job: [image.position for image in images] for job, images in found.items()} == dict(
        zip(jobs, ([0], [0, 1], []), strict=True)
    )
    assert all(found[job] == store.images(job) for job in jobs)
    store.close()
