"""Diffusers folders: what diffusers and transformers save is read back as the file it would be."""

import json
import shutil

import numpy as np
import pytest
import torch

from modules.core.errors import ModelFileError
from modules.families import naming, sd1, sdxl, z_image
from modules.families.folder import is_folder, read_folder, read_folder_header
from modules.families.kinds import FAMILIES
from modules.families.ldm_keys import VAE
from modules.families.source import BACKBONE, text_prefix
from tests.families.test_sdxl import Parts
from tests.families.test_z_image import Tiny
from tests.families.tiny_language import drawing, named, picture
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


@pytest.fixture(scope="module")
def z_image_parts(tmp_path_factory):
    return Tiny(tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture
def z_image_folder(z_image_parts, tmp_path):
    """A transformer's folder, its network and text encoder in several files."""
    tiny = z_image_parts
    folder = tmp_path / "models" / "Stable-diffusion" / "tiny"
    tiny.network.save_pretrained(folder / "transformer", max_shard_size="400KB")
    tiny.text.save_pretrained(folder / "text_encoder", max_shard_size="20KB")
    shutil.copytree(tiny.tokenizers["qwen3_4b"], folder / "tokenizer")
    return saved(folder, vae=tiny.vae)


def test_a_transformers_folder_is_the_file_it_would_be(z_image_parts, z_image_folder):
    found = read_folder(z_image_folder)
    text = text_prefix("qwen3_4b")
    assert naming.shapes_of(found) == read_folder_header(z_image_folder).shapes
    assert [family for family in FAMILIES if family.detect(naming.shapes_of(found))] == [z_image]
    assert len(list((z_image_folder / "transformer").glob("*.safetensors"))) > 1
    assert len(list((z_image_folder / "text_encoder").glob("*.safetensors"))) > 1
    for prefix in (VAE, text):
        wanted = {name: t for name, t in z_image_parts.tensors.items() if name.startswith(prefix)}
        equal({name: t for name, t in found.items() if name.startswith(prefix)}, wanted)
    network = {name: t for name, t in found.items() if name.startswith(BACKBONE)}
    equal(network, naming.prefixed(BACKBONE, named(z_image_parts.network)))


def test_a_transformers_folder_is_drawn_with(z_image_parts, z_image_folder, monkeypatch):
    data = z_image_folder.parents[2]
    tiny = z_image_parts
    found = picture(drawing(monkeypatch, data, {}, {})())
    whole = picture(drawing(monkeypatch, data / "other", tiny.tensors, tiny.tokenizers)())
    assert np.abs(found - whole).max() <= 1


def index_of(folder):
    return folder / "transformer" / "diffusion_pytorch_model.safetensors.index.json"


def spoiled(folder, change):
    index = json.loads(index_of(folder).read_text())
    change(index["weight_map"])
    index_of(folder).write_text(json.dumps(index))


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda f: next((f / "transformer").glob("*00002*")).unlink(), 'lacks "diffusion_pytorch_model-00002-of'),
        (
            lambda f: spoiled(f, lambda names: names.update(x="../../../etc/passwd.safetensors")),
            "no weight file beside it",
        ),
        (lambda f: spoiled(f, lambda names: names.update(x="/etc/x.safetensors")), "no weight file beside it"),
        (lambda f: spoiled(f, lambda names: names.update(x="config.json")), "no weight file beside it"),
        (lambda f: spoiled(f, lambda names: names.update(x=7)), "no weight file beside it|cannot be read"),
        (lambda f: spoiled(f, lambda names: names.update(x=sorted(names.values())[0])), "lacks the weights x"),
        (lambda f: index_of(f).write_text("[1]"), 'index.json" cannot be read'),
        (lambda f: index_of(f).write_text('{"weight_map": {}}'), 'index.json" cannot be read'),
    ],
)
def test_shards_that_are_not_whole_are_named(z_image_folder, spoil, said):
    spoil(z_image_folder)
    for read in (read_folder, read_folder_header):
        with pytest.raises(ModelFileError, match=said):
            read(z_image_folder)


@pytest.mark.parametrize("variant", ["fp16", "bf16"])
def test_variants_are_found(z_image_parts, tmp_path, variant):
    z_image_parts.network.save_pretrained(tmp_path / "z" / "transformer", variant=variant, max_shard_size="400KB")
    folder = saved(tmp_path / "z", vae=z_image_parts.vae)
    assert f"{BACKBONE}cap_pad_token" in read_folder(folder)
