"""Names that other machines choose."""

import pytest

from modules.core.errors import InputError, ModelFileError, UnknownName
from modules.core.paths import Paths
from modules.library.downloads.checks import check_model
from modules.library.downloads.names import KINDS, clean_name, folder_of, given_name, inner_path, model_name, numbered
from tests.library.servers import model

CLEAN = {
    "model.safetensors": "model.safetensors",
    "../../etc/passwd.pt": "passwd.pt",
    "..\\..\\windows\\x.ckpt": "x.ckpt",
    "/abs/x.ckpt": "x.ckpt",
    "C:\\x.ckpt": "x.ckpt",
    "..": "model",
    "": "model",
    "...": "model",
    ".hidden.ckpt": "hidden.ckpt",
    "a:b*c?.ckpt": "a_b_c_.ckpt",
    "CON.safetensors": "_CON.safetensors",
    "nul": "_nul",
    "com1.tar.ckpt": "_com1.tar.ckpt",
    "a\0b\nc.ckpt": "abc.ckpt",
    "evil\u202etpkc.exe": "eviltpkc.exe",
    "half\ud800.ckpt": "half.ckpt",
    "e\u0301.ckpt": "\u00e9.ckpt",
    "模型.safetensors": "模型.safetensors",
    "name. .ckpt ": "name.ckpt",
}


@pytest.mark.parametrize("text", CLEAN)
def test_clean(text):
    assert clean_name(text) == CLEAN[text]
    assert clean_name(CLEAN[text]) == CLEAN[text]


def test_long_names_keep_their_suffix():
    found = clean_name("模" * 500 + ".safetensors")
    assert found.endswith(".safetensors")
    assert len(found.encode()) <= 180


@pytest.mark.parametrize("text", ["", "../a.ckpt", "a/b.ckpt", "con.ckpt", ".a.ckpt", "a:b.ckpt", "x" * 300])
def test_given_names_are_taken_as_they_are_or_refused(text):
    with pytest.raises(InputError, match="must be a plain file name"):
        given_name(text)
    assert given_name(" fine name.ckpt ") == "fine name.ckpt"


def test_suffixes():
    assert model_name("a.GGUF") == "a.GGUF"
    for name in ("a.exe", "a.zip", "safetensors", "a.safetensors.part"):
        with pytest.raises(InputError, match="ends with one of .safetensors"):
            model_name(name)


@pytest.mark.parametrize("path", ["../a", "/a", "a/../../b", "a//../b", "a/.b", "", "a/con.json"])
def test_inner_paths(path):
    with pytest.raises(InputError):
        inner_path(path)
    assert inner_path("unet/config.json") == "unet/config.json"


def test_numbers_and_folders(tmp_path):
    assert numbered("a.b.safetensors", 3) == "a.b-3.safetensors"
    assert numbered("sdxl-turbo-1.0", 2) in ("sdxl-turbo-1.0-2", "sdxl-turbo-1-2.0")
    paths = Paths(data=tmp_path)
    assert all(folder_of(paths, kind).is_relative_to(tmp_path) for kind in KINDS)
    with pytest.raises(UnknownName, match="Nearest: Lora"):
        folder_of(paths, "lora!")


FILES = {
    "a.ckpt": (b"PK\x03\x04" + b"\0" * 200 + b"PK\x05\x06" + b"\0" * 18, None),
    "b.pt": (b"\x80\x02}q\x00.", None),
    "c.gguf": (b"GGUF\x03\0\0\0", None),
    "d.json": (b'{"a": 1}', None),
    "e.txt": (b"anything", None),
    "f.ckpt": (b"PK\x03\x04" + b"\0" * 200, "its end is missing"),
    "g.pth": (b"<html>Log in</html>", "is a web page"),
    "h.bin": (b"MZ\x90\0", "not a model of the kind"),
    "i.gguf": (b"PK\x03\x04", "not a model of the kind"),
    "j.json": (b"<html>", "not valid JSON"),
    "k.safetensors": (b"", "is incomplete"),
    "l.sft": (b"MZ" * 50, "not a valid safetensors"),
}


@pytest.mark.parametrize("name", FILES)
def test_check_model(tmp_path, name):
    data, words = FILES[name]
    path = tmp_path / f"{name}.part"
    path.write_bytes(data)
    if words is None:
        check_model(path, name)
        return
    with pytest.raises(ModelFileError, match=words) as caught:
        check_model(path, name)
    assert f'"{name}"' in caught.value.message
    assert ".part" not in caught.value.message


def test_check_model_takes_a_good_one(tmp_path):
    path = tmp_path / "x.part"
    path.write_bytes(model(tmp_path))
    check_model(path, "x.safetensors")
