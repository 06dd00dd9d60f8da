"""Outputs that cannot be written, from the beginning or in the middle of a job: the pictures are kept, no job hangs."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from modules.images.encode import encode_png
from modules.requests.events import ImageReady
from tests.jobs.helpers import play, puppet_inline, running
from tests.jobs.runners import noise, opens_whole
from tests.server import until


def test_F15_outputs_that_are_no_folder_keep_the_picture_elsewhere(tmp_path):
    (tmp_path / "outputs").write_text("a file where the folder should be")
    with running(tmp_path, puppet_inline()) as service:
        job = service.wait(service.submit(play(n_iter=2)).id, 60)
        images = service.images(job.id)
        assert job.state == "done"
        assert "outputs" in (job.message or "")
        assert [i.kept for i in images] == [False, False]
        assert all(i.path.is_relative_to(tmp_path / "cache") and opens_whole(i.path.read_bytes()) for i in images)
        (tmp_path / "outputs").unlink()
        again = service.wait(service.submit(play()).id, 60)
    assert (again.state, again.message) == ("done", None)


def test_F15_no_place_at_all_fails_the_job_with_a_sentence(tmp_path):
    (tmp_path / "outputs").write_text("a file where the folder should be")
    with running(tmp_path, puppet_inline()) as service:
        (tmp_path / "cache").mkdir(exist_ok=True)
        (tmp_path / "cache" / "results").write_text("and another")
        job = service.wait(service.submit(play()).id, 60)
        assert job.state == "failed"
        assert "results" in (job.message or "")
        assert job.info["kind"] == "StorageError"
        (tmp_path / "cache" / "results").unlink()
        assert service.wait(service.submit(play()).id, 60).state == "done"


@pytest.fixture
def disk(tmp_path) -> Iterator[Path]:
    """A disk of its own for the outputs of `tmp_path`."""
    folder = tmp_path / "outputs"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=90m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("no mounting here")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], capture_output=True)


@pytest.mark.parametrize("change", [["mount", "-o", "remount,ro"], ["umount", "--lazy"]], ids=["ro", "gone"])
def test_F15_outputs_that_turn_read_only_or_go_away_during_a_job(tmp_path, disk, change):
    with running(tmp_path, puppet_inline()) as service:
        job = service.submit(play(n_iter=4, pause=0.1))
        first = until(lambda: service.images(job.id), 60)[0]
        shown = first.path.read_bytes()
        subprocess.run([*change, str(disk)], check=True)
        ended = service.wait(job.id, 60)
        images = service.images(job.id)
        assert (ended.state, [image.position for image in images]) == ("done", [0, 1, 2, 3])
        assert opens_whole(shown) and all(opens_whole(image.path.read_bytes()) for image in images[2:])
        assert images[-1].kept is (change[0] == "umount")  # there is a folder below
        assert ("cannot be written" in (ended.message or "")) is (change[0] == "mount")
        again = service.wait(service.submit(play()).id, 60)
    assert again.state == "done"


def test_F14_names_that_differ_by_case_or_unicode_form_are_never_written_over(tmp_path):
    names = ["Star", "star", "\u00c4", "A\u0308", "\u00c4"]
    options = {"samples_filename_pattern": "[prompt]", "save_images_add_number": False}
    with running(tmp_path, puppet_inline(), **options) as service:
        kept = []
        for seed, name in enumerate(names):
            job = service.submit(play(seed=seed))
            image = ImageReady(
                index=0,
                data=encode_png(noise(seed, 8), ""),
                infotext="",
                seed=seed,
                fields={"seed": seed, "prompt": name},
            )
            service.wait(job.id, 60)
            assert service._writer.save(job, service.settings.current, image) is None
            kept.append((service.images(job.id)[0].path, image.data))
        assert len({path for path, _ in kept}) == len(names)
        assert all(path.read_bytes() == data for path, data in kept)
        service.album._scan()
        assert {path.name for path, _ in kept} <= {entry.path.name for entry in service.album.store.entries("")}
