"""ui-config.json, as A1111 writes it."""

import json
import logging

import gradio as gr

from tests.webui.conftest import built
from webui.parts.quicksettings import build_quicksettings
from webui.tabs.txt2img import Txt2ImgTab


def tab_with(service, entries) -> Txt2ImgTab:
    text = entries if isinstance(entries, str) else json.dumps(entries)
    service.paths.ui_config.write_text(text, "utf-8")

    def build() -> Txt2ImgTab:
        with gr.Blocks(analytics_enabled=False):
            return Txt2ImgTab(service, *build_quicksettings())

    return built(build)


def started(tab: Txt2ImgTab, memory: str = "") -> dict:
    return json.loads(tab.fill(memory)[-1])


def test_what_the_user_changed_comes_before_the_checkpoints_defaults(service):
    tab = tab_with(
        service,
        {
            "txt2img/Sampling steps/value": 33,
            "txt2img/Width/value": 512,  # A1111's own: the checkpoint's 128 counts
            "customscript/sampler.py/txt2img/Sampling method/value": "DPM++ 2M",
            "img2img/Height/value": 64,
            "customscript/some_extension.py/txt2img/Strange/value": 3,
            "modelmerger/Custom Name (Optional)/value": "",
        },
    )
    values = started(tab)
    assert (values["steps"], values["width"], values["height"]) == (33, 128, 192)
    assert values["sampler_name"] == "Euler a"
    kept = json.dumps({"checkpoint": "small.safetensors", "touched": {"steps": 5}})
    assert started(tab, kept)["steps"] == 5


def test_ranges_are_narrowed_and_fields_are_hidden(service):
    tab = tab_with(
        service,
        {
            "txt2img/Sampling steps/minimum": 4,
            "txt2img/Sampling steps/maximum": 9000,
            "txt2img/CFG Scale/step": 0.25,
            "txt2img/Distilled CFG Scale/visible": False,
        },
    )
    steps = tab.fields["steps"]
    assert (steps.minimum, steps.maximum) == (4, 150)
    assert tab.fields["cfg_scale"].step == 0.25
    assert tab.fields["distilled_cfg_scale"].visible == "hidden"


def test_wrong_entries_are_told_and_left_out(service, caplog):
    wrong = {
        "txt2img/Sampling steps/value": "many",
        "txt2img/Width/minimum": "small",
        "txt2img/Height/minimum": 900,
        "txt2img/Height/maximum": 800,
        "txt2img/Prompt/visible": "no",
        "txt2img/CFG Scale/value": 5,
    }
    with caplog.at_level(logging.WARNING):
        tab = tab_with(service, wrong)
    assert started(tab)["steps"] == 12
    assert started(tab)["cfg_scale"] == 5
    assert tab.fields["height"].maximum == 2048
    for sentence in (
        'steps is "many"',
        'width: its minimum is "small": it must be a number. The entry is left out.',
        "height: its minimum 900 is not below its maximum 800.",
        'prompt: visible is "no": it must be true or false.',
    ):
        assert f"ui-config.json, tab txt2img: {sentence}" in caplog.text


def test_a_broken_file_is_told_and_left_out(service, caplog):
    for text in ("{", "[1]"):
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            assert started(tab_with(service, text))["steps"] == 12
        assert caplog.text.count("ui-config.json is left out:") == 1
