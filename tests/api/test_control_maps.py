"""What ControlNet units went by, shown after the pictures as the extension does; and folders of the server that units name."""

import base64
import io
import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from modules.core.errors import Forbidden, InputError
from modules.core.user import User
from modules.jobs.control_folders import with_folders
from modules.requests.txt2img import make_request
from tests.tiny_control import tiny_controlnet, write_controlnet

SQUARE = np.zeros((64, 64, 3), np.uint8)
SQUARE[16:48, 16:48] = 255


def png(pixels):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


UNIT = {"module": "canny", "model": "tiny-canny", "image": base64.b64encode(png(SQUARE)).decode()}


@pytest.fixture(scope="module", autouse=True)
def controlnet(service):
    write_controlnet(service.paths.data / "models" / "ControlNet" / "tiny-canny.safetensors", tiny_controlnet(1))


def asked(draw, *units, **values):
    """The pictures of the answer as arrays, and its `info`."""
    answer = draw(alwayson_scripts={"ControlNet": {"args": list(units)}}, **values)
    images = [Image.open(io.BytesIO(base64.b64decode(image))) for image in answer["images"]]
    return [np.asarray(image.convert("RGB")) for image in images], json.loads(answer["info"])


def test_maps_come_after_the_pictures(draw):
    images, info = asked(draw, UNIT, n_iter=2, seed=5)
    assert len(images) == 3
    edges = images[2]
    assert edges.shape == (64, 64, 3) and set(np.unique(edges)) == {0, 255}
    assert edges[20:44, 20:44].max() == 0 and edges[:, 14:18].max() == 255  # the square's outline alone
    assert info["all_seeds"] == [5, 6] and len(info["infotexts"]) == len(info["all_prompts"]) == 2
    assert info["index_of_first_image"] == 0
    both = asked(draw, UNIT, {**UNIT, "module": "invert"})[0]
    assert len(both) == 3 and np.array_equal(both[1], edges) and np.array_equal(both[2], 255 - SQUARE)


def test_without_a_preprocessor_the_picture_itself_is_the_map(draw):
    images, _ = asked(draw, {**UNIT, "module": "none"})
    assert len(images) == 2 and np.array_equal(images[1], SQUARE)


def test_a_second_pass_has_its_map_first(draw):
    images, _ = asked(draw, UNIT, enable_hr=True, hr_scale=2, denoising_strength=0.5)
    assert [image.shape[:2] for image in images] == [(128, 128), (128, 128), (64, 64)]


def test_nobody_who_does_not_want_maps_gets_them(draw):
    assert len(asked(draw, {**UNIT, "save_detected_map": False})[0]) == 1
    assert len(asked(draw, UNIT, override_settings={"control_net_no_detectmap": True})[0]) == 1
    assert len(asked(draw, {**UNIT, "enabled": False})[0]) == 1


def test_what_is_masked_is_paler_in_the_map(draw):
    mask = base64.b64encode(png(255 - SQUARE)).decode()
    shown = asked(draw, {**UNIT, "module": "inpaint_only", "mask": mask})[0][1]
    assert shown[32, 32].tolist() == [255] * 3 and shown[2, 2].tolist() == [127] * 3


def test_maps_are_saved_only_if_that_is_wanted(draw, service):
    saved = service.paths.outputs / "outputs" / "txt2img-images" / "detected_maps"
    wanted = {"control_net_detectmap_autosaving": True}
    for values in ({"save_images": True}, {"override_settings": wanted}):
        asked(draw, UNIT, **values)
        assert not list(service.paths.outputs.rglob("detected_maps"))
    asked(draw, UNIT, {**UNIT, "module": "none"}, save_images=True, override_settings=wanted)
    assert [file.relative_to(saved).as_posix() for file in saved.rglob("*.png")] == ["canny/00000-canny.png"]
    assert all(image.position < 900_000 for image in service.store.images(service.store.recent(1)[0].id) if image.kept)


def test_scripts_show_a_map_once(draw):
    axes = [4, "1,2", [], 0, "", [], 0, "", [], *[False] * 7, 0, False]  # X: Steps
    images, _ = asked(draw, UNIT, script_name="X/Y/Z plot", script_args=axes)
    assert sum(set(np.unique(image)) <= {0, 255} and image.shape == (64, 64, 3) for image in images) == 1


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "maps").mkdir()
    for name, shade in (("b.png", 200), ("a.png", 100), ("c.png", 50)):
        (tmp_path / "maps" / name).write_bytes(png(np.full((64, 64, 3), shade, np.uint8)))
    (tmp_path / "maps" / "notes.txt").write_text("no picture")
    return tmp_path / "maps"


def test_a_folder_is_drawn_from_picture_by_picture(draw, folder):
    unit = {**UNIT, "module": "none"}
    images, info = asked(draw, {**unit, "batch_images": str(folder)}, seed=3)
    assert len(images) == 3 and info["all_seeds"] == [3, 4, 5]
    shades = [np.asarray(Image.open(folder / name)) for name in ("a.png", "b.png", "c.png")]
    for number, shade in enumerate(shades):
        alone, _ = asked(draw, {**unit, "image": base64.b64encode(png(shade)).decode()}, seed=3 + number)
        assert np.array_equal(alone[0], images[number])


def test_a_folder_of_the_server_is_for_administrators(service, folder, monkeypatch):
    request = make_request({"control": [{**UNIT, "image": None, "batch_images": str(folder)}]})
    with pytest.raises(Forbidden, match=r"control.0.batch_images names a folder of the server: that is for admin"):
        service.desk(User(name="ann")).submit(request)
    monkeypatch.setattr(service, "policy", replace(service.policy, paths=False))
    with pytest.raises(Forbidden, match="refused through a tunnel"):
        service.desk(User(name="root", admin=True)).submit(request)


def test_wrong_folders_are_named(tmp_path, folder):
    def refused(path, said):
        with pytest.raises(InputError, match=said):
            with_folders(make_request({"control": [{"model": "x", "batch_images": str(path)}]}), tmp_path)

    refused("nowhere", r'control.0.batch_images "nowhere" cannot be read: No such file')
    refused("a\0b", "cannot be read")
    refused(tmp_path, "holds no picture")
    (folder / "d.png").write_text("no picture")
    refused("maps", r'"d.png" is no picture')
