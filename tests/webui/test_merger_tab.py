"""What the merger tab's handlers answer."""

import json
import uuid

import gradio as gr
import pytest

from modules.core.errors import InputError
from modules.jobs.service import JobService
from modules.requests.merge import ExtractLoraRequest, MergeLorasRequest, MergeRequest
from tests.jobs.helpers import write_checkpoint
from tests.webui.conftest import built
from webui.merge_form import FORMS, METHOD_WORDS, form_of, labelled, to_file_request
from webui.tabs.merger import MergerTab

MODELS = {"primary_model_name": "small.safetensors", "secondary_model_name": "large.safetensors"}
COMPONENTS = {"merge": "controls", "extract": "extraction", "loras": "joining"}


@pytest.fixture
def tab(service: JobService) -> MergerTab:
    """The tab over that service."""

    def build() -> MergerTab:
        with gr.Blocks(analytics_enabled=False):
            return MergerTab(service)

    return built(build)


def values_of(tab: MergerTab, form: str, **given) -> list:
    """What a page sends: each component's own value but for those given; empty menus are None."""
    components = getattr(tab, COMPONENTS[form])
    return [given.get(name, components[name].value) for name in FORMS[form][1]]


@pytest.mark.parametrize("form", FORMS)
def test_every_field_of_a_request_is_on_the_page_and_starts_from_its_default(tab: MergerTab, form: str):
    kind, labels = FORMS[form]
    assert set(labels) == set(kind.model_fields)
    for name, label in labels.items():
        component = getattr(tab, COMPONENTS[form])[name]
        assert component.label == label
        assert component.elem_id.startswith("modelmerger_")
        default = kind.model_fields[name].default
        assert component.value in (default, None, "None", "", [])


def test_a_press_is_a_job_and_twice_the_same_is_one(tab: MergerTab, service: JobService):
    job_id = uuid.uuid4().hex
    values = values_of(tab, "merge", **MODELS, custom_name="x", save_as_half=True)
    assert tab.submit("merge", job_id, *values) == tab.submit("merge", job_id, *values) == job_id
    job = service.job(job_id)
    assert (job.kind, type(job.request)) == ("merge", MergeRequest)
    assert job.request.primary_model_name == "small.safetensors"
    assert (job.request.multiplier, job.request.save_as_half, job.request.bake_in_vae) == (0.3, True, "")
    assert form_of(job.request) == "merge"
    assert len(service.store.recent(10)) == 1


def test_the_other_forms(tab: MergerTab, service: JobService):
    names = {"tuned_model_name": "small.safetensors", "base_model_name": "large.safetensors"}
    job = service.job(tab.submit("extract", "no id", *values_of(tab, "extract", **names, rank=8)))
    assert (type(job.request), job.request.rank, job.request.text_encoder) == (ExtractLoraRequest, 8, True)
    folder = service.paths.data / "models" / "Lora"
    for name in ("a", "b"):
        write_checkpoint(folder / f"{name}.safetensors")
    assert tab.fill()[6]["choices"] == ["a", "b", "starter-parchment"]
    job = service.job(tab.submit("loras", None, *values_of(tab, "loras", loras=["a", "b"], weights="1, -0.5")))
    assert isinstance(job.request, MergeLorasRequest)
    assert job.request.pairs == (("a", 1.0), ("b", -0.5))


def test_errors_call_fields_as_the_page_does(tab: MergerTab):
    for form, given, words in (
        ("merge", {}, "Primary model (A) is empty: Weighted sum needs model A."),
        ("merge", {**MODELS, "primary_model_name": "gone"}, 'Primary model (A) "gone" is not known.'),
        ("merge", {**MODELS, "multiplier": 3}, "Multiplier (M) - set to 0 to get model A is 3: it must be at most 1."),
        ("extract", {"rank": None, "tuned_model_name": "x"}, "Base checkpoint is empty."),
        ("loras", {}, "LoRAs is empty."),
        ("loras", {"loras": ["a"], "weights": "one"}, 'Weights, between commas (1 each) is "one"'),
    ):
        with pytest.raises(InputError) as caught:
            tab.submit(form, "", *values_of(tab, form, **given))
        assert caught.value.message.startswith(words)
    assert labelled("merge", "bake_in_vae", "Something else.") == "Something else."
    assert labelled("merge", None, "Something else.") == "Something else."


def test_menus_and_metadata(tab: MergerTab, service: JobService):
    menus = tab.fill()
    assert [name for _, name in menus[0]["choices"]][:2] == ["large.safetensors", "small.safetensors"]
    assert menus[3]["choices"] == ["None"]
    assert menus[7]["choices"][0] == "None"
    path = service.paths.data / "models" / "Stable-diffusion" / "told.safetensors"
    write_checkpoint(path, {"a": '{"b": 1}', "c": "{broken", "d": "ä"})
    (path.parent / "bad.safetensors").write_bytes(b"x")
    found = json.loads(tab.read_metadata("told.safetensors", None, "bad.safetensors"))
    assert found == {"a": {"b": 1}, "c": "{broken", "d": "ä"}
    with pytest.raises(InputError, match="gone"):
        tab.read_metadata("gone", None, None)


def test_methods_have_words():
    request = to_file_request("merge", [MODELS.get(n) for n in FORMS["merge"][1]])
    assert isinstance(request, MergeRequest)
    assert request.interp_method in METHOD_WORDS
