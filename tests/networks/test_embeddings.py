"""Textual inversions: every form of file, listed and read alike, and what they do in prompts of the tiny model."""

import base64
import json
import pickle
import zlib
from collections import OrderedDict

import numpy as np
import pytest
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from safetensors.torch import save_file

from modules.core.errors import ModelFileError, UnsafeModelFile
from modules.core.paths import Paths
from modules.library.embeddings import list_embeddings, prompt_width, read_entry
from modules.networks.embeddings import CLIP_G, CLIP_L, PLAIN, read_embedding
from modules.prompting.prompt import take_tags
from tests.networks.test_extra_networks import asked, build_engine, weights
from tests.tiny import write_tiny

VECTORS = torch.arange(128).reshape(2, 64) / 64


def trained(**more):
    return {"string_to_token": {"*": 265}, "string_to_param": {"*": VECTORS}, "name": "x", "step": 7, **more}


def parameter_dict():
    table = torch.nn.ParameterDict()
    table["*"] = torch.nn.Parameter(VECTORS)
    return table


def in_text(path):
    data = {"name": "own", "string_to_param": {"*": {"TORCHTENSOR": VECTORS.tolist()}}}
    info = PngInfo()
    info.add_text("sd-ti-embedding", base64.b64encode(json.dumps(data).encode()).decode())
    Image.new("RGB", (8, 8), "white").save(path, pnginfo=info)


def in_pixels(path):
    """As A1111 writes it: two blocks of half bytes, masked, with a black column between, above a picture's border."""
    data = json.dumps({"name": "own", "string_to_param": {"*": {"TORCHTENSOR": VECTORS.tolist()}}}).encode()
    packed = np.frombuffer(zlib.compress(data, 9), np.uint8)
    height = 64
    width = -(-len(packed) // (height * 3))
    block = np.zeros(height * width * 3, np.uint8)
    block[: len(packed)] = packed
    block = block.reshape(height, width, 3)
    state, noise = 0, []
    for _ in range(block.size):
        state = (1664525 * state + 1013904223) % 2**32
        noise.append(state % 255)
    mask = np.array(noise, np.uint8).reshape(block.shape) & 15
    low, high = (((part ^ mask) & 15) | 0x70 for part in (block & 15, block >> 4))
    pixels = np.concatenate([low, np.zeros((height, 2, 3), np.uint8), high], axis=1)
    framed = np.pad(pixels, ((3, 5), (2, 2), (0, 0)))
    Image.fromarray(framed).save(path)


FORMS = {
    "a1111.pt": lambda path: torch.save(trained(sd_checkpoint="abc", sd_checkpoint_name="m"), path),
    "legacy.pt": lambda path: torch.save(trained(), path, _use_new_zipfile_serialization=False),
    "table.pt": lambda path: torch.save(trained(string_to_param=parameter_dict()), path),
    "diffusers.bin": lambda path: torch.save({"<word>": VECTORS}, path),
    "flat.safetensors": lambda path: save_file({"emb_params": VECTORS}, path),
    "text.png": in_text,
    "pixels.png": in_pixels,
}


@pytest.mark.parametrize("name", FORMS)
def test_forms(name, tmp_path):
    path = tmp_path / name
    FORMS[name](path)
    embedding, entry = read_embedding(path, path.stem), read_entry(path)
    assert embedding is not None and entry is not None
    torch.testing.assert_close(embedding.vectors[PLAIN], VECTORS, rtol=0, atol=1e-6)
    assert embedding.name == entry.name == ("own" if name.endswith("png") else path.stem)
    assert (entry.vectors, entry.width) == (2, 64)
    if name == "a1111.pt":
        assert (entry.step, entry.checkpoint, entry.checkpoint_name) == (7, "abc", "m")


def test_those_of_xl(tmp_path):
    save_file({"clip_l": torch.ones(3, 768), "clip_g": torch.ones(3, 1280)}, tmp_path / "xl.safetensors")
    embedding = read_embedding(tmp_path / "xl.safetensors", "xl")
    assert embedding is not None
    assert {role: tuple(v.shape) for role, v in embedding.vectors.items()} == {CLIP_L: (3, 768), CLIP_G: (3, 1280)}
    (entry,) = list_embeddings([tmp_path])
    assert (entry.vectors, entry.width) == (3, 2048)


class Evil:
    def __reduce__(self):
        import os

        return os.system, ("exit 1",)


def test_what_is_none(tmp_path):
    (tmp_path / "page.pt").write_bytes(b"<!DOCTYPE html>")
    (tmp_path / "cut.pt").write_bytes(b"PK\x03\x04" + b"\0" * 20)
    torch.save(
        {"a": torch.ones(2, 4), "b": torch.ones(2, 4), "c": torch.ones(2, 4), "d": torch.ones(2, 4)},
        tmp_path / "many.pt",
    )
    torch.save(trained(string_to_param={"*": torch.ones(76, 64)}), tmp_path / "long.pt")
    torch.save([1, 2], tmp_path / "list.pt")
    Image.new("RGB", (64, 64), "red").save(tmp_path / "picture.png")
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nxx")
    for name in ("page.pt", "cut.pt", "many.pt", "long.pt", "list.pt", "broken.png"):
        for read in (read_entry, lambda path: read_embedding(path, "x")):
            with pytest.raises(ModelFileError):
                read(tmp_path / name)
    assert read_embedding(tmp_path / "picture.png", "x") is None
    assert list_embeddings([tmp_path, tmp_path / "none"]) == []


def test_pickles_that_name_code_are_not_run(tmp_path, monkeypatch):
    (tmp_path / "evil.pt").write_bytes(pickle.dumps(Evil()))
    torch.save(trained(more=Evil()), tmp_path / "zip.pt")
    monkeypatch.setattr("os.system", lambda command: pytest.fail("it was run"))
    with pytest.raises(ModelFileError):
        read_entry(tmp_path / "evil.pt")
    for name in ("evil.pt", "zip.pt"):
        with pytest.raises(UnsafeModelFile):
            read_embedding(tmp_path / name, "x")


def test_the_width_that_a_checkpoint_reads(tmp_path):
    assert prompt_width(write_tiny(tmp_path / "tiny.safetensors")) == 64
    assert prompt_width(tmp_path / "none.ckpt") is None


# -- in prompts --


@pytest.fixture(scope="module")
def tools(tmp_path_factory):
    root = tmp_path_factory.mktemp("embeddings")
    write_tiny(root / "models" / "Stable-diffusion" / "tiny.safetensors")
    folder = root / "embeddings"
    folder.mkdir()
    save_file({"emb_params": torch.randn(2, 64)}, folder / "sparkle.safetensors")
    save_file({"emb_params": torch.randn(2, 768)}, folder / "wide.safetensors")
    return build_engine(paths=Paths(data=root), use_cpu=True)._tools


@pytest.fixture
def model(tools):
    with torch.inference_mode():
        yield tools.models.load("tiny")


def test_a_name_means_its_vectors(tools, model):
    told = []
    assert take_tags("sparkle")[1] == ()
    before = model.prompts.encode(["a sparkle"])
    kept = weights(model)
    with tools.networks.applied(model, asked("a Sparkle fox", "ugly, sparkle"), told.append) as on:
        inside = model.prompts.encode(["a sparkle", "a fox"])
        digits = on.fields["TI hashes"]
    assert told == []
    assert digits.startswith("sparkle: ") and len(digits) == len("sparkle: ") + 12
    assert (inside[0, 2:4] - before[0, 2:4]).abs().max() > 0.01
    assert torch.equal(model.prompts.encode(["a sparkle"]), before)
    assert torch.equal(inside[1], model.prompts.encode(["a fox"])[0])
    assert all(torch.equal(tensor, kept[key]) for key, tensor in weights(model).items())
    with tools.networks.applied(model, asked("sparkle", textual_inversion_add_hashes_to_infotext=False), print) as on:
        assert on.fields == {}


def test_one_of_another_width_stays_text_and_is_told(tools, model):
    told = []
    with tools.networks.applied(model, asked("a wide fox"), told.append) as on:
        assert on.fields == {}
    assert told == ['"wide" in the prompt is an embedding 768 wide, which "tiny" cannot use: it stays text.']


def test_tables_of_old_files_hold_nothing_else(tmp_path):
    torch.save(OrderedDict(string_to_param=torch.nn.ParameterDict()), tmp_path / "empty.pt")
    with pytest.raises(ModelFileError):
        read_embedding(tmp_path / "empty.pt", "x")
