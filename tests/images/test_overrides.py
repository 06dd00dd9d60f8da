"""Which settings an infotext overrides, and their entries on the page."""

import json
from pathlib import Path

import pytest

from modules.core.errors import InputError
from modules.core.settings import Settings
from modules.images.infotext import parse_fields, parse_infotext
from modules.images.overrides import _OPTIONS, from_entries, overrides, to_entries
from modules.requests.txt2img import make_request

RECORDED = json.loads(Path(__file__).parents[1].joinpath("data", "a1111_infotexts.json").read_text("utf-8"))
BASE = "Steps: 20, Sampler: Euler a, Seed: 1"
PLAIN = Settings()
CHOICES = (
    "Enable",
    "first pass",
    "None",
    "NV",
    "Zero Terminal SNR",
    "vary_coeff",
    "logSNR",
    "TAESD",
    "an odd: name, of a VAE.safetensors",
    "GFPGAN",
)


def of(text, settings=PLAIN, prompts=""):
    return overrides(parse_fields(f"{BASE}, {text}"), settings, prompts)


def test_nothing_is_asked_for_that_is_so_already():
    assert of("") == {}
    assert of("Clip skip: 1, Schedule rho: 0.0, Noise Schedule: Default") == {}
    assert of("RNG: CPU", PLAIN.changed({"randn_source": "CPU"})) == {}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Clip skip: 2", {"CLIP_stop_at_last_layers": 2}),
        ("RNG: NV", {"randn_source": "NV"}),
        ("ENSD: 31337", {"eta_noise_seed_delta": 31337}),
        ("VAE hash: 0123456789, VAE: kl-f8.safetensors", {"sd_vae": "kl-f8.safetensors"}),
        ("Eta: 0.5", {"eta_ancestral": 0.5}),
        ("TCD gamma: 0.5", {"tcd_gamma": 0.5}),
        ("Sigma churn: 5.0, Sigma tmax: 10", {"s_churn": 5.0, "s_tmax": 10.0}),
        ("Noise Schedule: Zero Terminal SNR", {"sd_noise_schedule": "Zero Terminal SNR"}),
        ("Discard penultimate sigma: True", {"always_discard_next_to_last_sigma": True}),
        ("Refiner switch by sampling steps: True", {"refiner_switch_by_sample_steps": True}),
        ("UniPC lower order final: False", {"uni_pc_lower_order_final": False}),
        ("Emphasis: No norm", {"emphasis": "No norm"}),
        ("Pad conds: True", {"pad_cond_uncond": True}),
        ("Clip skip: many, ENSD: -1, Steps: 3, Nonsense: 4", {}),
    ],
)
def test_what_differs(text, found):
    assert of(text) == found


def test_what_an_infotext_does_not_say():
    now = PLAIN.changed(
        {
            "CLIP_stop_at_last_layers": 2,
            "rho": 5,
            "refiner_switch_by_sample_steps": True,
            "emphasis": "None",
            "s_churn": 3,
        }
    )
    plain = {"CLIP_stop_at_last_layers": 1, "rho": 0.0, "refiner_switch_by_sample_steps": False}
    assert of("", now) == plain  # of churn and, without brackets, of emphasis it is silent
    assert of("", now, "a (fox)") == {**plain, "emphasis": "Original"}
    assert overrides({}, PLAIN.changed({"randn_source": "CPU"})) == {"randn_source": "GPU"}


@pytest.mark.parametrize(
    ("version", "prompts", "found"),
    [
        ("v1.5.2", "[a:b:0.5]", {"use_old_scheduling", "use_downcasted_alpha_bar"}),
        ("v1.5.2", "a", {"use_downcasted_alpha_bar"}),
        ("v1.6.0", "[a:b:0.5]", {"use_downcasted_alpha_bar"}),
        ("v1.7.0", "a", {"use_downcasted_alpha_bar"}),
        ("v1.7.0-224-g1234abcd", "a", {"use_downcasted_alpha_bar"}),
        ("v1.7.0-225-g1234abcd", "a", set()),
        ("v1.10.1", "[a:b:0.5]", set()),
        ("Atelier 0.1.0", "[a:b:0.5]", set()),
    ],
)
def test_old_versions(version, prompts, found):
    assert set(of(f"Version: {version}", prompts=prompts)) == found


def test_old_versions_count_only_where_that_is_wanted():
    assert of("Version: v1.5.2", PLAIN.changed({"auto_backcompat": False}), "[a:b:0.5]") == {}


def test_keys_that_are_passed_over():
    now = PLAIN.changed({"CLIP_stop_at_last_layers": 2})
    assert overrides({"Clip skip": "3", "ENSD": "5"}, now, skip=("Clip skip",)) == {"eta_noise_seed_delta": 5}
    assert overrides({"Clip skip": "3"}, now) == {"CLIP_stop_at_last_layers": 3}


def test_old_samplers_and_refiners():
    assert of("Sampler: DDIM, Version: v1.5.0") == {"pad_cond_uncond_v0": True, "use_downcasted_alpha_bar": True}
    refined = of("Refiner: x, Version: v1.7.0")
    assert refined == {"refiner_switch_by_sample_steps": True, "use_downcasted_alpha_bar": True}
    assert of("Refiner: x, Version: v1.8.0") == {}
    assert of("Downcast alphas_cumprod: False, Version: v1.5.0") == {}  # said is said


@pytest.mark.parametrize("case", RECORDED, ids=lambda case: case["case"])
def test_what_is_found_is_a_request(case):
    text = parse_infotext(case["infotext"])
    found = overrides(text.fields, PLAIN, f"{text.prompt}\n{text.negative_prompt}")
    PLAIN.changed(make_request({"override_settings": found}).override_settings)
    assert overrides(text.fields, PLAIN.changed(found), f"{text.prompt}\n{text.negative_prompt}") == {}


def others(value):
    """Values of the same type as `value`; not every option takes every one."""
    candidates = CHOICES if isinstance(value, str) else (not value, 2, 0.5)
    return [other for other in candidates if type(other) is type(value) and other != value]


@pytest.mark.parametrize("option", sorted(set(_OPTIONS.values()) & PLAIN.flat().keys()))
def test_every_option_comes_back_from_its_entry(option):
    changed = 0
    for value in others(PLAIN.flat()[option]):
        try:
            PLAIN.changed({option: value})
        except InputError:
            continue
        (entry,) = to_entries({option: value})
        found = from_entries([entry])
        assert found == {option: value}
        assert type(found[option]) is type(value)
        changed += 1
    assert changed


def test_entries_are_a1111s():
    options = {"eta_noise_seed_delta": 31337, "CLIP_stop_at_last_layers": 2, "samples_save": False}
    assert to_entries(options) == ["Clip skip: 2", "ENSD: 31337"]
    assert from_entries(["Model hash: 3bc4c51bc7", " Clip skip:3", "Clip skip: 2"]) == {
        "sd_model_checkpoint": "3bc4c51bc7",
        "CLIP_stop_at_last_layers": 2,
    }


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        (["Clip skip"], 'override_settings hold "Clip skip": it must look like "Clip skip: 2".'),
        (["Clip skip: "], 'override_settings hold "Clip skip: ": it must look like "Clip skip: 2".'),
        ([7], 'override_settings hold 7: it must look like "Clip skip: 2".'),
        (
            ["ENSD: 1", "Clipskip: 2"],
            'override_settings hold "Clipskip: 2", which is not known here. Nearest: Clip skip',
        ),
        (["Refiner: x"], 'override_settings hold "Refiner: x", which is not known here. '),
        (["samples_save: False"], 'override_settings hold "samples_save: False", which is not known here. '),
        (["Clip skip: 13"], 'Clip skip is "13": it must be at most 12.'),
        (["ENSD: x"], 'ENSD is "x": it must be a whole number.'),
        (["VAE: \ud800"], 'VAE is "?": it holds half of a surrogate pair'),
        ("Clip skip: 2", 'override_settings is "Clip skip: 2": it must be a list.'),
        (None, "override_settings is None: it must be a list."),
    ],
)
def test_a_wrong_entry_is_named(entries, message):
    with pytest.raises(InputError) as caught:
        from_entries(entries)
    assert caught.value.field == "override_settings"
    assert caught.value.message.startswith(message)
