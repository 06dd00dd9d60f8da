"""Face ID and Instant-ID in whole jobs on tiny models."""

from typing import Any

import numpy as np
import pytest
from safetensors.torch import save_file

from modules.core.paths import Paths
from modules.core.settings import Settings
from modules.engine.build import build_engine
from modules.jobs.executors.base import Cancel
from modules.requests.events import Failed, ImageReady, MapReady, Order
from modules.requests.txt2img import make_request
from tests.engine.test_controlling import SMALL, noise, picture_of, pixels, same
from tests.families.test_sdxl import POOLED, WIDTH, Parts
from tests.tiny import tiny_parts, write_tiny
from tests.tiny_control import tensors_of, tiny_controlnet, tiny_vision, write_controlnet
from tests.tiny_faces import face_adapter_tensors, photograph, write_reader

ASTRONAUT = photograph()[20:260, 120:360]
FACE = {"image": picture_of(np.ascontiguousarray(ASTRONAUT))}
ANOTHER = {"image": picture_of(np.ascontiguousarray(ASTRONAUT // 2))}
POINTS = {"module": "instant_id_face_keypoints", "model": "control", **FACE}
WHO = {"module": "instant_id_face_embedding", "model": "instant", **FACE}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    data = tmp_path_factory.mktemp("faces")
    parts, unet = Parts(refiner=False), tiny_parts()["unet"]
    write_tiny(data / "models" / "Stable-diffusion" / "tiny.safetensors")
    save_file(parts.tensors, data / "models" / "Stable-diffusion" / "xl.safetensors")
    folder = data / "models" / "ControlNet"
    folder.mkdir()
    save_file(face_adapter_tensors(unet, "id"), folder / "faceid.safetensors")
    save_file(face_adapter_tensors(unet, "plus"), folder / "faceid-plusv2.safetensors")
    save_file(face_adapter_tensors(parts.unet, "instant"), folder / "instant.safetensors")
    config: dict[str, Any] = {
        "block_out_channels": (64, 128),
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
        "attention_head_dim": (1, 2),
        "transformer_layers_per_block": (1, 2),
        "cross_attention_dim": 2 * WIDTH,
        "use_linear_projection": True,
        "class_embed_type": "projection",
        "projection_class_embeddings_input_dim": POOLED + 256 * 6,
    }
    write_controlnet(folder / "control.safetensors", tiny_controlnet(4, **config))
    (data / "models" / "clip_vision").mkdir()
    save_file(tensors_of(tiny_vision()), data / "models" / "clip_vision" / "tiny.safetensors")
    return data


@pytest.fixture(scope="module")
def run(data):
    engine = build_engine(paths=Paths(data=data), use_cpu=True)

    def run(*units, checkpoint="tiny", **values):
        options = Settings().changed({"sd_model_checkpoint": checkpoint}).flat()
        request = make_request({**SMALL, "steps": 2, "control": units, **values})
        return [*engine.run(Order(job="test", request=request, seed=11, options=options), Cancel())]

    return run


@pytest.fixture(scope="module")
def readers(data):
    for name in ("w600k_r50", "glintr100"):
        write_reader(data / "models" / "insightface" / "models" / f"{name}.xml")


def drawn(events):
    assert not [event for event in events if isinstance(event, Failed)], events
    return next(pixels(event) for event in events if isinstance(event, ImageReady))


def failed(events):
    (found,) = (event for event in events if isinstance(event, Failed))
    return found.field, found.message


def test_without_the_network_it_says_which_file(run, data):
    assert not (data / "models" / "insightface").exists()
    field, said = failed(run({"module": "ip-adapter_face_id", "model": "faceid", **FACE}))
    assert field is None and said.startswith("ip-adapter_face_id needs w600k_r50.onnx (174 MB, https://")


@pytest.mark.usefixtures("readers")
@pytest.mark.parametrize("model", ["faceid", "faceid-plusv2"])
def test_face_id_draws_by_whose_face_it_is(run, model):
    unit, plain = {"module": "ip-adapter_face_id", "model": model}, drawn(run())
    one = drawn(run({**unit, **FACE}))
    assert not same(one, plain) and same(one, drawn(run({**unit, **FACE, "module": "none"})))
    assert not same(one, drawn(run({**unit, **ANOTHER})))
    assert same(drawn(run({**unit, **FACE, "weight": 0})), plain) and same(drawn(run()), plain)
    late = drawn(run({**unit, **FACE, "guidance_start": 0.9, "guidance_end": 1}))
    assert same(late, plain)  # not its turn in either of two steps, nor its LoRA's


@pytest.mark.usefixtures("readers")
def test_a_picture_without_a_face_is_told(run):
    field, said = failed(run({"module": "ip-adapter_face_id", "model": "faceid", "image": noise(1)}))
    assert field == "control.0.image" and said.startswith("There is no face in the unit's picture.")
    field, said = failed(run(WHO, {**POINTS, "image": noise(1)}, checkpoint="xl"))
    assert field == "control.1.image" and said.startswith("There is no face in the unit's picture.")


@pytest.mark.usefixtures("readers")
def test_instant_id_takes_two_units(run):
    field, said = failed(run(POINTS, checkpoint="xl"))
    assert field == "control.0.model" and "Choose that adapter in another unit" in said
    alone, plain = drawn(run(WHO, checkpoint="xl")), drawn(run(checkpoint="xl"))
    events = run(POINTS, WHO, checkpoint="xl")
    both = drawn(events)
    assert not same(alone, plain) and not same(both, alone)
    assert same(both, drawn(run(WHO, POINTS, checkpoint="xl")))
    (shown,) = (event for event in events if isinstance(event, MapReady))
    assert shown.module == "instant_id_face_keypoints" and (pixels(shown).max(axis=(0, 1)) == 255).all()
