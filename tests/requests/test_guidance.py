"""The techniques' values: checked, and the same under their flat names."""

import pickle

import pytest

from modules.core.errors import InputError
from modules.requests.guidance import ENABLED, TECHNIQUES, flat_names, flattened, gathered, limits_of
from modules.requests.txt2img import Txt2ImgRequest, make_request

ALL: dict = {
    "cfg_rescale": 0.7,
    "tiling": True,
    "freeu": {"b1": 1.3, "b2": 1.4, "s1": 0.9, "s2": 0.2, "start": 0.1, "end": 0.6, "version": 1},
    "self_attention_guidance": {"scale": 0.75, "blur_sigma": 1.5, "threshold": 0.9},
    "perturbed_attention_guidance": {"scale": 2.5},
    "dynamic_thresholding": {
        "mimic_scale": 5.5,
        "threshold_percentile": 0.95,
        "separate_feature_channels": "disable",
        "subtract_mean": False,
        "interpolate_phi": 0.8,
    },
    "deep_cache": {"interval": 5, "branch": 2},
    "first_block_cache": {"threshold": 0.2},
    "tiled_diffusion": {
        "method": "Mixture of Diffusers",
        "tile_width": 64,
        "tile_height": 32,
        "overlap": 8,
        "tile_batch_size": 2,
        "draw_background": False,
        "regions": "0.5, 0, 0.5, 1, Foreground, 0.3, 7 | a cat | blurry",
        "noise_inverse": True,
        "noise_inverse_steps": 12,
        "noise_inverse_retouch": 1.5,
        "noise_inverse_renoise_strength": 0.5,
        "noise_inverse_renoise_kernel": 32,
    },
}
FLAT = [(name, field, part) for name, field, part in flat_names() if part not in (ENABLED, "regions")]


def test_off_by_default():
    request = make_request({})
    assert [getattr(request, field) for field in TECHNIQUES] == [None] * 7
    assert (request.cfg_rescale, request.tiling, flattened(request)) == (0, None, {})
    assert gathered({}) == dict.fromkeys(TECHNIQUES)


def test_a_request_with_all_of_them_is_stored_and_sent():
    request = make_request(ALL)
    assert pickle.loads(pickle.dumps(request)) == request
    assert Txt2ImgRequest.model_validate_json(request.model_dump_json()) == request


def test_an_empty_object_is_the_defaults_of_forge():
    request = make_request({field: {} for field in TECHNIQUES})
    assert {name: value for name, value in flattened(request).items() if not name.startswith("dynthres")} == {
        "freeu_enabled": True,
        "freeu_b1": 1.01,
        "freeu_b2": 1.02,
        "freeu_s1": 0.99,
        "freeu_s2": 0.95,
        "freeu_start": 0.0,
        "freeu_end": 1.0,
        "freeu_version": 2,
        "sag_enabled": True,
        "sag_scale": 0.5,
        "sag_blur_sigma": 2.0,
        "sag_threshold": 1.0,
        "pag_enabled": True,
        "pag_scale": 3.0,
        "deepcache_enabled": True,
        "deepcache_interval": 3,
        "deepcache_branch": 0,
        "fbcache_enabled": True,
        "fbcache_threshold": 0.08,
        "tiled_enabled": True,
        "tiled_method": "MultiDiffusion",
        "tiled_tile_width": 96,
        "tiled_tile_height": 96,
        "tiled_overlap": 48,
        "tiled_tile_batch_size": 4,
        "tiled_draw_background": True,
        "tiled_regions": "",
        "tiled_noise_inverse": False,
        "tiled_noise_inverse_steps": 10,
        "tiled_noise_inverse_retouch": 1.0,
        "tiled_noise_inverse_renoise_strength": 1.0,
        "tiled_noise_inverse_renoise_kernel": 64,
    }


def test_flat_values_are_the_same_values():
    request = make_request(ALL)
    flat = flattened(request)
    assert set(flat) == {name for name, *_ in flat_names()}
    for values in (flat, {name: str(value) for name, value in flat.items()}):
        assert make_request({**ALL, **dict.fromkeys(TECHNIQUES), **gathered(values)}) == request


def test_a_technique_that_is_not_enabled_is_off():
    assert gathered({"freeu_b1": 1.3, "pag_enabled": False, "pag_scale": 2})["freeu"] is None
    assert gathered({"freeu_b1": 1.3, "pag_enabled": False})["perturbed_attention_guidance"] is None


@pytest.mark.parametrize(("name", "field", "part"), FLAT)
def test_limits(name, field, part):
    found = limits_of(name)
    good = [found["minimum"], found["maximum"]] if "minimum" in found else found.get("choices", [True, False])
    for value in good:
        assert getattr(getattr(make_request({field: {part: value}}), field), part) == value
    bad = [found["minimum"] - 0.01, found["maximum"] + 0.01, float("nan")] if "minimum" in found else [3, "x"]
    for value in (*bad, None, [1]):
        with pytest.raises(InputError) as caught:
            make_request({field: {part: value}})
        assert caught.value.field == f"{field}.{part}"
        assert caught.value.message.startswith(f"{field}.{part} is ")


@pytest.mark.parametrize("field", TECHNIQUES)
def test_what_is_no_technique(field):
    for value in (5, "x", [], True):
        with pytest.raises(InputError, match="must be an object") as caught:
            make_request({field: value})
        assert caught.value.field == field
    with pytest.raises(InputError, match="is not a field known here"):
        make_request({field: {"nope": 1}})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("cfg_rescale", 1.1),
        ("cfg_rescale", -0.1),
        ("tiling", "maybe"),
        ("distilled_cfg_scale", 31),
        ("distilled_cfg_scale", "x"),
    ],
)
def test_wrong_plain_values(field, value):
    with pytest.raises(InputError) as caught:
        make_request({field: value})
    assert caught.value.field == field
