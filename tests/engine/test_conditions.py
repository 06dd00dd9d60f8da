"""What of the conditioning is kept across jobs, and what makes it anew."""

from typing import Any

import pytest
import torch

from modules.core.settings import Settings
from modules.engine.conditions import KEPT, Conditions
from modules.engine.plan import make_plan
from modules.families.clip_prompts import PromptEncoder
from modules.prompting.tokenizer import build_tokenizer
from modules.requests.catalogue import SHIPPED, Catalogue
from modules.requests.txt2img import make_request

CATALOGUE = Catalogue.model_validate_json(SHIPPED.read_bytes())
TOKENIZER = build_tokenizer()


class Model:
    """A loaded model as far as its prompts go; `encoded` collects the texts that were."""

    chunked = True
    downscale = 8

    def __init__(self):
        self.encoded = []
        self.prompts = self
        self._encoder = PromptEncoder(TOKENIZER, lambda ids, skip: ids[:, :, None].float() + skip)

    def encode_together(self, texts, counts, options):
        self.encoded.extend(texts)
        return self._encoder.encode_together(texts, counts, options)

    def new(self, conditions, prompt, options=None, **values):
        """The texts that this plan makes the model encode."""
        self.encoded.clear()
        conditions.guides(self, plan(prompt, options, **values))
        return self.encoded


def plan(prompt, options=None, **values):
    return make_plan(
        make_request({"prompt": prompt, "negative_prompt": "not", **values}),
        seed=1,
        options=Settings().changed(options or {}).flat(),
        catalogue=CATALOGUE,
        model_name="",
        model_hash="",
    )


def test_same_texts_are_encoded_once():
    conditions, model = Conditions(), Model()
    assert model.new(conditions, "kept") == ["kept", "not"]
    assert model.new(conditions, "kept", steps=5, cfg_scale=4, sampler_name="Heun", seed=3) == []
    assert model.new(conditions, "[kept|other] star AND kept") == ["kept star", "other star", " kept"]
    assert model.new(conditions, "[kept|other] star") == []
    assert model.new(conditions, "[kept|other] star", steps=21) == ["kept star", "other star"]  # a mean of 11 : 10


@pytest.mark.parametrize(
    "options",
    [{"CLIP_stop_at_last_layers": 2}, {"emphasis": "Ignore"}, {"comma_padding_backtrack": 0}],
    ids=lambda options: next(iter(options)),
)
def test_text_options_make_it_anew(options):
    conditions, model = Conditions(), Model()
    model.new(conditions, "kept")
    assert model.new(conditions, "kept", options) == ["kept", "not"]
    assert model.new(conditions, "kept") == []


def test_tags_make_it_anew():
    conditions, model = Conditions(), Model()
    model.new(conditions, "kept")
    assert model.new(conditions, "kept<lora:x:1>") == ["kept", "not"]
    assert model.new(conditions, "kept<lora:x:1>") == []
    assert model.new(conditions, "kept<lora:x:0.5>") == ["kept", "not"]


def test_another_model_makes_it_anew_and_lets_go_of_the_old():
    conditions, one, other = Conditions(), Model(), Model()
    one.new(conditions, "kept")
    assert other.new(conditions, "kept") == ["kept", "not"]
    assert one.new(conditions, "kept") == ["kept", "not"]


def test_the_last_used_are_kept():
    conditions, model = Conditions(), Model()
    for i in range(KEPT):
        model.new(conditions, f"number {i}")
    assert model.new(conditions, "number 1") == []
    assert model.new(conditions, "one more") == ["one more"]
    assert model.new(conditions, "number 1") == []
    assert model.new(conditions, "number 2") == ["number 2"]


def test_an_edit_switches_tensors_with_the_step():
    model: Any = Model()
    cond = Conditions().guides(model, plan("[red:blue:2] star", steps=4)).cond
    ((scheduled, weight),) = cond.parts
    ids = torch.tensor(
        [TOKENIZER.encode(word, add_special_tokens=False).ids[0] for word in ("red", "red", "red", "blue", "blue")]
    )
    found = [scheduled.at(step)[1, 0].item() for step in (0, 1, 2, 3, 4)]
    assert (found, weight) == ([i + 1.0 for i in ids.tolist()], 1.0)
