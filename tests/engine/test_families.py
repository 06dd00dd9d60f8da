"""Checkpoints of every family and format, from the folder to the picture."""

import io
import json
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from modules.core.paths import Paths
from modules.core.settings import Settings
from modules.engine.build import build_engine
from modules.images.infotext import parse_infotext
from modules.jobs.executors.base import Cancel
from modules.requests.events import Done, Failed, ImageReady, Order
from modules.requests.txt2img import make_request
from tests.families.test_sd2 import sd2_tensors
from tests.families.test_sdxl import Parts
from tests.tiny import ldm_tensors, tiny_parts, write_tiny

NAMES = ("one.safetensors", "one.ckpt", "folder/one", "two.safetensors", "xl.safetensors", "refiner.safetensors")


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    data = tmp_path_factory.mktemp("families")
    folder = data / "models" / "Stable-diffusion"
    write_tiny(folder / "one.safetensors")
    torch.save({"state_dict": ldm_tensors(tiny_parts())}, folder / "one.ckpt")
    parts = tiny_parts()
    part: Any
    for name, part in {"unet": parts["unet"], "vae": parts["vae"], "text_encoder": parts["text"]}.items():
        part.save_pretrained(folder / "folder/one" / name)
    (folder / "folder/one/model_index.json").write_text(json.dumps({"_class_name": "StableDiffusionPipeline"}))
    save_file(sd2_tensors(), folder / "two.safetensors")
    save_file(Parts(refiner=False).tensors, folder / "xl.safetensors")
    save_file(Parts(refiner=True).tensors, folder / "refiner.safetensors")
    only_unet = {name: tensor for name, tensor in sd2_tensors().items() if name.startswith("model.")}
    save_file(only_unet, folder / "unet.safetensors")
    return build_engine(paths=Paths(data=data), use_cpu=True)


def run(engine, name, **values):
    settings = Settings().changed({"sd_model_checkpoint": name, "randn_source": "CPU"})
    small = {"prompt": "a (red:1.2) star", "width": 64, "height": 64, "steps": 3, "sampler_name": "Euler"}
    order = Order(job="t", request=make_request({**small, **values}), seed=5, options=settings.flat(), done=frozenset())
    return list(engine.run(order, Cancel()))


def pictures(events):
    assert isinstance(events[-1], Done), events[-1]
    images = [Image.open(io.BytesIO(event.data)) for event in events if isinstance(event, ImageReady)]
    return np.stack([np.asarray(image, dtype=int) for image in images])


def infotext(events):
    return parse_infotext(next(event.infotext for event in events if isinstance(event, ImageReady)))


def test_all_are_listed(engine):
    listed = {checkpoint.name for checkpoint in engine._tools.models._checkpoints.list()}
    assert listed >= {*NAMES, "unet.safetensors"}
    assert not any(name.startswith("folder/one/") for name in listed)


@pytest.mark.parametrize("name", NAMES)
def test_each_is_drawn_with(engine, name):
    events = run(engine, name, batch_size=2)
    assert pictures(events).shape == (2, 64, 64, 3)
    assert infotext(events).fields["Model"] == name.rsplit(".", 1)[0].replace("/", "_")
    assert len(infotext(events).fields["Model hash"]) == 10


def test_a_picture_does_not_depend_on_the_format(engine):
    file, pickled, folder = (pictures(run(engine, name)) for name in NAMES[:3])
    assert np.array_equal(file, pickled)
    assert np.array_equal(file, folder)


@pytest.mark.parametrize("name", ["two.safetensors", "xl.safetensors"])
def test_a_picture_does_not_depend_on_its_batch(engine, name):
    together, alone = (pictures(run(engine, name, **size)) for size in ({"batch_size": 2}, {}))
    assert np.abs(together[0] - alone[0]).max() <= 1


def test_xl_hands_over_to_its_refiner(engine):
    refined = run(engine, "xl.safetensors", refiner_checkpoint="refiner.safetensors", refiner_switch_at=0.5)
    assert infotext(refined).fields["Refiner"].startswith("refiner [")
    assert not np.array_equal(pictures(refined), pictures(run(engine, "xl.safetensors")))


def test_xl_does_not_hand_over_to_another_kind_of_latents(engine):
    failed = run(engine, "xl.safetensors", refiner_checkpoint="one.safetensors", refiner_switch_at=0.5)[-1]
    assert isinstance(failed, Failed)
    assert failed.field == "refiner_checkpoint"
    assert '"one"' in failed.message


def test_a_part_is_refused_by_name_and_the_model_before_stays(engine):
    before = pictures(run(engine, "two.safetensors"))
    events = run(engine, "unet.safetensors")
    assert isinstance(events[-1], Failed)
    assert '"unet.safetensors"' in events[-1].message
    assert "a Stable Diffusion 2.x, is the network alone" in events[-1].message
    assert "OpenCLIP-H (clip_h.safetensors) into" in events[-1].message
    assert np.array_equal(pictures(run(engine, "two.safetensors")), before)
