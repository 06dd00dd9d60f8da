"""What the handlers of the tab Extras answer."""

import json
from typing import Any

import gradio as gr
import pytest

from modules.core.errors import InputError
from modules.jobs.service import JobService
from modules.requests.extras import ExtrasRequest
from tests.engine.test_extras import png
from tests.webui.conftest import built
from webui.extras_form import BATCH, DIRECTORY, FIELDS, SINGLE, to_extras_request
from webui.tabs.extras import ExtrasTab


@pytest.fixture
def tab(service: JobService) -> ExtrasTab:
    """The tab over that service."""

    def build() -> ExtrasTab:
        with gr.Blocks(analytics_enabled=False):
            return ExtrasTab(service)

    return built(build)


def told(tab: ExtrasTab, mode: str, *names: str, **more: Any) -> str:
    files = [[name, tab.uploads.keep(png(seed=i)).sha256] for i, name in enumerate(names)]
    return json.dumps({"mode": mode, "files": files, "resize_mode": 0, **more})


def values(tab: ExtrasTab, **changed: Any) -> list[Any]:
    return [changed.get(name.replace(".", "_"), tab.controls[name].value) for name in FIELDS]


def request_of(tab: ExtrasTab, said: str, **changed: Any) -> ExtrasRequest:
    return to_extras_request(said, values(tab, **changed), tab.uploads)


def test_the_form_begins_with_the_requests_defaults(tab):
    request = request_of(tab, told(tab, SINGLE, "a.png"))
    assert request == ExtrasRequest.model_validate({"images": request.images})


def test_operations_that_the_settings_disable_are_not_seen(service):
    def seen(*names: str) -> set[str]:
        service.change_options({"postprocessing_disable_in_extras": list(names)})

        def build() -> gr.Blocks:
            with gr.Blocks(analytics_enabled=False) as page:
                ExtrasTab(service)
            return page

        return {str(one.elem_id) for one in built(build).blocks.values() if getattr(one, "visible", False) is True}

    whole = seen()
    gone = whole - seen("Upscale", "CodeFormer", "Auto focal point crop", "Create flipped copies", "Caption")
    assert gone == {
        *("extras_upscale", "extras_codeformer_visibility", "extras_codeformer_weight", "extras_focal"),
        *("extras_flipped_copies", "extras_caption", "extras_tags"),
    }
    assert whole - seen("GFPGAN", "CodeFormer") >= {"extras_faces"}


def test_what_is_switched_on_is_in_the_request(tab):
    more = {"split_oversized": True, "split_oversized_threshold": 0.25, "flipped_copies": ["Both"], "output_dir": "x"}
    request = request_of(tab, told(tab, BATCH, "a.png", "b.png", resize_mode=1), **more)
    assert request.split_oversized and request.split_oversized.threshold == 0.25
    assert request.names == ("a.png", "b.png") and request.resize_mode == 1 and request.output_dir == "x"
    assert request.focal_crop is None and request.autosized_crop is None


def test_a_folder(tab, service):
    folder = service.paths.data / "in"
    folder.mkdir()
    (folder / "a.png").write_bytes(png())
    job_id = "a" * 32
    assert tab.submit(job_id, "", told(tab, DIRECTORY), *values(tab, input_dir="in")) == job_id
    assert service.job(job_id).request.input_dir == "in"
    assert tab.submit(job_id, "", "nonsense", *values(tab)) == job_id  # a press that arrives twice


def test_menus_hold_what_is_on_disk(tab, service):
    (service.paths.data / "models" / "ESRGAN").mkdir()
    (service.paths.data / "models" / "ESRGAN" / "4x_new.pth").write_bytes(b"")
    assert "4x_new" in tab.menus()[0]["choices"]


@pytest.mark.parametrize(
    ("said", "changed", "words"),
    [
        ("nonsense", {}, "Load it again"),
        ("[" * 10_000, {}, "Load it again"),
        ({"mode": "Elsewhere"}, {}, "Load it again"),
        ({"mode": SINGLE, "files": [["a"]]}, {}, "Load it again"),
        ({"mode": SINGLE}, {}, "no picture to work on"),
        ({"mode": SINGLE, "files": [["a", "../etc"]]}, {}, "no picture's hash"),
        ({"mode": SINGLE, "files": [["a", "0" * 64]]}, {}, "no longer kept"),
        ({"mode": DIRECTORY}, {"input_dir": " "}, "Input directory is empty"),
        ({"mode": DIRECTORY}, {"input_dir": "x", "upscaling_resize": 99}, "Resize is 99"),
        ({"mode": DIRECTORY}, {"input_dir": "nowhere"}, "Input directory .* does not exist"),
        ({"trouble": "a.png: too large"}, {}, "a.png: too large"),
    ],
)
def test_wrong_presses(tab, service, said, changed, words):
    with pytest.raises(InputError, match=words):
        tab.submit("b" * 32, "", said if isinstance(said, str) else json.dumps(said), *values(tab, **changed))
    assert not service.store.unfinished()
