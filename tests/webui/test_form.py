"""Values to a request and back, defaults, infotext."""

import json

import pytest

from modules.core.errors import InputError
from modules.images.infotext import format_infotext
from modules.jobs.service import JobService
from modules.requests.control import ControlUnit
from modules.requests.detail import told
from modules.requests.guidance import flattened
from tests.webui.conftest import LARGE, SMALL
from webui.detail_form import UNIT_STARTS, UNITS
from webui.form import (
    FIELDS,
    LABELS,
    MODULES,
    TXT2IMG,
    from_infotext,
    overriding,
    remembered,
    starting_values,
    to_request,
    usable,
)

VALUES = {
    "prompt": 'a "red" ball, <b>bold</b>: ☃\nsecond line',
    "negative_prompt": "blurry, ugly",
    "sampler_name": "Euler a",
    "scheduler": "Karras",
    "steps": 33,
    "width": 136,
    "height": 72,
    "n_iter": 3,
    "batch_size": 2,
    "refiner_checkpoint": "large.safetensors",
    "refiner_switch_at": 0.7,
    "cfg_scale": 6.5,
    "distilled_cfg_scale": 2.5,
    "seed": "9007199254740993",
    "seed_extra": True,
    "subseed": "9007199254740995",
    "subseed_strength": 0.3,
    "seed_resize_from_w": 512,
    "seed_resize_from_h": 256,
    "override_settings": ["Clip skip: 2", "VAE: None"],
    "tiling": True,
    "restore_faces": True,
    "cfg_rescale": 0.7,
    "ad_model_1": "mediapipe_face_full",
    "ad_prompt_1": "a face, [SEP] two",
    "ad_negative_prompt_1": "blurry",
    "ad_confidence_1": 0.5,
    "ad_dilate_erode_1": -4,
    "ad_mask_blur_1": 8,
    "ad_denoising_strength_1": 0.6,
    "ad_inpaint_only_masked_1": False,
    "ad_inpaint_only_masked_padding_1": 16,
    "ad_model_classes_1": "face, hand",
    "ad_tab_enable_1": True,
    "ad_mask_filter_method_1": "Confidence",
    "ad_mask_k_1": 2,
    "ad_mask_min_ratio_1": 0.1,
    "ad_mask_max_ratio_1": 0.9,
    "ad_x_offset_1": 3,
    "ad_y_offset_1": -4,
    "ad_mask_merge_invert_1": "Merge",
    "ad_use_inpaint_width_height_1": True,
    "ad_inpaint_width_1": 640,
    "ad_inpaint_height_1": 768,
    "ad_use_steps_1": True,
    "ad_steps_1": 12,
    "ad_use_cfg_scale_1": True,
    "ad_cfg_scale_1": 5.5,
    "ad_use_checkpoint_1": True,
    "ad_checkpoint_1": "large.safetensors",
    "ad_use_vae_1": True,
    "ad_vae_1": "None",
    "ad_use_sampler_1": True,
    "ad_sampler_1": "Euler a",
    "ad_scheduler_1": "Karras",
    "ad_use_noise_multiplier_1": True,
    "ad_noise_multiplier_1": 1.1,
    "ad_use_clip_skip_1": True,
    "ad_clip_skip_1": 2,
    "ad_restore_face_1": True,
    "ad_controlnet_model_1": "tile",
    "ad_controlnet_module_1": "tile_resample",
    "ad_controlnet_weight_1": 0.5,
    "ad_controlnet_guidance_start_1": 0.1,
    "ad_controlnet_guidance_end_1": 0.7,
    "ad_model_2": "hands",
    "ad_prompt_2": "a hand",
    "ad_negative_prompt_2": "six fingers",
    "ad_confidence_2": 0.4,
    "ad_dilate_erode_2": 2,
    "ad_mask_blur_2": 3,
    "ad_denoising_strength_2": 0.3,
    "ad_inpaint_only_masked_2": True,
    "ad_inpaint_only_masked_padding_2": 8,
    "ad_model_classes_2": "face, hand",
    "ad_tab_enable_2": True,
    "ad_mask_filter_method_2": "Confidence",
    "ad_mask_k_2": 1,
    "ad_mask_min_ratio_2": 0.1,
    "ad_mask_max_ratio_2": 0.9,
    "ad_x_offset_2": 3,
    "ad_y_offset_2": -4,
    "ad_mask_merge_invert_2": "Merge and Invert",
    "ad_use_inpaint_width_height_2": True,
    "ad_inpaint_width_2": 640,
    "ad_inpaint_height_2": 768,
    "ad_use_steps_2": True,
    "ad_steps_2": 12,
    "ad_use_cfg_scale_2": True,
    "ad_cfg_scale_2": 5.5,
    "ad_use_checkpoint_2": True,
    "ad_checkpoint_2": "large.safetensors",
    "ad_use_vae_2": True,
    "ad_vae_2": "None",
    "ad_use_sampler_2": True,
    "ad_sampler_2": "Euler a",
    "ad_scheduler_2": "Karras",
    "ad_use_noise_multiplier_2": True,
    "ad_noise_multiplier_2": 1.1,
    "ad_use_clip_skip_2": True,
    "ad_clip_skip_2": 2,
    "ad_restore_face_2": True,
    "ad_controlnet_model_2": "Passthrough",
    "ad_controlnet_module_2": "tile_resample",
    "ad_controlnet_weight_2": 0.5,
    "ad_controlnet_guidance_start_2": 0.1,
    "ad_controlnet_guidance_end_2": 0.7,
    "dynthres_enabled": True,
    "dynthres_mimic_scale": 5.5,
    "dynthres_threshold_percentile": 0.95,
    "dynthres_separate_feature_channels": "disable",
    "dynthres_subtract_mean": False,
    "dynthres_interpolate_phi": 0.8,
    "freeu_enabled": True,
    "freeu_b1": 1.3,
    "freeu_b2": 1.4,
    "freeu_s1": 0.9,
    "freeu_s2": 0.2,
    "freeu_start": 0.1,
    "freeu_end": 0.6,
    "freeu_version": 1,
    "sag_enabled": True,
    "sag_scale": 0.75,
    "sag_blur_sigma": 1.5,
    "sag_threshold": 0.9,
    "pag_enabled": True,
    "pag_scale": 2.5,
    "deepcache_enabled": True,
    "deepcache_interval": 5,
    "deepcache_branch": 2,
    "fbcache_enabled": True,
    "fbcache_threshold": 0.2,
    "tiled_enabled": True,
    "tiled_method": "Mixture of Diffusers",
    "tiled_tile_width": 64,
    "tiled_tile_height": 32,
    "tiled_overlap": 8,
    "tiled_tile_batch_size": 2,
    "tiled_draw_background": False,
    "tiled_regions": "0.5, 0, 0.5, 1, Foreground, 0.3, 7 | a cat | blurry",
    "tiled_noise_inverse": True,
    "tiled_noise_inverse_steps": 12,
    "tiled_noise_inverse_retouch": 1.5,
    "tiled_noise_inverse_renoise_strength": 0.5,
    "tiled_noise_inverse_renoise_kernel": 32,
    MODULES: ["ae", "t5xxl"],
    "styles": ("Ink",),
    "dynamic_prompts": False,
    "dp_combinatorial": True,
    "dp_max_generations": 9,
    "dp_combinatorial_batches": 2,
    "dp_fixed_seed": True,
    "dp_unlink_seed": True,
}
VALUES["control"] = [{"module": "canny", "weight": 0.7}, {}]
DYNAMIC = ("dynamic_prompts", *(name for name in VALUES if name.startswith("dp_")))
ELSEWHERE = (
    "control",
    "n_iter",
    "batch_size",
    "override_settings",
    "styles",
    *DYNAMIC,
)  # what `from_infotext` does not find
OFF = {
    "tiling": False,
    "restore_faces": False,
    "cfg_rescale": 0.0,
    "refiner_checkpoint": "None",
    MODULES: [],
    "enable_hr": False,
    "seed_extra": False,
    "control": "[]",
    **{name: False for name in FIELDS if name.endswith("_enabled")},
    **dict.fromkeys(("ad_model_1", "ad_model_2"), "None"),
}


def values_of(request) -> dict:
    """The request as the form's fields."""
    plain = {name: getattr(request, name) for name in FIELDS if hasattr(request, name)}
    modules = request.override_settings[MODULES]
    units = {name: getattr(request.detail[n], part) for name, (n, part) in UNITS.items()}
    extra = {"seed_extra": request.subseed_strength > 0}
    return {
        **plain,
        **units,
        **extra,
        **flattened(request),
        "override_settings": VALUES["override_settings"],
        MODULES: modules,
    }


def test_every_value_reaches_the_request():
    request = to_request(VALUES, "some/model.safetensors")
    units = tuple(ControlUnit.model_validate(unit) for unit in VALUES["control"])
    assert values_of(request) == {**VALUES, "seed": 2**53 + 1, "subseed": 2**53 + 3, "control": units}
    assert set(VALUES) == set(FIELDS)
    assert request.override_settings == {
        "sd_model_checkpoint": "some/model.safetensors",
        "CLIP_stop_at_last_layers": 2,
        "sd_vae": "None",
        MODULES: ["ae", "t5xxl"],
    }


def test_no_checkpoint_and_no_entries_override_nothing():
    values = {name: value for name, value in VALUES.items() if name not in ("override_settings", MODULES)}
    assert to_request({**values, "override_settings": []}, None).override_settings == {}


@pytest.mark.parametrize("entry", ["Model hash: 0123456789", "Model: other"])
def test_an_entry_beats_the_picker(entry):
    request = to_request({"override_settings": [entry]}, "some/model.safetensors")
    assert request.override_settings == {"sd_model_checkpoint": entry.partition(": ")[2]}


def test_what_the_box_extra_hides_does_not_count():
    request = to_request({**VALUES, "seed_extra": False}, None)
    assert (request.subseed, request.subseed_strength, request.seed_resize_from_w) == (-1, 0, -1)
    assert to_request({**VALUES, "subseed": " "}, None).subseed == -1


@pytest.mark.parametrize("seed", ["", "  ", "-1", " -1 ", -1])
def test_an_empty_seed_is_a_random_one(seed):
    assert to_request({"seed": seed}, None).seed == -1


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("steps", 0),
        ("steps", 2.5),
        ("steps", None),
        ("steps", True),
        ("width", 63),
        ("height", 130),
        ("width", 16_392),
        ("cfg_scale", float("nan")),
        ("cfg_scale", -1),
        ("n_iter", 0),
        ("batch_size", 65),
        ("seed", "<img>"),
        ("seed", "1.5"),
        ("seed", str(2**63)),
        ("prompt", "\ud800"),
        ("prompt", ["a"]),
        ("negative_prompt", "x" * 20_001),
        ("sampler_name", {}),
        ("tiling", "perhaps"),
        ("override_settings", "Clip skip: 2"),
        ("cfg_rescale", 1.5),
        ("distilled_cfg_scale", 30.5),
        ("freeu_b1", 2.5),
        ("freeu_version", 3),
        ("sag_scale", float("nan")),
        ("pag_scale", None),
        ("dynthres_separate_feature_channels", "x"),
    ],
)
def test_a_wrong_value_is_named(field, value):
    with pytest.raises(InputError) as caught:
        to_request({**VALUES, field: value}, None)
    assert caught.value.field == field
    assert caught.value.message.startswith(f"{field} is ")


def test_infotext_gives_back_the_values(service: JobService):
    fields = {"Steps": 33, "Sampler": "Euler a", "Schedule type": "Karras", "CFG scale": 6.5, "Seed": VALUES["seed"]}
    fields |= {"Variation seed": VALUES["subseed"], "Variation seed strength": 0.3, "Seed resize from": "512x256"}
    fields |= {
        "Size": "136x72",
        "Model": "x",
        "Tiling": True,
        "Face restoration": "GFPGAN",
        "CFG Rescale phi": 0.7,
        "Distilled CFG Scale": 2.5,
    }
    fields |= {"Refiner": "large.safetensors", "Refiner switch at": 0.7, "Module 1": "ae", "Module 2": "t5xxl"}
    prefixes = ("dynthres", "freeu", "sag", "pag", "deepcache", "fbcache", "tiled")
    techniques = {name: value for name, value in VALUES.items() if name.startswith(prefixes)}
    units = told(to_request(VALUES, None).detail)
    text = format_infotext(VALUES["prompt"], VALUES["negative_prompt"], {**fields, **techniques, **units})
    found, wrong = from_infotext(text, service.catalogue)
    assert found.pop("control") == "[]"
    assert found == {"enable_hr": False, **{name: VALUES[name] for name in FIELDS if name not in ELSEWHERE}}
    assert wrong == []


def test_a_detail_pass_is_as_its_infotext_says_and_else_as_it_begins(service: JobService):
    text = "a\nSteps: 1, Sampler: Euler, Seed: 1, Size: 64x64, ADetailer model: mediapipe_hand, ADetailer use separate steps: True"
    found, wrong = from_infotext(text, service.catalogue)
    told_of = {name: value for name, value in found.items() if name.startswith("ad_") and value != UNIT_STARTS[name]}
    assert (told_of, wrong) == ({"ad_model_1": "mediapipe_hand", "ad_use_steps_1": True}, [])
    assert found["ad_prompt_1"] == "" and found["ad_checkpoint_1"] == "Use same checkpoint"
    assert "ad_prompt_2" not in found and found["ad_model_2"] == "None"
    (unit, _) = to_request({**found, "control": []}, None).detail
    assert unit.ad_checkpoint is unit.ad_vae is None and unit.ad_use_steps


HIRES = {
    "enable_hr": True,
    "hr_upscaler": "Latent (bicubic)",
    "hr_second_pass_steps": 3,
    "denoising_strength": 0.45,
    "hr_scale": 2.0,
    "hr_resize_x": 96,
    "hr_resize_y": 128,
    "hr_checkpoint_name": "large",
    "hr_sampler_name": "Euler a",
    "hr_scheduler": "Karras",
    "hr_cfg": 2.5,
    "hr_distilled_cfg": 0,
    "hr_prompt": "a blue ball, large",
    "hr_negative_prompt": "grey",
}


def test_hires_fix_to_the_request_and_from_infotext(service: JobService):
    request = to_request({"width": 64, "height": 64, **HIRES}, None)
    assert {name: getattr(request, name) for name in HIRES} == {**HIRES, "hr_distilled_cfg": None}
    told = {"Steps": 9, "Sampler": "Euler", "Seed": 1, "Denoising strength": 0.45, "Hires checkpoint": "large"}
    told |= {"Hires sampler": "Euler a", "Hires prompt": "a blue ball, large", "Hires negative prompt": "grey"}
    told |= {"Hires schedule type": "Karras", "Hires resize": "96x128", "Hires steps": 3}
    told |= {"Hires upscaler": "latent (bicubic)", "Hires CFG Scale": 2.5}
    found, wrong = from_infotext(format_infotext("a", "", told), service.catalogue)
    assert wrong == []
    assert {name: found[name] for name in HIRES if name != "hr_scale"}.items() <= HIRES.items()
    less, wrong = from_infotext(
        "a\nSteps: 9, Sampler: Euler, Seed: 1, Hires upscale: 1.5, Hires upscaler: Latent", service.catalogue
    )
    assert wrong == []
    assert (less["hr_scale"], less["hr_second_pass_steps"], less["hr_resize_x"], less["hr_prompt"]) == (1.5, 0, 0, "")
    assert (less["hr_sampler_name"], less["hr_cfg"]) == ("Use same sampler", 0)
    assert "denoising_strength" not in less


def test_old_combined_sampler_names_are_taken_apart(service: JobService):
    text = "a cat\nSteps: 20, Sampler: DPM++ 2M Karras, Seed: 1, CFG scale: 7"
    found, wrong = from_infotext(text, service.catalogue)
    assert (found["sampler_name"], wrong) == ("DPM++ 2M", [])
    schedule = service.catalogue.sampler_and_schedule("DPM++ 2M Karras", None)[1].label
    assert found["scheduler"] == schedule


def test_a_technique_that_is_off_is_no_technique():
    assert (
        flattened(to_request({**VALUES, "freeu_enabled": False, "freeu_b1": "x"}, None))
        .keys()
        .isdisjoint(name for name in FIELDS if name.startswith("freeu"))
    )
    assert to_request({"tiling": False}, None).tiling is None  # the setting may still say so


def test_a_wrong_technique_in_infotext_is_named(service: JobService):
    text = (
        "a cat\nSteps: 9, Sampler: Euler, Seed: 77, freeu_enabled: True, freeu_b1: 9, pag_enabled: True, pag_scale: 2"
    )
    found, wrong = from_infotext(text, service.catalogue)
    assert [error.message for error in wrong] == ['freeu_b1 is "9": it must be at most 2.0.']
    assert (found["pag_enabled"], found["pag_scale"], found["freeu_enabled"], found["steps"]) == (True, 2.0, False, 9)


def test_a_wrong_value_in_infotext_leaves_the_others(service: JobService):
    text = "a cat\nSteps: 9000, Sampler: No Such, Seed: 77, CFG scale: 7, Size: 512x511"
    found, wrong = from_infotext(text, service.catalogue)
    assert found == {**OFF, "prompt": "a cat", "negative_prompt": "", "seed": "77", "cfg_scale": 7.0, "width": 512}
    assert sorted(error.field for error in wrong) == ["height", "sampler_name", "steps"]


@pytest.mark.parametrize("text", ["", "a plain prompt", "two\nlines: of, text"])
def test_a_prompt_without_infotext_says_so(text, service: JobService):
    with pytest.raises(InputError, match="no generation parameters"):
        from_infotext(text, service.catalogue)


def test_what_an_infotext_overrides(service: JobService):
    small, large = service.checkpoints.find("small"), service.checkpoints.find("large")
    hashed = service.checkpoints.identify(large).short_hash
    known = "Clip skip: 1, Tiling: True, pag_enabled: True"

    def found(text: str, checkpoint: str = small.name):
        now = service.settings.current
        return overriding(f"(a)\nSteps: 9, Sampler: Euler, Seed: 1, {text}", now, checkpoint, service.checkpoints)

    assert found(known) == ([], None)  # tiling has a field of its own
    assert found("ENSD: 31337, Clip skip: 2") == (["Clip skip: 2", "ENSD: 31337"], None)
    assert found(f"Model hash: {hashed}, ENSD: 3") == ([f"Model hash: {hashed}", "ENSD: 3"], None)
    assert found(f"Model hash: {hashed}", large.name) == found(f"Model: large, {known}", large.name) == ([], None)
    assert found("Model hash: 0a1b2c3d, Model: large") == (["Model: large"], None)  # an old hash tells nothing
    assert found("Model hash: 0123456789, Model: small") == ([], None)  # whose hash is not known yet
    for text, name in (("Model: nowhere", "nowhere"), ("Model hash: 0123456789, Model: large", "large 0123456789")):
        sentence = f'The checkpoint "{name}" is not here: "small.safetensors" is used instead.'
        assert found(f"{text}, ENSD: 3") == (["ENSD: 3"], sentence)


def test_defaults_follow_the_checkpoint(service: JobService):
    small = starting_values("small.safetensors", service.checkpoints, service.catalogue)
    large = starting_values("large.safetensors", service.checkpoints, service.catalogue)
    assert small.items() >= SMALL.items()
    assert large.items() >= LARGE.items()
    assert set(small) == set(large) == set(TXT2IMG.names)
    assert (large["prompt"], large["seed"]) == ("", "-1")


def test_a_missing_checkpoint_leaves_plain_defaults(service: JobService):
    values = starting_values("gone.safetensors", service.checkpoints, service.catalogue)
    assert (values["width"], values["steps"], values["sampler_name"]) == (512, 20, "DPM++ 2M")


def test_unusable_values_are_dropped(service: JobService):
    hostile = {"width": 7, "height": "64", "steps": "<b>", "sampler_name": "no", "prompt": 5, "evil": 1, "seed": "12"}
    assert usable(hostile, service.catalogue) == {"height": 64, "seed": "12"}
    for entries in (None, "Clip skip: 2", {"Clip skip": 2}, ["Clip skip: 2", 3], ["samples_save: False"]):
        assert usable({"override_settings": entries}, service.catalogue) == {}
    kept = {"override_settings": ["Clip skip: 2", "Model hash: 0123456789"]}
    assert usable(kept, service.catalogue) == kept


@pytest.mark.parametrize("text", [None, "", "{", "[]", "3", '{"touched": {}}', '{"checkpoint": 1, "touched": []}'])
def test_broken_memory_is_no_memory(text):
    assert remembered(text) == (None, {})


def test_memory_is_read():
    text = json.dumps({"checkpoint": "a", "touched": {"steps": 3}})
    assert remembered(text) == ("a", {"steps": 3})


def test_every_field_has_a_label():
    assert set(FIELDS) < set(LABELS)


def test_separate_files_travel_as_a_setting_and_come_back_from_infotext(service):
    assert to_request({MODULES: ["ae", "t5xxl"]}, "x").override_settings[MODULES] == ["ae", "t5xxl"]
    assert to_request({MODULES: []}, None).override_settings == {MODULES: []}
    text = "a fox\nSteps: 4, Sampler: Euler, Seed: 1, Size: 64x64, Module 1: ae, Module 2: t5xxl_fp16"
    assert from_infotext(text, service.catalogue)[0][MODULES] == ["ae", "t5xxl_fp16"]
    assert from_infotext(text.split(", Module")[0], service.catalogue)[0][MODULES] == []
    with pytest.raises(InputError, match="forge_additional_modules"):
        to_request({MODULES: 7}, None)
