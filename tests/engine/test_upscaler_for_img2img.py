"""The upscaler that img2img makes small pictures larger with."""

import pytest
from PIL import Image

from modules.core.errors import UnknownName
from modules.images.resizing import CROP, FILL, JUST, resize_picture
from modules.requests.events import Failed, ImageReady
from tests.engine.test_img2img import engine, gradient, png, run
from tests.jobs.helpers import make_service, puppet_inline

assert engine and run  # fixtures


def picture(events) -> bytes:
    return next(event.data for event in events if isinstance(event, ImageReady))


def test_small_pictures_grow_by_it(run):
    small = {"init_images": (png(gradient(32, 32)),), "denoising_strength": 0.1}
    plain = picture(run(**small))
    assert picture(run(**small, override_settings={"upscaler_for_img2img": "None"})) == plain
    assert picture(run(**small, override_settings={"upscaler_for_img2img": "Nearest"})) != plain
    large = {"init_images": (png(gradient(96, 96)),), "denoising_strength": 0.1}
    assert picture(run(**large, override_settings={"upscaler_for_img2img": "Nearest"})) == picture(run(**large))


def test_it_must_be_there(run, tmp_path):
    failed = run(override_settings={"upscaler_for_img2img": "starter-x3"})[-1]
    assert isinstance(failed, Failed) and failed.message.startswith('upscaler_for_img2img "starter-x3" is not known')
    service = make_service(tmp_path, puppet_inline())
    with pytest.raises(UnknownName, match="Nearest: starter-x"):
        service.change_options({"upscaler_for_img2img": "starter-x"})
    service.change_options({"upscaler_for_img2img": "starter-x2"})
    service.close()


@pytest.mark.parametrize(("mode", "asked"), [(JUST, (64, 32)), (CROP, (64, 64)), (FILL, (32, 32))])
def test_each_mode_asks_for_the_size_it_needs(mode, asked):
    sizes = []

    def resize(image: Image.Image, width: int, height: int) -> Image.Image:
        sizes.append((width, height))
        return image.resize((width, height))

    assert resize_picture(gradient(16, 16), mode, 64, 32, resize).size == (64, 32)
    assert sizes == [asked]
