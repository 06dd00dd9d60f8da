"""Pictures sent before their job."""

import io
import os
import time
from pathlib import Path

import pytest
from PIL import Image

from modules.core.errors import InputError
from modules.jobs.uploads import KEPT, OWNERS, Uploads
from modules.requests.img2img import make_img2img_request
from tests.jobs.helpers import puppet_inline, running


def png(colour: str = "red") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), colour).save(buffer, "PNG")
    return buffer.getvalue()


def test_what_is_kept_is_found_by_its_hash(tmp_path: Path):
    uploads = Uploads(tmp_path / "uploads")
    picture = uploads.keep(png())
    assert uploads.find(picture.sha256).data == png()
    assert uploads.keep(png()).sha256 == picture.sha256
    assert len(list((tmp_path / "uploads").iterdir())) == 1


@pytest.mark.parametrize("name", ["", None, 5, "../../etc/passwd", "A" * 64, "0" * 63, ["0" * 64]])
def test_names_that_are_no_hash_are_refused(name: object, tmp_path: Path):
    with pytest.raises(InputError, match="is no picture's hash"):
        Uploads(tmp_path).find(name)


def test_what_is_gone_is_told(tmp_path: Path):
    with pytest.raises(InputError, match=r"^mask is no longer kept here\. Press Generate again"):
        Uploads(tmp_path).find("0" * 64, "mask")


@pytest.mark.parametrize("data", [b"", b"text", png()[:40]])
def test_what_is_no_picture_is_refused(data: bytes, tmp_path: Path):
    with pytest.raises(InputError):
        Uploads(tmp_path / "uploads").keep(data)
    assert not (tmp_path / "uploads").exists()


def test_old_ones_are_pruned(tmp_path: Path):
    uploads = Uploads(tmp_path)
    old = uploads.keep(png("blue"))
    long_ago = time.time() - KEPT - 10
    os.utime(tmp_path / old.sha256, (long_ago, long_ago))
    new = uploads.keep(png("green"))
    assert [path.name for path in tmp_path.iterdir()] == [new.sha256]


def test_F13_what_a_closed_page_has_sent_goes_unless_another_has_it_too(tmp_path: Path):
    ann, bob = ("ann", "1"), ("bob", "1")
    before = Uploads(tmp_path).keep(png("white"))  # the program began anew since
    uploads = Uploads(tmp_path)
    own, shared, plain = (uploads.keep(png(colour), owner=ann) for colour in ("red", "green", "blue"))
    uploads.keep(png("white"), owner=ann)
    uploads.keep(png("green"), owner=bob)
    uploads.keep(png("blue"))
    uploads.leave(("bob", "2"))
    assert len(list(tmp_path.iterdir())) == 4
    uploads.leave(ann)
    assert {path.name for path in tmp_path.iterdir()} == {shared.sha256, plain.sha256, before.sha256}
    with pytest.raises(InputError, match="no longer kept here"):
        uploads.find(own.sha256)
    uploads.leave(bob)
    assert {path.name for path in tmp_path.iterdir()} == {plain.sha256, before.sha256}


def test_F13_a_picture_of_very_many_pages_stays(tmp_path: Path):
    uploads = Uploads(tmp_path)
    for page in range(OWNERS + 5):
        uploads.keep(png(), owner=("ann", str(page)))
    for page in range(OWNERS + 5):
        uploads.leave(("ann", str(page)))
    assert len(list(tmp_path.iterdir())) == 1


def test_F13_a_waiting_job_has_its_picture_when_its_page_is_closed(tmp_path: Path):
    with running(tmp_path, puppet_inline()) as service:
        uploads = Uploads(service.paths.cache / "uploads")
        service.queue.pause("", True)
        picture = uploads.keep(png(), owner=("", "page"))
        job = service.submit(
            make_img2img_request({"prompt": "{}", "init_images": (picture,), "width": 64, "height": 64})
        )
        over = service.submit(
            make_img2img_request({"prompt": "{}", "init_images": (picture,), "width": 64, "height": 64})
        )
        uploads.leave(("", "page"))
        assert not list((service.paths.cache / "uploads").iterdir())
        service.ask("interrupt", over.id)
        for each in (job, service.queue.again(over.id)):
            assert service.store.whole_request(each).init_images[0].data == png()
