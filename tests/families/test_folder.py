"""Diffusers folders: what diffusers and transformers save is read back as the file it would be."""

import json

import pytest
import torch

from modules.core.errors import ModelFileError
from modules.families import sd1, sdxl
from modules.families.folder import is_folder, read_folder
from tests.families.test_sdxl import Parts
from tests.tiny import ldm_tensors, tiny_parts


def saved(folder, **parts):
    for name, part in parts.items():
        part.save_pretrained(folder / name)
    (folder / "model_index.json").write_text(json.dumps({"_class_name": "StableDiffusionPipeline"}))
    return folder


def equal(found, wanted):
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)


@pytest.fixture
def sd1_folder(tmp_path):
    parts = tiny_parts()
    return saved(tmp_path / "tiny", unet=parts["unet"], vae=parts["vae"], text_encoder=parts["text"])


def test_sd1(sd1_folder):
    found = read_folder(sd1_folder)
    equal(found, ldm_tensors(tiny_parts()))
    assert is_folder(sd1_folder)
    assert sd1.detect({name: tuple(tensor.shape) for name, tensor in found.items()})


def test_sdxl(tmp_path):
    parts = Parts(refiner=False)
    folder = saved(
        tmp_path / "xl", unet=parts.unet, text_encoder=parts.clip_l, text_encoder_2=parts.big_g, vae=parts.vae
    )
    found = read_folder(folder)
    equal(found, parts.tensors)
    assert sdxl.detect({name: tuple(tensor.shape) for name, tensor in found.items()})


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda folder: (folder / "vae/diffusion_pytorch_model.safetensors").unlink(), "no weights in vae/"),
        (lambda folder: (folder / "text_encoder/config.json").write_text("{"), "text_encoder/config.json"),
        (
            lambda folder: (folder / "unet/diffusion_pytorch_model.safetensors").write_bytes(b"<html>"),
            "diffusion_pytorch_model.safetensors",
        ),
    ],
)
def test_a_folder_that_is_not_whole_is_named(sd1_folder, spoil, said):
    spoil(sd1_folder)
    with pytest.raises(ModelFileError, match=said):
        read_folder(sd1_folder)
