"""Where pictures from Extras are saved, and what is refused before a job begins."""

import pytest

from modules.core.errors import InputError, UnknownName
from modules.engine.build import build_engine
from modules.jobs.executors.inline import InlineExecutor
from modules.requests.events import ImageReady
from modules.requests.extras import make_extras_request
from modules.requests.pictures import Picture
from tests.engine.test_extras import png
from tests.jobs.helpers import make_service


@pytest.fixture
def service(tmp_path):
    service = make_service(tmp_path, InlineExecutor(lambda: None))  # type: ignore[arg-type, return-value]
    service._executor = InlineExecutor(lambda: build_engine(paths=service.paths, use_cpu=True))
    service.start()
    yield service
    service.close()


def saved(service, **values) -> list[str]:
    job = service.submit(make_extras_request({"upscaler_1": "Nearest", "upscaling_resize": 2, **values}))
    ended = service.wait(job.id, 60)
    assert ended.state == "done", ended.message
    assert all(image.kept for image in service.images(job.id))
    return [str(image.path.relative_to(service.paths.data)) for image in service.images(job.id)]


def test_names_and_folders(service):
    images = [Picture.of(png()), Picture.of(png(seed=1))]
    assert saved(service, images=images) == ["outputs/extras-images/00000.png", "outputs/extras-images/00001.png"]
    assert saved(service, images=images, names=["one.jpg", "../two"]) == [
        "outputs/extras-images/one.png",
        "outputs/extras-images/two.png",
    ]
    (again,) = saved(service, images=images[:1], names=["one.png"])
    assert again.startswith("outputs/extras-images/one-") and len(service.store.unfinished()) == 0
    folder = service.paths.data / "in"
    folder.mkdir()
    (folder / "cat.png").write_bytes(png())
    assert saved(service, input_dir=str(folder), output_dir="made/here") == ["made/here/cat.png"]
    service.change_options({"use_original_name_batch": False, "outdir_extras_samples": "other"})
    assert saved(service, input_dir="in") == ["other/00000.png"]


def test_the_upscaler_may_be_in_the_name(service):
    service.change_options({"use_upscaler_name_as_suffix": True, "outdir_samples": "all"})
    images = [Picture.of(png())]
    assert saved(service, images=images, names=["one.jpg"]) == ["all/one-Nearest.png"]
    assert saved(service, images=images) == ["all/00000-Nearest.png"]
    assert saved(service, images=images, upscaler_1="None") == ["all/00001.png"]


@pytest.mark.parametrize(
    ("values", "field", "words"),
    [
        ({"upscaler_1": "Lanczoss"}, "upscaler_1", "Nearest: Lanczos"),
        ({"images": (), "input_dir": "nowhere"}, "input_dir", "does not exist"),
        ({"images": (), "input_dir": "."}, "input_dir", "holds no picture"),
        ({"images": (), "input_dir": "a\0b"}, "input_dir", "is no folder"),
        ({"output_dir": "modules"}, "output_dir", None),
        ({"gfpgan_visibility": 1}, "gfpgan_visibility", "models/GFPGAN"),
    ],
)
def test_refused(service, values, field, words):
    if field == "output_dir":
        from modules.core.paths import ROOT

        values, words = {"output_dir": str(ROOT / "modules" / "x")}, "holds the program"
    with pytest.raises(InputError, match=words) as caught:
        service.submit(make_extras_request({"images": [Picture.of(png())], **values}))
    assert caught.value.field == field
    assert isinstance(caught.value, UnknownName) == (field == "upscaler_1")
    assert not service.store.unfinished()


def test_a_caption_lies_beside_its_picture(service):
    job = service.submit(make_extras_request({"images": [Picture.of(png())], "upscaler_1": "Nearest"}))
    service.wait(job.id, 60)
    ready = ImageReady(index=7, data=png(), infotext="", seed=0, name="cat", caption="a red cat")
    assert service._writer.save(job, service.settings.current, ready) is None
    assert (service.paths.data / "outputs" / "extras-images" / "cat.txt").read_text() == "a red cat"
