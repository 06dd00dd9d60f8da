"""Models that predict something else or see more than the latents: drawn on tiny ones of random weights."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from modules.core.paths import Paths
from modules.core.settings import Settings
from modules.devices.choice import choose_compute
from modules.engine.build import build_engine
from modules.engine.extra import blank_extra
from modules.families import sd1
from modules.families.source import Source
from modules.images.infotext import parse_infotext
from modules.jobs.executors.base import Cancel
from modules.requests.events import Done, Failed, ImageReady, Order
from modules.requests.txt2img import make_request
from tests.tiny import ldm_tensors, tiny_parts, write_tiny

SMALL = {"prompt": "a red star AND a house", "width": 64, "height": 64, "steps": 3, "sampler_name": "Euler"}
MODELS = {
    "eps": {},
    "v": {"marks": ("v_pred",)},
    "v_zero": {"marks": ("v_pred", "ztsnr")},
    "flow": {"metadata": {"modelspec.prediction_type": "flow"}},
    "inpaint": {"in_channels": 9},
    "pix2pix": {"in_channels": 8},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kinds")
    for name, kind in MODELS.items():
        write_tiny(folder / "models" / "Stable-diffusion" / f"{name}.safetensors", **kind)
    return folder


@pytest.fixture(scope="module")
def engine(folder):
    return build_engine(paths=Paths(data=folder), use_cpu=True)


def run(engine, model, *, options=None, **values):
    settings = Settings().changed({"sd_model_checkpoint": model, "randn_source": "CPU", **(options or {})})
    order = Order(job="t", request=make_request({**SMALL, **values}), seed=5, options=settings.flat(), done=frozenset())
    return list(engine.run(order, Cancel()))


def pixels(events):
    assert isinstance(events[-1], Done), events[-1]
    found = [Image.open(io.BytesIO(e.data)) for e in events if isinstance(e, ImageReady)]
    return np.stack([np.asarray(image, dtype=int) for image in found])


def test_the_same_weights_draw_otherwise_as_another_kind(engine):
    pictures = [pixels(run(engine, name)) for name in ("eps", "v", "v_zero", "flow")]
    for i, a in enumerate(pictures):
        assert all(np.abs(a - b).mean() > 1 for b in pictures[i + 1 :])


@pytest.mark.parametrize("sampler", ["Euler a", "UniPC", "DPM++ 2M", "DPM++ 2M SDE", "DDIM", "LCM", "Euler CFG++"])
@pytest.mark.parametrize("name", [name for name in MODELS if name != "eps"])
def test_every_kind_is_drawn(engine, name, sampler):
    picture = pixels(run(engine, name, sampler_name=sampler, batch_size=2))
    assert picture.shape == (2, 64, 64, 3)
    assert picture.std() > 1


def test_a_picture_does_not_depend_on_its_batch_with_extra_channels(engine):
    for name in ("pix2pix", "inpaint"):
        together = pixels(run(engine, name, batch_size=2))
        assert np.abs(together[0] - together[1]).mean() > 1
    # grey is drawn from the last seed, as in A1111: only the last picture of an inpainting model's batch could be the same
    alone = pixels(run(engine, "pix2pix"))
    assert np.abs(pixels(run(engine, "pix2pix", batch_size=2))[0] - alone[0]).max() <= 1


def test_infotext_of_an_inpainting_model(engine):
    text = next(e.infotext for e in run(engine, "inpaint") if isinstance(e, ImageReady))
    assert ", Conditional mask weight: 1.0, " in text
    assert run(engine, "inpaint")[-1].info["is_using_inpainting_conditioning"]
    for name in ("eps", "pix2pix"):
        event = next(e for e in run(engine, name) if isinstance(e, ImageReady))
        assert "Conditional mask weight" not in parse_infotext(event.infotext).fields


def test_a_yaml_that_comes_later_counts(folder, engine):
    before = pixels(run(engine, "eps"))
    beside = folder / "models" / "Stable-diffusion" / "eps.yaml"
    beside.write_text("model:\n  params:\n    parameterization: v\n")
    try:
        assert np.array_equal(pixels(run(engine, "eps")), pixels(run(engine, "v")))
    finally:
        beside.unlink()
    assert np.array_equal(pixels(run(engine, "eps")), before)


def test_unknown_prediction_is_one_sentence(folder, engine):
    write_tiny(
        folder / "models" / "Stable-diffusion" / "odd.safetensors", metadata={"modelspec.prediction_type": "sample"}
    )
    event = run(engine, "odd")[-1]
    assert isinstance(event, Failed)
    assert event.message.startswith('"odd.safetensors" is said to predict "sample"')


def loaded(channels):
    tensors = ldm_tensors(tiny_parts(in_channels=channels))
    return sd1.load(Source(tensors=tensors, name="t", native_size=64, compute=choose_compute(use_cpu=True)))


def test_blank_extra():
    with torch.inference_mode():
        assert blank_extra(loaded(4), [1, 2], (4, 8, 8)) is None
        zeros = blank_extra(loaded(8), [1, 2], (4, 8, 8))
        assert zeros is not None
        assert torch.equal(zeros, torch.zeros(2, 4, 8, 8))
        model = loaded(9)
        found, other = (blank_extra(model, seeds, (4, 8, 8)) for seeds in ([1, 2], [1, 3]))
        assert found is not None
        assert other is not None
        noise = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(2))
        assert found.shape == (2, 5, 8, 8)
        assert (found[:, 0] == 1).all()
        torch.testing.assert_close(found[:, 1:], model.encode(torch.full((2, 3, 64, 64), 0.5), noise))
        assert not torch.equal(found, other)
