"""Networks in files of their own, completed with VAEs and text encoders of their own: the whole checkpoint's picture."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from modules.core.paths import Paths
from modules.core.settings import Settings
from modules.engine.build import build_engine
from modules.families import naming
from modules.families.ldm_keys import TEXT, UNET, VAE
from modules.jobs.executors.base import Cancel
from modules.requests.events import Failed, Order
from modules.requests.txt2img import make_request
from tests.engine.test_families import infotext, pictures
from tests.families.test_sdxl import Parts
from tests.tiny import ldm_tensors, tiny_parts

SMALL = {"prompt": "a red star", "width": 64, "height": 64, "steps": 2, "sampler_name": "Euler"}


def behind(prefix, tensors):
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def save(path, tensors):
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.detach().contiguous() for name, tensor in tensors.items()}, path)


@pytest.fixture
def models(tmp_path):
    return tmp_path / "models"


@pytest.fixture
def one(models):
    """An SD 1.x whole, and in parts as Forge and ComfyUI users keep them."""
    whole = ldm_tensors(tiny_parts())
    save(models / "Stable-diffusion/whole.safetensors", whole)
    save(models / "unet/bare.safetensors", behind(UNET, whole))
    save(models / "VAE/kl.safetensors", behind(VAE, whole))
    save(models / "text_encoder/clip_l.safetensors", naming.prefixed("text_model.", behind(TEXT, whole)))
    return models


def engine_over(models):
    return build_engine(paths=Paths(data=models.parent), use_cpu=True)


def run(engine, name, **options):
    settings = Settings().changed({"sd_model_checkpoint": name, "randn_source": "CPU", **options})
    order = Order(job="t", request=make_request(SMALL), seed=5, options=settings.flat(), done=frozenset())
    return list(engine.run(order, Cancel()))


def failed(events):
    assert isinstance(events[-1], Failed), events[-1]
    return events[-1].message


def test_the_only_fitting_files_complete_a_network(one):
    engine = engine_over(one)
    events = run(engine, "bare.safetensors")
    assert np.array_equal(pictures(events), pictures(run(engine, "whole.safetensors")))
    fields = infotext(events).fields
    assert (fields["Module 1"], fields["Module 2"]) == ("kl", "clip_l")
    assert "Module 1" not in infotext(run(engine, "whole.safetensors")).fields


def test_sdxl_in_diffusers_and_transformers_names(models):
    parts = Parts(refiner=False)
    save(models / "Stable-diffusion/xl.safetensors", parts.tensors)
    save(models / "diffusion_models/bare.safetensors", dict(parts.unet.named_parameters()))
    save(models / "VAE/sdxl_vae.safetensors", dict(parts.vae.named_parameters()))
    save(models / "VAE/other.safetensors", dict(parts.vae.named_parameters()))
    save(models / "text_encoders/clip_l.safetensors", dict(parts.clip_l.named_parameters()))
    save(models / "clip/clip_g.safetensors", dict(parts.big_g.named_parameters()))
    engine = engine_over(models)
    events = run(engine, "bare.safetensors")
    assert np.array_equal(pictures(events), pictures(run(engine, "xl.safetensors")))
    assert [infotext(events).fields[f"Module {n}"] for n in (1, 2, 3)] == ["sdxl_vae", "clip_g", "clip_l"]


def test_of_several_one_must_be_chosen(one):
    other = ldm_tensors(tiny_parts(seed=3))
    save(one / "VAE/second.safetensors", behind(VAE, other))
    engine = engine_over(one)
    message = failed(run(engine, "bare.safetensors"))
    assert '"kl.safetensors", "second.safetensors"' in message
    assert "Choose one in VAE / Text Encoder" in message
    first, second = (run(engine, "bare.safetensors", forge_additional_modules=[name]) for name in ("kl", "second"))
    assert np.array_equal(pictures(first), pictures(run(engine, "whole.safetensors")))
    assert not np.array_equal(pictures(first), pictures(second))
    assert infotext(second).fields["Module 1"] == "second"
    by_vae = run(engine, "bare.safetensors", sd_vae="second.safetensors")
    assert np.array_equal(pictures(by_vae), pictures(second))
    assert np.array_equal(
        pictures(run(engine, "whole.safetensors", forge_additional_modules=["second"])), pictures(second)
    )


def test_what_is_missing_is_named_with_its_folder(one):
    (one / "text_encoder/clip_l.safetensors").unlink()
    message = failed(run(engine_over(one), "bare.safetensors"))
    assert "the text encoder CLIP-L (clip_l.safetensors)" in message
    assert str(one / "text_encoder") in message
    assert "VAE" not in message


@pytest.mark.parametrize(
    ("file", "tensors", "said"),
    [
        (
            "text_encoder/t5.safetensors",
            {"encoder.block.0.layer.0.SelfAttention.q.weight": torch.zeros(2, 4096)},
            '"t5.safetensors" is the text encoder T5-XXL; "bare.safetensors" is a Stable Diffusion 1.x',
        ),
        ("VAE/l.safetensors", {"lora_unet_x.lora_up.weight": torch.zeros(2, 2)}, '"l.safetensors" is a LoRA'),
    ],
)
def test_a_part_of_another_family_is_refused_with_both_names(one, file, tensors, said):
    save(one / file, tensors)
    events = run(engine_over(one), "bare.safetensors", forge_additional_modules=[file.rsplit("/", 1)[-1]])
    assert said in failed(events)
    assert getattr(events[-1], "field", None) == "forge_additional_modules"


def test_unknown_and_doubled_choices_are_sentences(one):
    engine = engine_over(one)
    assert 'forge_additional_modules "nowhere" is not known' in failed(
        run(engine, "bare.safetensors", forge_additional_modules=["nowhere"])
    )
    save(one / "VAE/second.safetensors", behind(VAE, ldm_tensors(tiny_parts())))
    assert "are both the VAE of Stable Diffusion" in failed(
        run(engine, "bare.safetensors", forge_additional_modules=["kl", "second"])
    )


def test_a_broken_file_is_passed_over_unless_chosen(one):
    (one / "VAE/broken.safetensors").write_bytes(b"<html>\n<body>")
    engine = engine_over(one)
    assert pictures(run(engine, "bare.safetensors")).shape == (1, 64, 64, 3)
    assert "is a web page" in failed(run(engine, "bare.safetensors", forge_additional_modules=["broken"]))
