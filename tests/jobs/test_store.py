"""The job store by itself."""

from pathlib import Path

import pytest

from modules.core.errors import StorageError
from modules.jobs.store import JobStore
from modules.requests.img2img import make_img2img_request
from modules.requests.pictures import Picture


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
    store.forget_unkept(found.submitted + 100)
    assert store.whole_request(found).mask.data == b"m"  # it still waits

    store.end(job.id, "done")
    store.forget_unkept(found.submitted + 100)
    with pytest.raises(StorageError, match="no longer kept. Send it again with them."):
        store.whole_request(found)
    store.close()
