"""Tokens: kept where only this user reads them, given to nobody else."""

import json
import os

import pytest

from modules.core.errors import InputError, StorageError, UnknownName
from modules.library.downloads.tokens import CIVITAI, HUGGING_FACE, Tokens

HUB, STORE = "https://huggingface.co", "https://civitai.com"
ORIGINS = {HUGGING_FACE: HUB, CIVITAI: STORE}


def test_kept_in_a_private_file(tmp_path):
    path = tmp_path / "tokens.json"
    tokens = Tokens(path, {}, ORIGINS)
    assert tokens.state(HUGGING_FACE, HUB) is None
    old = os.umask(0)
    try:
        tokens.keep(HUGGING_FACE, " hf_abc \n", HUB)
    finally:
        os.umask(old)
    assert path.stat().st_mode & 0o777 == 0o600
    again = Tokens(path, {}, ORIGINS)
    found = again.get(HUGGING_FACE, HUB)
    assert found and found.value == "hf_abc"
    assert "hf_abc" not in repr(found)
    assert again.state(HUGGING_FACE, HUB) == "kept"
    again.keep(HUGGING_FACE, "", HUB)
    assert "hf_abc" not in path.read_text()
    assert Tokens(path, {}, ORIGINS).get(HUGGING_FACE, HUB) is None


def test_it_belongs_to_the_address_it_was_given_for(tmp_path):
    tokens = Tokens(tmp_path / "tokens.json", {"HF_TOKEN": "hf_env", "CIVITAI_API_KEY": "civ_env"}, ORIGINS)
    tokens.keep(CIVITAI, "civ_kept", "https://mirror.example")
    for origin in ("http://huggingface.co", "https://huggingface.co:8443", "https://evil.example", STORE):
        assert tokens.get(HUGGING_FACE, origin) is None
    assert tokens.get(CIVITAI, "https://mirror.example").value == "civ_kept"
    assert tokens.get(CIVITAI, STORE).value == "civ_env"
    assert tokens.state(CIVITAI, STORE) == "environment"


@pytest.mark.parametrize("value", ["a b", "a\r\nX: y", "ä", "a" * 501, "a\0b"])
def test_what_is_no_token(tmp_path, value):
    tokens = Tokens(tmp_path / "tokens.json", {"HF_TOKEN": value}, ORIGINS)
    assert tokens.get(HUGGING_FACE, HUB) is None
    with pytest.raises(InputError) as caught:
        tokens.keep(HUGGING_FACE, value, HUB)
    assert value not in caught.value.message
    assert not (tmp_path / "tokens.json").exists()


def test_unknown_site(tmp_path):
    with pytest.raises(UnknownName, match="Nearest: civitai"):
        Tokens(tmp_path / "tokens.json", {}, ORIGINS).keep("civit", "x", STORE)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", "null", '{"huggingface": 5}', '{"huggingface": {"token": "a b"}}', "{" * 99]
)
def test_a_broken_file_is_no_token(tmp_path, text):
    path = tmp_path / "tokens.json"
    path.write_text(text)
    assert Tokens(path, {}, ORIGINS).get(HUGGING_FACE, HUB) is None


def test_an_open_file_is_closed(tmp_path):
    path = tmp_path / "tokens.json"
    path.write_text(json.dumps({HUGGING_FACE: {"token": "hf_abc", "origin": HUB}}))
    path.chmod(0o644)
    assert Tokens(path, {}, ORIGINS).get(HUGGING_FACE, HUB)
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_folder_that_is_none(tmp_path):
    (tmp_path / "file").touch()
    tokens = Tokens(tmp_path / "file" / "tokens.json", {}, ORIGINS)
    with pytest.raises(StorageError):
        tokens.keep(HUGGING_FACE, "hf_abc", HUB)
    assert tokens.get(HUGGING_FACE, HUB) is None
