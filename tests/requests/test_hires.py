"""Sizes of hires fix, and what its requests refuse."""

import pytest

from modules.core.errors import InputError
from modules.requests.hires import LATENT_MODES, Target, latent_mode, target_of
from modules.requests.txt2img import make_request


def sized(**values) -> Target:
    return target_of(**{"width": 512, "height": 768, "scale": 2.0, "resize_x": 0, "resize_y": 0, **values})


@pytest.mark.parametrize(
    ("values", "enlarged", "final"),
    [
        ({}, (1024, 1536), (1024, 1536)),
        ({"scale": 1.15}, (588, 883), (584, 880)),
        ({"resize_x": 1000}, (1000, 1500), (1000, 1496)),
        ({"resize_y": 1152}, (768, 1152), (768, 1152)),
        ({"resize_x": 1024, "resize_y": 1024}, (1024, 1536), (1024, 1024)),
        ({"resize_x": 512, "resize_y": 1536}, (1024, 1536), (512, 1536)),
        ({"resize_x": 1, "resize_y": 1}, (1, 1), (0, 0)),
    ],
)
def test_sizes_follow_a1111s_rule(values, enlarged, final):
    target = sized(**values)
    assert (target.width, target.height) == enlarged
    assert target.final() == final


def test_a_model_of_larger_steps_gets_whole_ones():
    assert sized(scale=1.15).in_steps(32).final(32) == (576, 864)
    assert sized(scale=1.15).in_steps(8) == sized(scale=1.15)


def test_latent_modes_by_name():
    assert [latent_mode(name.upper()) for name in LATENT_MODES] == list(LATENT_MODES)
    assert latent_mode("Lanczos") is None


@pytest.mark.parametrize(
    ("values", "field", "words"),
    [
        ({"hr_resize_x": 8}, "hr_resize_x", "to 8 x 8 pixels; each side must be 64 or more"),
        ({"hr_resize_y": 1, "width": 2048, "height": 64}, "hr_resize_y", "each side must be 64 or more"),
        ({"hr_scale": 8, "width": 4096}, "hr_scale", "no side may be above 16384"),
        ({"hr_resize_x": 64, "hr_resize_y": 16_384, "width": 2048, "height": 64}, "hr_resize_x", "above 16384"),
        ({"hr_scale": 0.5}, "hr_scale", "hr_scale is 0.5"),
        ({"hr_resize_x": -8}, "hr_resize_x", "hr_resize_x is -8"),
        ({"hr_second_pass_steps": 151}, "hr_second_pass_steps", "is 151"),
        ({"denoising_strength": 1.5}, "denoising_strength", "is 1.5"),
        ({"hr_upscaler": 3}, "hr_upscaler", "is 3"),
        ({"hr_cfg": -1}, "hr_cfg", "is -1"),
    ],
)
def test_what_cannot_be_is_named(values, field, words):
    with pytest.raises(InputError) as caught:
        make_request({"enable_hr": True, **values})
    assert caught.value.field == field
    assert words in caught.value.message


def test_sizes_matter_only_with_hires_fix():
    assert make_request({"hr_resize_x": 8}).hr_resize_x == 8


@pytest.mark.parametrize("name", ["Use same sampler", "", "None", None])
def test_the_same_is_none_of_its_own(name):
    assert make_request({"hr_sampler_name": name}).hr_sampler_name is None
