"""Applying only some of a picture's settings."""

import json

import gradio as gr
import pytest

from modules.core.errors import InputError
from modules.images.infotext import parse_infotext
from webui.form import TXT2IMG
from webui.groups import GROUPS, Sent, applied, chosen_entries, group_of_field, group_of_key, limited, read_sent
from webui.tabs.txt2img import Txt2ImgTab

INFOTEXT = (
    "a fox <lora:red:0.5>\nNegative prompt: blue\nSteps: 9, Sampler: Euler, Schedule type: Karras, CFG scale: 3, Seed: 5, Size: 128x64, "
    "Model hash: 0123456789, Model: nowhere, Clip skip: 2, freeu_enabled: True, Version: v1.10.1"
)


@pytest.fixture
def notices(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    shown: list[str] = []
    monkeypatch.setattr(gr, "Warning", shown.append)
    return shown


def received(
    tab: Txt2ImgTab, *groups: str, infotext: str = INFOTEXT, entries=(), prompt: str = "mine"
) -> tuple[dict, list]:
    """The values that fields get, and the names told to the page's memory."""
    message = json.dumps({"infotext": infotext, "groups": list(groups) or None, "prompt": prompt})
    *updates, names = tab.receive(message, list(entries), prompt, "small.safetensors")
    values = {name: update["value"] for name, update in zip(tab.names, updates, strict=True) if "value" in update}
    assert set(values) == set(json.loads(names))
    return values, json.loads(names)


def test_everything(tab, notices):
    values, _ = received(tab)
    assert (values["prompt"], values["negative_prompt"], values["seed"]) == ("a fox <lora:red:0.5>", "blue", "5")
    assert (values["steps"], values["width"], values["height"], values["cfg_scale"]) == (9, 128, 64, 3)
    assert (values["sampler_name"], values["scheduler"], values["freeu_enabled"]) == ("Euler", "Karras", True)
    assert values["override_settings"] == ["Clip skip: 2"]
    assert "is not here" in notices[0]


def test_seed_and_size_stay_where_the_settings_say_so(tab, service, notices):
    service.change_options({"send_seed": False})
    values, _ = received(tab)
    assert "seed" not in values
    assert (values["width"], values["steps"]) == (128, 9)
    assert received(tab, "seed")[0]["seed"] == "5", "chosen is chosen"
    service.change_options({"send_seed": True, "send_size": False})
    values, _ = received(tab)
    assert {"width", "height"}.isdisjoint(values)
    assert values["seed"] == "5"
    message = json.dumps({"infotext": INFOTEXT, "groups": None, "prompt": "", "pasted": True})
    *updates, _ = tab.receive(message, [], "", "small.safetensors")
    assert dict(zip(tab.names, updates, strict=True))["width"]["value"] == 128, (
        "what is dropped on the page is not sent"
    )


def test_fields_that_pasting_disregards(tab, service, notices):
    service.change_options({"infotext_skip_pasting": ["Prompt", "Seed", "Size-1", "Clip skip", "Model", "Model hash"]})
    values, _ = received(tab)
    assert {"prompt", "seed", "width", "height"}.isdisjoint(values)
    assert (values["negative_prompt"], values["steps"], values["override_settings"]) == ("blue", 9, [])
    assert notices == [], "its checkpoint, which is not here, is of no interest"


def test_the_checkpoint_that_is_chosen_stays(tab, service, notices):
    infotext = INFOTEXT.replace("Model: nowhere", "Model: large")
    assert "Model: large" in received(tab, infotext=infotext)[0]["override_settings"]
    service.change_options({"disable_weights_auto_swap": True})
    assert received(tab, infotext=infotext)[0]["override_settings"] == ["Clip skip: 2"]
    assert received(tab)[0]["override_settings"] == ["Clip skip: 2"]
    assert notices == []


@pytest.mark.parametrize(
    ("groups", "fields"),
    [
        (("prompt", "networks"), {"prompt": "a fox <lora:red:0.5>"}),
        (("prompt",), {"prompt": "a fox"}),
        (("networks",), {"prompt": "mine <lora:red:0.5>"}),
        (("negative_prompt",), {"negative_prompt": "blue"}),
        (("seed",), {"seed": "5", "seed_extra": False}),
        (("size",), {"width": 128, "height": 64}),
        (("sampler", "steps"), {"sampler_name": "Euler", "scheduler": "Karras", "steps": 9}),
    ],
)
def test_only_some(tab, notices, groups, fields):
    assert received(tab, *groups)[0] == fields
    assert notices == []


def test_settings_of_what_is_not_chosen_stay(tab, notices):
    before = ["ENSD: 3", "VAE: x"]
    assert received(tab, "model", entries=before)[0]["override_settings"] == ["ENSD: 3"]
    assert received(tab, "rest", entries=before)[0]["override_settings"] == ["Clip skip: 2", "VAE: x"]
    assert "override_settings" not in received(tab, "seed", entries=before)[0]
    assert chosen_entries(Sent(infotext="x"), ["a: 1"], ["b: 2"]) == ["a: 1"]


def test_a_prompt_alone_and_names_that_are_not_known(tab, notices):
    assert received(tab, "prompt", "networks", infotext="only words")[0] == {"prompt": "only words"}
    values, _ = received(tab, "sampler", "seed", infotext="x\nSteps: 1, Sampler: nope, Seed: 4, Size: 8x8")
    assert values["seed"] == "4"
    assert "sampler_name" not in values
    assert len(notices) == 1


@pytest.mark.parametrize(
    "message",
    [None, "", "x", 7, "[]", "null", '{"infotext": " "}', '{"groups": ["seed"]}', '{"infotext": "a", "groups": []}',
     '{"infotext": "a", "groups": ["nope"]}', "[" * 100_000],
)  # fmt: skip
def test_messages_that_are_none(message):
    with pytest.raises(InputError):
        read_sent(message)


def test_every_field_and_key_belongs_to_one_group():
    assert {group_of_field(name) for name in TXT2IMG.names} <= set(GROUPS)
    assert (group_of_key("Hires upscale"), group_of_key("Module 3"), group_of_key("Eta")) == ("hires", "model", "rest")
    assert group_of_key("Variation seed strength") == "seed"
    assert applied(Sent(infotext="x"), TXT2IMG.names) == {*TXT2IMG.names}
    assert (
        parse_infotext(limited(Sent(infotext="a\nSteps: 1, Seed: 2, Size: 8x8", groups=("seed",)))).fields["Seed"]
        == "2"
    )
