"""Tokenizers: beside the model, in models/tokenizers, or fetched once from a hub that runs in the test."""

import hashlib
import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
import torch
from safetensors.torch import save_file

from modules.core.errors import ModelFileError
from modules.core.paths import Paths
from modules.families.tokenizers import FAST, ORIGINS, Tokenizers
from modules.library.shelf import Shelf
from tests.tiny_t5 import tiny_tokenizer, write_tokenizer


class Hub(ThreadingHTTPServer):
    """What the Hugging Face hub answers for files of "main"; `asked` are the paths of its requests."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.asked: list[str] = []


class Handler(BaseHTTPRequestHandler):
    """Serves `files`."""

    server: Hub

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def answer(self, *, body: bool) -> None:
        self.server.asked.append(self.path)
        data = self.server.files.get(self.path.partition("?")[0])
        self.send_response(404 if data is None else 200)
        data = data or b""
        self.send_header("ETag", f'"{hashlib.sha1(data).hexdigest()}"')
        self.send_header("X-Repo-Commit", "0" * 40)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if body:
            self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None: ...


@pytest.fixture
def hub(monkeypatch) -> Iterator[Hub]:
    server = Hub()
    Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def shelf(tmp_path):
    return Shelf(Paths(data=tmp_path))


def route(kind):
    origin = ORIGINS[kind]
    return "/" + "/".join(filter(None, [origin.repository, "resolve/main", origin.folder, FAST]))


def test_beside_the_text_encoder_and_in_models(tmp_path, shelf, hub):
    root = tmp_path / "models" / "text_encoder"
    files = {"t5xxl": root / "t5.safetensors", "qwen3_4b": root / "own" / "qwen.safetensors"}
    found = Tokenizers(tmp_path / "x.safetensors", files, shelf)
    write_tokenizer(root)  # the folder of all text encoders says nothing of one
    kept = write_tokenizer(tmp_path / "models" / "tokenizers" / "t5xxl")
    assert found["t5xxl"] == kept
    own = write_tokenizer(root / "t5")
    assert found["t5xxl"] == own
    own = write_tokenizer(root / "own")
    assert found["qwen3_4b"] == own
    assert not hub.asked


def test_in_a_diffusers_folder(tmp_path, shelf):
    folder = tmp_path / "model"
    tensors = {"encoder.block.0.layer.0.SelfAttention.q.weight": torch.zeros(8, 4096)}
    for part in ("text_encoder", "text_encoder_2"):
        (folder / part).mkdir(parents=True)
    save_file(
        {"text_model.embeddings.token_embedding.weight": torch.zeros(9, 768)}, folder / "text_encoder/model.safetensors"
    )
    save_file(tensors, folder / "text_encoder_2/model.safetensors")
    (folder / "model_index.json").write_text(json.dumps({}))
    wanted = write_tokenizer(folder / "tokenizer_2")
    assert Tokenizers(folder, {}, shelf)["t5xxl"] == wanted


@pytest.mark.parametrize("kind", ["t5xxl", "gemma2_2b"])
def test_fetched_once_and_kept(tmp_path, shelf, hub, kind):
    hub.files[route(kind)] = tiny_tokenizer().to_str().encode()
    told = []
    folder = Tokenizers(tmp_path / "x.safetensors", {}, shelf, told.append)[kind]
    assert folder == tmp_path / "models" / "tokenizers" / kind
    assert (folder / FAST).read_bytes() == hub.files[route(kind)]
    assert [path.name for path in folder.iterdir()] == [FAST]
    assert len(told) == 1
    assert told[0].startswith("the tokenizer of ")
    asked = len(hub.asked)
    assert Tokenizers(tmp_path / "x.safetensors", {}, shelf, told.append)[kind] == folder
    assert (len(hub.asked), len(told)) == (asked, 1)


@pytest.mark.parametrize("answer", [None, b"<html>please log in</html>", b'{"version": "1.0"'])
def test_what_cannot_be_fetched_says_what_to_put_where(tmp_path, shelf, hub, answer):
    if answer:
        hub.files[route("qwen3_4b")] = answer
    with pytest.raises(ModelFileError) as caught:
        Tokenizers(tmp_path / "x.safetensors", {}, shelf)["qwen3_4b"]
    folder = tmp_path / "models" / "tokenizers" / "qwen3_4b"
    assert 'The tokenizer of Qwen3 4B is not here and could not be fetched from "Qwen/Qwen3-4B"' in caught.value.message
    assert f'Put its tokenizer.json into "{folder}"' in caught.value.message
    assert not folder.exists()


def test_offline(tmp_path, shelf, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # nobody listens there
    with pytest.raises(ModelFileError, match="or connect to the internet"):
        Tokenizers(tmp_path / "x.safetensors", {}, shelf)["t5xxl"]


def test_kinds_that_nobody_publishes(tmp_path, shelf):
    assert Tokenizers(tmp_path / "x.safetensors", {}, shelf).get("clip_l") is None
