"""Models of any kind: listed, found by every name, marked where they cannot be used."""

import pytest

from modules.core.errors import UnknownName
from modules.core.paths import KINDS, Paths
from modules.library.library import Library
from modules.library.models import kind_of
from tests.jobs.helpers import write_checkpoint
from tests.library.files import lora_shapes, write_model

BUNDLED = "starter-parchment.safetensors"


@pytest.fixture
def library(tmp_path):
    library = Library(Paths(data=tmp_path / "data"))
    yield library
    library.close()


@pytest.fixture
def loras(tmp_path, library):
    folder = library.paths.own("Lora")
    write_model(folder / "Fox.safetensors", lora_shapes(), {"ss_output_name": "reynard"})
    write_model(folder / "sub" / "wolf.v1.safetensors", lora_shapes(2048))
    (folder / "broken.safetensors").write_bytes(b"<html>Please log in")
    return library.models("Lora")


def test_list_marks_what_cannot_be_used(loras):
    models = {model.name: model for model in loras.read_list()}
    assert list(models) == ["broken.safetensors", "Fox.safetensors", BUNDLED, "sub/wolf.v1.safetensors"]
    assert "web page" in models["broken.safetensors"].row.trouble
    assert [model.row.trouble for model in loras.list()][1:] == ["", "", ""]
    assert (models["Fox.safetensors"].stem, models["Fox.safetensors"].alias) == ("Fox", "reynard")
    assert (models["sub/wolf.v1.safetensors"].stem, models["sub/wolf.v1.safetensors"].alias) == ("wolf.v1", "wolf.v1")


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("Fox", "Fox.safetensors"),
        ("fox.SAFETENSORS", "Fox.safetensors"),
        ("reynard", "Fox.safetensors"),
        ("wolf.v1", "sub/wolf.v1.safetensors"),
        ("sub/wolf.v1", "sub/wolf.v1.safetensors"),
        (" sub/wolf.v1.safetensors ", "sub/wolf.v1.safetensors"),
    ],
)
def test_every_name_finds_it(loras, name, found):
    assert loras.find(name, "lora").name == found


def test_a_hash_finds_it(loras, library):
    fox = loras.find("fox", "lora")
    hashes = library.hashes.complete(fox.path)
    for text in (hashes.sha256, hashes.auto_v2, hashes.auto_v3):
        assert loras.find(str(text), "lora").name == fox.name


def test_unknown_name(loras):
    with pytest.raises(UnknownName, match=r'lora "fux" is not known. Nearest: Fox') as caught:
        loras.find("fux", "lora")
    assert caught.value.field == "lora"
    with pytest.raises(UnknownName):
        loras.find("", "lora")


def test_first_folder_wins(tmp_path, loras):
    write_model(tmp_path / "mine" / "Fox.safetensors", lora_shapes())
    library = Library(Paths(data=tmp_path / "data", named=(("Lora", tmp_path / "mine"),)))
    assert library.models("Lora").find("fox", "x").path == tmp_path / "mine" / "Fox.safetensors"
    assert len(library.models("Lora").list()) == 4
    library.close()


def test_a_folder_of_two_kinds_is_read_once(tmp_path):
    write_model(tmp_path / "both" / "x.safetensors", {"conv_first.weight": (1,)})
    both = (("SwinIR", tmp_path / "both"), ("RealESRGAN", tmp_path / "both"))
    library = Library(Paths(data=tmp_path / "data", named=both))
    for kind in ("SwinIR", "RealESRGAN", "SwinIR", "RealESRGAN"):
        (model,) = library.models(kind).read_list()
    assert library.index.unread() == 0
    assert library.search(None, "x.safe").total == 1
    assert library.index.row(model.row.id) == model.row
    library.close()


def test_models_without_text_encoder_among_the_checkpoints(library):
    flux = {"double_blocks.0.img_attn.qkv.weight": (1, 1)}
    write_model(library.paths.own("Stable-diffusion") / "flux.safetensors", flux)
    write_model(library.paths.own("Stable-diffusion") / "whole.vae.safetensors", flux)
    write_model(library.paths.own("diffusion_models") / "other.safetensors", flux)
    write_checkpoint(library.paths.own("Stable-diffusion") / "whole.safetensors")
    names = {model.name for model in library.models("Stable-diffusion").read_list()}
    assert {"flux.safetensors", "whole.safetensors"} <= names
    assert "whole.vae.safetensors" not in names
    found = {model.name for model in library.models("diffusion_models").list()}
    assert {"flux.safetensors", "other.safetensors"} <= found
    assert "whole.safetensors" not in found


def test_suffixes(library):
    for kind, name in (("embeddings", "a.pt"), ("embeddings", "b.safetensors"), ("SwinIR", "c.pth"), ("Lora", "d.txt")):
        write_checkpoint(library.paths.own(kind) / name)
    names = {kind: [m.name for m in library.models(kind).list() if "starter-" not in m.name] for kind in KINDS}
    assert (names["embeddings"], names["SwinIR"], names["Lora"]) == (["a.pt", "b.safetensors"], ["c.pth"], [])


def test_kinds():
    assert kind_of("lora ") == "Lora"
    with pytest.raises(UnknownName, match="Nearest: Lora"):
        kind_of("lorra")
