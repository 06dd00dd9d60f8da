"""Guidance techniques over the API: own fields, and Forge's scripts by title."""

import base64
import json

import pytest
from PIL import Image

from modules.api.always_on import SCRIPTS
from modules.api.bodies import Txt2ImgBody
from modules.api.img2img import Img2ImgBody
from modules.core.errors import InputError
from modules.images.encode import encode_png
from modules.requests.guidance import TECHNIQUES, FreeU

FREEU, SAG, PAG, FIX = SCRIPTS
ROUTE = "/sdapi/v1/txt2img"


def requested(**values):
    return Txt2ImgBody.model_validate(values).to_request()


def scripts(**by_title):
    return requested(alwayson_scripts={title: {"args": args} for title, args in by_title.items()})


def test_own_fields():
    assert requested(distilled_cfg_scale=2).distilled_cfg_scale == 2
    request = requested(tiling=True, cfg_rescale=0.5, freeu={"b1": 1.3}, self_attention_guidance={})
    assert (request.tiling, request.cfg_rescale, request.freeu) == (True, 0.5, FreeU.model_validate({"b1": 1.3}))
    assert request.self_attention_guidance is not None
    assert request.perturbed_attention_guidance is None


def test_forges_scripts():
    request = scripts(
        **{
            FREEU: [True, 1.3, 1.4, 0.9, 0.2, 0.1, 0.6],
            SAG.upper(): [True, 0.75, 1.5, 0.9],
            PAG: [True, 2.5, 0, 0, 1],
            FIX: [True, 5, 0.95, "Constant", 0, "Constant", 0, 1, "disable", "MEAN", "AD", 0.8],
        }
    )
    own = requested(
        freeu={"b1": 1.3, "b2": 1.4, "s1": 0.9, "s2": 0.2, "start": 0.1, "end": 0.6},
        self_attention_guidance={"scale": 0.75, "blur_sigma": 1.5, "threshold": 0.9},
        perturbed_attention_guidance={"scale": 2.5},
        dynamic_thresholding={
            "mimic_scale": 5,
            "threshold_percentile": 0.95,
            "separate_feature_channels": "disable",
            "interpolate_phi": 0.8,
        },
    )
    assert request == own


@pytest.mark.parametrize("title", SCRIPTS)
def test_few_arguments_are_the_defaults_and_none_is_off(title):
    field = SCRIPTS[title][0]
    assert getattr(scripts(**{title: [True]}), field) == getattr(requested(**{field: {}}), field)
    for off in ([], [False], [False, 1.0]):
        assert all(getattr(scripts(**{title: off}), name) is None for name in TECHNIQUES)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"alwayson_scripts": {"x": {"args": []}}}, "not part of this version"),
        ({"alwayson_scripts": {FREEU: []}}, 'a list "args"'),
        ({"alwayson_scripts": {FREEU: {"args": 5}}}, 'a list "args"'),
        ({"alwayson_scripts": {FREEU: {"args": ["yes"]}}}, "true or false"),
        ({"alwayson_scripts": {FREEU: {"args": [True, 9]}}}, "freeu.b1 is 9"),
        ({"alwayson_scripts": {FREEU: {"args": [True, None]}}}, "freeu.b1 is None"),
        ({"alwayson_scripts": {FIX: {"args": [True, 7, 1, "Cosine Down"]}}}, "mimic_mode"),
        ({"alwayson_scripts": {PAG: {"args": [True, 3, 0.5]}}}, "attenuation"),
        ({"alwayson_scripts": [1]}, "alwayson_scripts"),
        ({"freeu": {"b1": "x"}}, "freeu.b1"),
        ({"freeu": {"nope": 1}}, "freeu.nope"),
        ({"freeu": 5}, "freeu"),
        ({"cfg_rescale": 2}, "cfg_rescale is 2"),
        ({"distilled_cfg_scale": -1}, "distilled_cfg_scale is -1"),
        ({"tiling": "perhaps"}, "tiling"),
        ({"override_settings": {"token_merging_ratio": 0.95}}, "token_merging_ratio"),
    ],
)
def test_wrong_values(client, service, values, words):
    before = service.store.recent(1)
    answer = client.post(ROUTE, json={"prompt": "x", "width": 64, "height": 64, "steps": 1, **values})
    assert answer.status_code == 422, answer.text[:300]
    assert words in answer.json()["detail"]
    assert answer.json()["detail"].endswith(".")
    assert service.store.recent(1) == before


def test_a_picture_with_all_of_them(draw):
    plain = draw(seed=3, steps=4)
    answer = draw(
        seed=3,
        steps=4,
        cfg_scale=30,
        tiling=True,
        cfg_rescale=0.7,
        alwayson_scripts={title: {"args": [True]} for title in SCRIPTS},
        override_settings={"token_merging_ratio": 0.5},
    )
    text = json.loads(answer["info"])["infotexts"][0]
    for key in ("Token merging ratio: 0.5", "Tiling: True", "CFG Rescale phi: 0.7", "freeu_b1: 1.01", "pag_scale: 3.0"):
        assert key in text
    assert answer["images"] != plain["images"]
    assert "freeu" not in json.loads(plain["info"])["infotexts"][0]


def test_tiled_diffusion_by_the_extensions_arguments():
    region = [True, 0.0, 0.5, 0.5, 0.5, "a cat", "blurry", "Foreground", 0.3, 7]
    args = [True, "Mixture of Diffusers", False, True, 1024, 1024, 64, 48, 16, 2, "None", 2, *[False] * 1, 10, 1, 1, 64]
    request = scripts(**{"Tiled Diffusion": [*args, False, True, False, False, *region, *([False] + region[1:])]})
    own = {"method": "Mixture of Diffusers", "tile_width": 64, "tile_height": 48, "overlap": 16, "tile_batch_size": 2}
    text = "0, 0.5, 0.5, 0.5, Foreground, 0.3, 7 | a cat | blurry"
    assert request == requested(tiled_diffusion={**own, "draw_background": False, "regions": text})
    forge = scripts(**{"multidiffusion integrated": [True, "MultiDiffusion", 768, 512, 64, 4]})
    assert forge == requested(tiled_diffusion={"tile_width": 96, "tile_height": 64, "overlap": 8})


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ([True, "MultiDiffusion", True], "send width and height instead"),
        (
            [True, "MultiDiffusion", False, True, 512, 512, 64, 64, 8, 1, "None", 2, True, 500],
            "tiled_diffusion.noise_inverse_steps",
        ),
        ([True, "Magic"], "tiled_diffusion.method is"),
        (
            [True, "MultiDiffusion", *[False] * 4, 64, 64, 8, 1, "None", 2, *[False] * 6, True, True, False, True, 7],
            "a region",
        ),
    ],
)
def test_wrong_arguments_of_tiled_diffusion(args, words):
    with pytest.raises(InputError, match=words):
        scripts(**{"Tiled Diffusion": args})


def test_adetailers_arguments():
    face = {
        "ad_model": "mediapipe_face_full",
        "ad_confidence": 0.4,
        "ad_controlnet_model": "None",
        "ad_restore_face": False,
    }
    own = requested(detail=[{"ad_model": "mediapipe_face_full", "ad_confidence": 0.4}, {}])
    for args in ([True, False, face, {}], [True, face, {}], [face, {}]):
        assert scripts(ADetailer=args) == own
    assert scripts(adetailer=[False, False, face]) == requested() and scripts(ADetailer=[]) == requested()
    for args, words in (
        ([True, False, 5], "an object for each pass"),
        ([{"ad_modle": "x"}], "ad_modle"),
        ([{"ad_controlnet_guidance_start": 0.8, "ad_controlnet_guidance_end": 0.2}], "cannot end before it starts"),
        ([{"ad_confidence": 5}], "detail.0.ad_confidence"),
    ):
        with pytest.raises(InputError, match=words):
            scripts(ADetailer=args)


def test_adetailer_may_skip_img2img():
    picture, face = base64.b64encode(encode_png(Image.new("RGB", (64, 64)), None)).decode(), {"ad_model": "x"}
    for switches, only in (([True, True], True), ([True, False], False), ([True], False), ([False, True], False)):
        script = {"ADetailer": {"args": [*switches, face]}}
        body = {"init_images": [picture], "alwayson_scripts": script}
        assert Img2ImgBody.model_validate(body).to_request().detail_only is only, switches
    assert scripts(ADetailer=[True, True, face]) == requested(detail=[face])  # of txt2img there is nothing to skip


def test_tiled_diffusion_enlarges_what_it_is_given():
    picture = base64.b64encode(encode_png(Image.new("RGB", (100, 60)), None)).decode()

    def sent(*arguments, **values):
        script = {"Tiled Diffusion": {"args": [True, "MultiDiffusion", False, *arguments]}}
        body = Img2ImgBody.model_validate({"init_images": [picture], "alwayson_scripts": script, **values})
        return body.to_request()

    kept = sent(True, 0, 0, 64, 64, 8, 1, "Lanczos", 2.5, True, 5, 2, 0.5, 32)
    assert (kept.width, kept.height) == (248, 144)
    assert kept.override_settings == {"upscaler_for_img2img": "Lanczos"}
    assert kept.tiled_diffusion.noise_inverse
    assert (kept.tiled_diffusion.noise_inverse_steps, kept.tiled_diffusion.noise_inverse_renoise_kernel) == (5, 32)
    given = sent(False, 0, 0, 64, 64, 8, 1, "None", 2, width=256, height=128)
    assert (given.width, given.height, given.override_settings) == (256, 128, {})
    with pytest.raises(InputError, match="send a name and 1 to 8"):
        sent(True, 0, 0, 64, 64, 8, 1, "Lanczos", 9)
