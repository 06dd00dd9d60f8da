"""What is saved and shown beside pictures where settings ask for it."""

import hashlib
import io

import numpy as np
import pytest
from PIL import Image

from modules.engine.build import build_engine
from modules.images.encode import read_infotext
from modules.images.infotext import parse_infotext
from modules.jobs.executors.inline import InlineExecutor
from modules.requests.events import FIRST_MAP
from modules.requests.img2img import make_img2img_request
from modules.requests.pictures import Picture
from tests.engine.test_img2img import disc, gradient, png
from tests.jobs.helpers import make_service, puppet_inline, running
from tests.jobs.test_service import play
from tests.tiny import write_tiny

SMALL = {"prompt": "star", "width": 64, "height": 64, "steps": 2, "sampler_name": "Euler", "seed": 5}


@pytest.fixture
def service(tmp_path):
    write_tiny(tmp_path / "models" / "Stable-diffusion" / "model.safetensors")
    service = make_service(tmp_path, InlineExecutor(lambda: None))  # type: ignore[arg-type, return-value]
    service._executor = InlineExecutor(lambda: build_engine(paths=service.paths, use_cpu=True))
    service.start()
    yield service
    service.close()


def drawn(service, options, **values):
    service.change_options({"save_to_dirs": False, "samples_filename_pattern": "[seed]", **options})
    values = {**SMALL, "init_images": [png(gradient())], **values}
    job = service.wait(service.submit(make_img2img_request(values)).id, 120)
    assert (job.state, job.message) == ("done", None)
    return service.images(job.id)


def saved(service, folder="img2img-images"):
    return {path.name: path for path in (service.paths.outputs / "outputs" / folder).glob("*")}


def opened(path):
    return Image.open(io.BytesIO(path.read_bytes()))


def test_masks_and_composites_are_saved(service):
    images = drawn(
        service, {"save_mask": True, "save_mask_composite": True}, mask=png(disc()), mask_blur_x=0, mask_blur_y=0
    )
    files = saved(service)
    assert sorted(name.partition("-")[2] for name in files) == ["5-mask-composite.png", "5-mask.png", "5.png"]
    assert len(images) == 1, "nothing of them is shown"
    mask = next(path for name, path in files.items() if name.endswith("5-mask.png"))
    assert np.array_equal(np.asarray(opened(mask)), np.asarray(disc()))
    composite = next(path for name, path in files.items() if name.endswith("5-mask-composite.png"))
    cut, picture = np.asarray(opened(composite)), np.asarray(opened(images[0].path))
    masked = np.asarray(disc()) > 0
    assert cut.shape == (64, 64, 4)
    assert (cut[..., 3] == np.asarray(disc())).all()
    assert (cut[masked][:, :3] == picture[masked]).all()
    assert not cut[~masked].any()
    assert "Seed: 5" in opened(mask).text["parameters"]  # type: ignore[attr-defined]


def test_masks_and_composites_are_shown_of_the_whole_picture(service):
    whole, mask = gradient(160, 96), disc(160, 96, (120, 40), 12)
    values = {"init_images": [png(whole)], "mask": png(mask), "inpaint_full_res": 1, "mask_blur_x": 0}
    options = {"return_mask": True, "return_mask_composite": True}
    images = drawn(service, options, **values, mask_blur_y=0, n_iter=2)
    assert [image.position for image in images] == [0, 1, FIRST_MAP, FIRST_MAP + 1, FIRST_MAP + 2]
    shown = [opened(image.path) for image in images[2:]]
    assert [image.mode for image in shown] == ["L", "RGBA", "RGBA"], "the mask that both share is there once"
    assert {image.size for image in shown} == {(160, 96)}
    assert np.array_equal(np.asarray(shown[0]), np.asarray(mask))
    picture, masked = np.asarray(opened(images[1].path)), np.asarray(mask) > 0
    assert (np.asarray(shown[2])[masked][:, :3] == picture[masked]).all()
    assert len(saved(service)) == 2


def test_without_a_mask_there_is_nothing_to_show(service):
    names = ("save_mask", "save_mask_composite", "return_mask", "return_mask_composite")
    assert len(drawn(service, dict.fromkeys(names, True))) == 1
    assert len(saved(service)) == 1


def test_colours_as_they_were_drawn(service):
    option = "save_images_before_color_correction"
    drawn(service, {option: True, "img2img_color_correction": True})
    files = saved(service)
    assert len(files) == 2
    copy = next(path for name, path in files.items() if name.endswith("-before-color-correction.png"))
    plain = drawn(service, {"img2img_color_correction": False})
    assert np.array_equal(np.asarray(opened(copy)), np.asarray(opened(plain[0].path)))
    assert len(saved(service)) == 3, "without correction there is no copy"


def test_init_images_are_saved_once_under_what_is_in_them(service):
    first = Picture.of(png(gradient()).data)
    name = hashlib.md5(gradient().tobytes()).hexdigest()
    for _ in range(2):
        images = drawn(service, {"save_init_img": True, "outdir_init_images": "begun"}, init_images=[first])
    assert [path.name for path in (service.paths.outputs / "begun").iterdir()] == [f"{name}.png"]
    assert (service.paths.outputs / "begun" / f"{name}.png").read_bytes() == first.data
    assert parse_infotext(images[0].infotext).fields["Init image hash"] == name
    assert "Init image hash" not in drawn(service, {"save_init_img": False})[0].infotext


def test_infotexts_lie_beside_pictures_and_grids(tmp_path):
    with running(tmp_path, puppet_inline(), save_txt=True, grid_save=True) as service:
        job = service.wait(service.submit(play(n_iter=2, seed=5)).id, 60)
        images = service.images(job.id)
        service.change_options({"save_txt": False})
        later = service.images(service.wait(service.submit(play(seed=9)).id, 60).id)
    for image in images:
        assert image.path.with_suffix(".txt").read_text() == f"{image.infotext}\n"
    assert len(images) >= 2
    assert len([*tmp_path.rglob("grid-*.txt")]) == 1
    assert not later[0].path.with_suffix(".txt").exists()


def test_who_asked_is_told_where_that_is_wanted(service):
    told = {}
    for wanted in (False, True):
        service.change_options({"add_user_name_to_info": wanted})
        for user in ("", "anna"):
            job = service.submit(make_img2img_request({**SMALL, "init_images": [png(gradient())]}), user)
            assert service.wait(job.id, 120).state == "done"
            told[wanted, user] = parse_infotext(service.images(job.id)[0].infotext).fields.get("User")
    assert told == {(False, ""): None, (False, "anna"): None, (True, ""): None, (True, "anna"): "anna"}


@pytest.mark.parametrize(("options", "size"), [
    ({"target_side_length": 4}, (4, 4)),
    ({"img_downscale_threshold": 0}, (8, 8)),
    ({}, None),
    ({"target_side_length": 4, "export_for_4chan": False}, None),
])  # fmt: skip
def test_large_pictures_have_a_copy_as_jpg(tmp_path, options, size):
    with running(tmp_path, puppet_inline(), **options) as service:
        (image,) = service.images(service.wait(service.submit(play(seed=5)).id, 60).id)
    copy = image.path.with_suffix(".jpg")
    assert copy.is_file() == (size is not None)
    if size:
        assert opened(copy).size == size
        assert opened(image.path).size == (8, 8), "the picture itself stays"
        assert read_infotext(copy.read_bytes()) == image.infotext


def test_words_of_the_prompt_in_names(tmp_path):
    options = {"directories_filename_pattern": "[prompt_words]", "directories_max_prompt_words": 1}
    with running(tmp_path, puppet_inline(), **options) as service:
        (image,) = service.images(service.wait(service.submit(play(seed=5)).id, 60).id)
    assert image.path.parent.name == "picture"


def test_what_cannot_be_saved_beside_a_picture_costs_it_alone(tmp_path):
    options = {"samples_filename_pattern": "p", "save_images_add_number": False, "save_to_dirs": False}
    with running(tmp_path, puppet_inline(), save_txt=True, **options) as service:
        (service.paths.outputs / "outputs" / "txt2img-images" / "p.txt").mkdir(parents=True)
        job = service.wait(service.submit(play(seed=5)).id, 60)
        (image,) = service.images(job.id)
    assert (job.state, image.kept) == ("done", True)
    assert image.path.is_file()
    assert job.message
    assert job.message.endswith('"p.png" is saved; what the settings want beside it is not.')
