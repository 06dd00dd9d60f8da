"""`POST /sdapi/v1/img2img`, as A1111's clients send it."""

import base64
import io
import json

import pytest
from PIL import Image

from modules.api.bodies import Txt2ImgBody
from modules.api.img2img import Img2ImgBody
from modules.images.infotext import parse_infotext

DEFAULTS = {
    "init_images": None,
    "resize_mode": 0,
    "denoising_strength": 0.75,
    "image_cfg_scale": None,
    "mask": None,
    "mask_blur_x": 4,
    "mask_blur_y": 4,
    "mask_blur": None,
    "mask_round": True,
    "inpainting_fill": 0,
    "inpaint_full_res": True,
    "inpaint_full_res_padding": 0,
    "inpainting_mask_invert": 0,
    "initial_noise_multiplier": None,
    "latent_mask": None,
    "include_init_images": False,
}
"""A1111's fields beyond those it shares with txt2img."""

OURS = {"match_seams": False, "detail_only": False, "soft_inpainting": None}


def encoded(image: Image.Image, kind: str = "PNG") -> str:
    buffer = io.BytesIO()
    image.save(buffer, format=kind)
    return base64.b64encode(buffer.getvalue()).decode()


RED = encoded(Image.new("RGB", (64, 64), "red"))


@pytest.fixture
def post(client):
    def post(**values):
        body = {"init_images": [RED], "width": 64, "height": 64, "steps": 2, **values}
        return client.post("/sdapi/v1/img2img", json=body)

    return post


def test_fields_and_defaults_are_a1111s():
    found, shared = Img2ImgBody().model_dump(), Txt2ImgBody().model_dump()
    own = {name: value for name, value in found.items() if name not in shared or name == "denoising_strength"}
    assert own == {**DEFAULTS, **OURS}
    missing = {name for name in shared if name not in found}
    assert all(name.startswith(("hr_", "firstp")) or name == "enable_hr" for name in missing)


def test_a_picture(post, service):
    mask = encoded(Image.new("L", (64, 64), 255))
    answer = post(seed=3, mask=mask, mask_blur=2, denoising_strength=0.5, save_images=True).json()
    info = json.loads(answer["info"])
    fields = parse_infotext(info["infotexts"][0]).fields
    assert (fields["Denoising strength"], fields["Mask blur"], fields["Inpaint area"]) == ("0.5", "2", "Only masked")
    assert info["denoising_strength"] == 0.5
    assert (answer["parameters"]["init_images"], answer["parameters"]["mask"]) == (None, None)
    assert answer["parameters"]["mask_blur"] == 2
    job = service.store.recent(1)[0]
    assert job.kind == "img2img"
    assert "img2img-images" in str(service.images(job.id)[0].path)


def test_pictures_are_repeated_when_asked_for(post):
    answer = post(init_images=[f"data:image/jpeg;base64,{encoded(Image.new('RGB', (9, 7)), 'JPEG')}"])
    assert answer.status_code == 200
    assert post(include_init_images=True).json()["parameters"]["init_images"] == [RED]


@pytest.mark.parametrize("pictures", [None, [], [None], [""], [RED, None]])
def test_without_pictures(post, pictures):
    answer = post(init_images=pictures)
    assert answer.status_code == 404
    assert "init_images hold no picture" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"init_images": ["nonsense!"]}, "init_images is not valid base64"),
        ({"init_images": [base64.b64encode(b"no picture").decode()]}, "init_images is no whole picture"),
        ({"init_images": [RED[: len(RED) // 2 // 4 * 4]]}, "init_images is no whole picture"),
        ({"mask": "####"}, "mask is not valid base64"),
        ({"latent_mask": base64.b64encode(b"x").decode()}, "latent_mask is no whole picture"),
        ({"resize_mode": 4}, "resize_mode is 4: it must be at most 3"),
        ({"resize_mode": True}, "resize_mode"),
        ({"denoising_strength": 1.5}, "denoising_strength is 1.5: it must be at most 1"),
        ({"denoising_strength": None}, "denoising_strength"),
        ({"inpainting_fill": 9}, "inpainting_fill is 9"),
        ({"mask_blur": 257}, "mask_blur_x is 257"),
        ({"mask_blur_y": -1}, "mask_blur_y is -1"),
        ({"inpainting_mask_invert": 2}, "inpainting_mask_invert is 2"),
        ({"init_images": [RED, RED]}, "init_images are 2 and batch_size is 1"),
        ({"init_images": [RED] * 65}, "init_images"),
        ({"script_name": "Loopbak"}, "script_name"),
    ],
)
def test_wrong_values_are_told_in_a_sentence(post, values, words):
    answer = post(**values)
    assert answer.status_code == 422
    assert words in answer.json()["detail"]
    assert len(answer.json()["detail"]) < 400


def test_soft_inpainting_by_its_arguments(post):
    script = {"Soft Inpainting": {"args": [True, 2, 0.25, 4, 0, 0.5, 2]}}
    answer = post(alwayson_scripts=script, mask=encoded(Image.new("L", (64, 64), 128)))
    text = json.loads(answer.json()["info"])["infotexts"][0]
    assert "Soft inpainting enabled: True, Soft inpainting schedule bias: 2.0" in text
    wrong = post(alwayson_scripts={"Soft Inpainting": {"args": [True, 99]}})
    assert wrong.status_code == 422
    assert "mask_blend_power" in wrong.json()["detail"]
