"""Infotexts of A1111 1.10.1 for requests that touch samplers, schedules, noise and guidance: equal, letter by letter."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from modules.core.settings import Settings
from modules.engine.plan import VERSION, make_plan
from modules.images.infotext import parse_infotext, to_request_values
from modules.requests.catalogue import SHIPPED, Catalogue
from modules.requests.txt2img import make_request

RECORDED = json.loads(Path(__file__).with_name("data").joinpath("infotexts.json").read_text("utf-8"))
FOLDERS = ("a_samplers", "b_schedulers", "f_seeds", "m_sgm_noise")
CATALOGUE = Catalogue.model_validate_json(SHIPPED.read_bytes())


def planned(case: dict[str, Any]):
    values = dict(case["request"])
    overrides = values.pop("override_settings", {})
    request = make_request(values)
    return make_plan(
        request,
        seed=request.seed,
        options=Settings().changed(overrides).flat(),
        catalogue=CATALOGUE,
        model_name="synth15",
        model_hash="3bc4c51bc7",
    )


def infotexts(case: dict[str, Any]) -> list[str]:
    plan = planned(case)
    return [
        plan.infotext(*seeds, {}).replace(VERSION, "v1.10.1") for seeds in zip(plan.seeds, plan.subseeds, strict=True)
    ]


@pytest.mark.parametrize("name", RECORDED)
def test_infotext_equals_a1111(name):
    assert infotexts(RECORDED[name]) == RECORDED[name]["infotexts"]


@pytest.mark.parametrize("name", RECORDED)
def test_infotext_asks_for_the_same_again(name):
    plan = planned(RECORDED[name])
    values = to_request_values(parse_infotext(RECORDED[name]["infotexts"][0]))
    again = make_plan(
        make_request(values),
        seed=int(values["seed"]),
        options=plan.options,
        catalogue=CATALOGUE,
        model_name="",
        model_hash="",
    )
    assert (again.sampler, again.schedule, again.seeds[0]) == (plan.sampler, plan.schedule, plan.seeds[0])
    if plan.request.subseed_strength:
        assert again.subseeds[0] == plan.subseeds[0]
    assert again.resized == plan.resized


@pytest.mark.parity
def test_all_infotexts_of_a_folder():
    folder = os.environ.get("ATELIER_PARITY")
    if not folder:
        pytest.skip("ATELIER_PARITY names no folder of records")
    cases = [path for name in FOLDERS for path in sorted(Path(folder, name).glob("*.json"))]
    assert cases
    unequal = []
    for path in cases:
        case = json.loads(path.read_text("utf-8"))
        if infotexts(case) != case["infotexts"]:
            unequal.append(path.stem)
    print(f"\n{len(cases) - len(unequal)} of {len(cases)} infotexts equal {unequal}")
    assert not unequal
