"""Prompts through the engine: what is drawn, what the infotext says, what is encoded anew."""

import pytest

from modules.core.paths import Paths
from modules.core.settings import Settings
from modules.engine.build import build_engine
from modules.families.clip_prompts import PromptEncoder
from modules.images.infotext import parse_infotext
from modules.jobs.executors.base import Cancel
from modules.requests.events import Failed, ImageReady, Order, Warned
from modules.requests.txt2img import make_request
from tests.tiny import write_tiny

SMALL = {"width": 64, "height": 64, "steps": 4, "cfg_scale": 3, "sampler_name": "Euler"}


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    data = tmp_path_factory.mktemp("prompts")
    write_tiny(data / "models" / "Stable-diffusion" / "tiny.safetensors")
    return build_engine(paths=Paths(data=data), use_cpu=True)


@pytest.fixture
def encoded(monkeypatch):
    """The texts that go to the text encoder."""
    found = []
    encode = PromptEncoder.encode_together

    def watched(self, texts, counts, options):
        found.extend(texts)
        return encode(self, texts, counts, options)

    monkeypatch.setattr(PromptEncoder, "encode_together", watched)
    return found


def run(engine, prompt, options=None, **values):
    settings = Settings().changed({"sd_model_checkpoint": "tiny", "live_previews_enable": False, **(options or {})})
    request = make_request({**SMALL, "prompt": prompt, **values})
    return list(engine.run(Order(job="test", request=request, seed=1, options=settings.flat()), Cancel()))[-2:]


def draw(engine, prompt, options=None, **values):
    ready = run(engine, prompt, options, **values)[0]
    assert isinstance(ready, ImageReady), ready
    return ready


def pixels(engine, prompt, options=None, **values):
    return draw(engine, prompt, {"enable_pnginfo": False, **(options or {})}, **values).data


def fields(engine, prompt, options, **values):
    return parse_infotext(draw(engine, prompt, options, **values).infotext).fields


def test_prompts_that_mean_the_same_draw_the_same(engine):
    for one, other in (
        ("red star", "[red star:blue moon:1.0]"),
        ("blue moon", "[red star:blue moon:0]"),
        ("a star", "a star<lora:unknown:1>"),
        ("a (star)", "a (star:1.1)"),
        ("[a|a] star", "a star"),
    ):
        assert pixels(engine, one) == pixels(engine, other), (one, other)


def test_prompts_that_differ_draw_differently(engine):
    different = [
        "a star",
        "a (star:1.4)",
        "a star AND a moon",
        "a star AND a moon :0.5",
        "[a star:a moon:2]",
        "[a star|a moon]",
        "a BREAK star",
    ]
    assert len({pixels(engine, prompt) for prompt in different}) == len(different)
    assert pixels(engine, "a star", negative_prompt="[a moon:2]") != pixels(engine, "a star", negative_prompt="a moon")


def test_an_edit_counts_the_models_calls(engine):
    """The first call is number 0, so that step 1 is asked for twice; Heun calls twice a step and counts both."""
    assert pixels(engine, "[red:blue:2]", steps=4) != pixels(engine, "[red:blue:1]", steps=4)
    assert pixels(engine, "[red:blue:3]", steps=4) == pixels(engine, "red", steps=4)
    half = pixels(engine, "[red:blue:0.5]", sampler_name="Heun")
    assert half == pixels(engine, "[red:blue:4]", sampler_name="Heun")
    assert half != pixels(engine, "[red:blue:2]", sampler_name="Heun")


def test_tags_that_nothing_answers_are_told_once(engine):
    request = make_request({**SMALL, "prompt": "a <lora:x:1> <lora:y:1> <hypernet:z> <odd:z>", "steps": 1, "n_iter": 2})
    options = Settings().changed({"sd_model_checkpoint": "tiny"}).flat()
    events = list(engine.run(Order(job="test", request=request, seed=1, options=options), Cancel()))
    assert [e.message[:10] for e in events if isinstance(e, Warned)] == ["<odd:...> ", "Networks n", "Hypernetwo"]


def test_infotext_names_what_matters(engine):
    prompt = "a (star:1.2) <lora:x:1>"
    ready = draw(engine, prompt, {"emphasis": "No norm"})
    assert parse_infotext(ready.infotext).prompt == prompt
    assert parse_infotext(ready.infotext).fields["Emphasis"] == "No norm"
    assert "Emphasis" not in fields(engine, "a star", {"emphasis": "No norm"})
    assert "Emphasis" not in fields(engine, "[a star:a moon:2]", {"emphasis": "None"})
    assert fields(engine, "a star", {"emphasis": "None"}, negative_prompt="[x]")["Emphasis"] == "None"
    assert "Emphasis" not in fields(engine, prompt, {})


def test_infotext_names_padding_where_it_happens(engine):
    long = "star " * 80
    found = fields(engine, long, {"pad_cond_uncond": True, "emphasis": "None"}, negative_prompt="(x)")
    assert list(found)[-3:] == ["Emphasis", "Pad conds", "Version"]
    done = run(engine, long, {"pad_cond_uncond": True, "emphasis": "None"}, negative_prompt="(x)")[-1]
    assert done.info["extra_generation_params"] == {"Emphasis": "None", "Pad conds": True}
    assert found["Pad conds"] == "True"
    assert fields(engine, long, {"pad_cond_uncond": True, "pad_cond_uncond_v0": True})["Pad conds v0"] == "True"
    assert "Pad conds" not in fields(engine, "star", {"pad_cond_uncond": True})
    pictures = [pixels(engine, long, o) for o in ({}, {"pad_cond_uncond": True}, {"pad_cond_uncond_v0": True})]
    assert len(set(pictures)) > 1  # so small a model may round two of them to the same bytes


def test_infotext_names_the_old_timeline_where_it_differs(engine):
    old = {"use_old_scheduling": True}
    assert fields(engine, "[red:blue:1.5]", old)["Old prompt editing timelines"] == "True"
    assert "Old prompt editing timelines" not in fields(engine, "[red:blue:0.5]", old)
    assert pixels(engine, "[red:blue:1.5]", old) == pixels(engine, "[red:blue:1]")


def test_conditioning_is_kept_across_jobs(engine, encoded):
    draw(engine, "kept", negative_prompt="not", steps=1)
    assert encoded == ["kept", "not"]
    draw(engine, "kept", negative_prompt="not", steps=2, seed=9, cfg_scale=4)
    assert encoded == ["kept", "not"]


@pytest.mark.parametrize(
    ("prompt", "sentence"), [("BREAK " * 1001, "chunks of 75 tokens"), ("a AND " * 100, "101 parts joined by AND")]
)
def test_what_cannot_be_drawn_is_one_sentence(engine, prompt, sentence):
    failed = run(engine, prompt)[-1]
    assert isinstance(failed, Failed)
    assert failed.field == "prompt"
    assert sentence in failed.message
