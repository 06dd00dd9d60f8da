"""The prompt language against what A1111 1.10.1 recorded.

What is in data/ needs no checkpoint. With ATELIER_PARITY (the folder of records) and ATELIER_PARITY_CHECKPOINT (the
checkpoint they were made with) the conditioning is compared too.
"""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from modules.core.settings import Settings
from modules.devices.choice import Compute
from modules.engine import plan as plans
from modules.engine.conditions import Conditions
from modules.engine.plan import make_plan
from modules.families import sd1
from modules.families.clip_prompts import PromptEncoder, TextOptions
from modules.families.ldm_keys import TEXT
from modules.prompting.attention import parse_attention
from modules.prompting.compose import split_composed
from modules.prompting.schedule import Timeline, schedule
from modules.prompting.tokenizer import build_tokenizer
from modules.requests.catalogue import SHIPPED, Catalogue
from modules.requests.txt2img import make_request
from tests.parity.runs import CHECKPOINT, RECORDS, relative

pytestmark = pytest.mark.parity

DATA = Path(__file__).parent / "data"
PROMPTS = json.loads((DATA / "prompts.json").read_text("utf-8"))
RUNS = json.loads((DATA / "prompt_runs.json").read_text("utf-8"))
TOKENIZER = build_tokenizer()
CPU = Compute(device=torch.device("cpu"), dtype=torch.float32, vae_dtype=torch.float32)

needs_checkpoint = pytest.mark.skipif(
    not (RECORDS.is_dir() and CHECKPOINT.is_file()), reason="ATELIER_PARITY and ATELIER_PARITY_CHECKPOINT are not set"
)


def nothing(ids, clip_skip):
    return torch.zeros(*ids.shape, 1)


def options_of(settings):
    return TextOptions(
        clip_skip=settings.get("CLIP_stop_at_last_layers", 1),
        emphasis=settings.get("emphasis", "Original"),
        comma_padding_backtrack=settings.get("comma_padding_backtrack", 20),
    )


def plan_of(request):
    values = dict(request)
    options = Settings().changed(values.pop("override_settings")).flat()
    return make_plan(
        make_request(values),
        seed=values["seed"],
        options=options,
        catalogue=Catalogue.model_validate_json(SHIPPED.read_bytes()),
        model_name="synth15",
        model_hash="3bc4c51bc7",
    )


@pytest.mark.parametrize("case", PROMPTS["parse"], ids=[repr(case["prompt"])[:40] for case in PROMPTS["parse"]])
def test_parse(case):
    text = case["prompt"]
    assert [list(piece) for piece in parse_attention(text)] == case["attention"]
    assert [list(part) for part in split_composed(text)] == case["multicond"]
    for name, timeline in (
        ("schedule_12", Timeline(steps=12)),
        ("schedule_20", Timeline(steps=20)),
        ("schedule_20_old", Timeline(steps=20, old=True)),
        ("schedule_20_hires_10", Timeline(steps=10, first_pass=20)),
    ):
        assert [[span.end, span.text] for span in schedule(text, timeline)] == case[name], name


@pytest.mark.parametrize("name", PROMPTS["chunks"])
def test_chunks(name):
    case = PROMPTS["chunks"][name]
    chunks = PromptEncoder(TOKENIZER, nothing).chunks(case["prompt"], options_of(case["settings"]))
    assert [list(chunk.ids) for chunk in chunks] == case["ids"]
    weights = np.array([chunk.weights for chunk in chunks], dtype=np.float32)
    assert np.array_equal(weights, np.array(case["weights"], dtype=np.float32))


@pytest.mark.parametrize("name", RUNS)
def test_infotext(name, monkeypatch):
    class Model:
        chunked = True
        downscale = 8
        prompts = PromptEncoder(TOKENIZER, nothing)

    monkeypatch.setattr(plans, "VERSION", "v1.10.1")
    plan = plan_of(RUNS[name]["request"])
    guides = Conditions().guides(Model(), plan)  # type: ignore[arg-type]  # of a model no more is used
    assert plan.infotext(plan.seeds[0], plan.subseeds[0], guides.fields) == RUNS[name]["infotext"]


@pytest.fixture(scope="module")
def text_encoder():
    from safetensors import safe_open

    with safe_open(CHECKPOINT, "pt") as file:
        tensors = {key[len(TEXT) :]: file.get_tensor(key) for key in file.keys() if key.startswith(TEXT)}  # noqa: SIM118
    return PromptEncoder(TOKENIZER, sd1._TextEncoder(sd1.build_text(tensors, CPU.device, CPU.dtype), CPU))


@needs_checkpoint
@pytest.mark.parametrize("name", ["cond", "cond2"])
def test_conditioning(name, text_encoder):
    cases = json.loads((RECORDS / "d_parse" / f"{name}.json").read_text("utf-8"))
    recorded = np.load(RECORDS / "d_parse" / f"{name}.npz")
    errors = {}
    with torch.inference_mode():
        for case, values in cases.items():
            encoded = text_encoder.encode([values["prompt"]], options_of(values["settings"]))[0].numpy()
            errors[case] = relative(encoded, recorded[case])
            print(f"{case:28} {errors[case]:.1e}")
    assert max(errors.values()) <= 1e-4
