"""Diffusers folders of transformer families, as their pipelines save them, draw what their single files draw."""

import numpy as np
import pytest

from modules.core.paths import Paths
from modules.core.settings import Settings
from modules.engine.build import build_engine
from modules.jobs.executors.base import Cancel
from modules.requests.events import Order
from modules.requests.txt2img import make_request
from tests.families import test_pixart, test_sana
from tests.families.tiny_language import SEED, drawing, picture


def sigma(folder):
    return test_pixart.Tiny(folder, alpha=False)


@pytest.mark.parametrize("made", [sigma, test_sana.Tiny])
def test_a_folder_draws_as_its_file(made, tmp_path, monkeypatch):
    tiny = made(tmp_path / "tokenizer")
    wanted = picture(drawing(monkeypatch, tmp_path / "file", tiny.tensors, tiny.tokenizers)())
    monkeypatch.undo()
    tiny.pipeline().save_pretrained(tmp_path / "data/models/Stable-diffusion/folder")
    engine = build_engine(paths=Paths(data=tmp_path / "data"), use_cpu=True)
    options = Settings().changed({"sd_model_checkpoint": "folder", "randn_source": "CPU"}).flat()
    values = {"prompt": test_sana.SENTENCE, "width": 64, "height": 64, "steps": 2}
    request = make_request({**values, "sampler_name": "Euler", "scheduler": "Simple"})
    found = picture(engine.run(Order(job="t", request=request, seed=SEED, options=options), Cancel()))
    assert np.abs(found - wanted).max() <= 1
