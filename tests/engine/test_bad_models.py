"""Rows M1 to M20 of the test matrix: files that are no model, or worse, refused in a sentence; the model before draws on.

M10 is in tests/library/test_gguf.py, M21 and M22 in test_switching.py.
"""

import ast
import io
import json
import os
import pickle
import re
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from modules.core.paths import ROOT, Paths
from modules.core.settings import Settings
from modules.engine.build import build_engine
from modules.jobs.executors.base import Cancel
from modules.requests.events import Done, Failed, ImageReady, Order
from modules.requests.txt2img import make_request
from tests.tiny import ldm_tensors, tiny_parts, write_tiny

SMALL = {"prompt": "a red star", "width": 64, "height": 64, "steps": 2, "sampler_name": "Euler"}
TENSORS = {"a.weight": torch.zeros(4, 4)}


class Evil:
    """Makes a folder when it is unpickled the ordinary way."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


class Data:
    """A user's folder with one good model, and what it draws."""

    def __init__(self, folder):
        self.checkpoints = folder / "models" / "Stable-diffusion"
        self.vaes = folder / "models" / "VAE"
        self.pwned = folder / "PWNED"
        self.whole = write_tiny(self.checkpoints / "good.safetensors").read_bytes()
        self.vaes.mkdir()
        self.engine = build_engine(paths=Paths(data=folder), use_cpu=True)
        self.picture = pixels(self.run("good"))

    def run(self, name, **options):
        changed = Settings().changed({"sd_model_checkpoint": name, "randn_source": "CPU", **options})
        order = Order(job="t", request=make_request(SMALL), seed=5, options=changed.flat())
        return list(self.engine.run(order, Cancel()))

    def refused(self, path, **options):
        """The sentence with which a file is refused, after which the model before draws the same picture without being read again."""
        name = "good" if options else path.relative_to(self.checkpoints).as_posix()
        event = self.run(name, **options)[-1]
        assert isinstance(event, Failed), event
        assert event.kind.endswith("ModelFile") or event.kind == "ModelFileError", event
        assert f'"{path.name}' in event.message, event.message
        assert str(path.parent) not in event.message
        assert "Traceback" not in event.message
        after = self.run("good")
        assert not [e for e in after if type(e).__name__ == "Loading"]
        assert np.array_equal(pixels(after), self.picture)
        assert not self.pwned.exists()
        return event.message


def pixels(events):
    assert isinstance(events[-1], Done), events[-1]
    return np.asarray(Image.open(io.BytesIO(next(e.data for e in events if isinstance(e, ImageReady)))), dtype=int)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return Data(tmp_path_factory.mktemp("bad"))


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("name", ["evil.ckpt", "evil.pt.ckpt"])
def test_M1_pickle_checkpoint(data, name, zipped):
    path = data.checkpoints / name
    torch.save({"state_dict": {}, "x": Evil(data.pwned)}, path, _use_new_zipfile_serialization=zipped)
    said = data.refused(path)
    assert re.search(r"names (posix|nt)\.mkdir", said)
    assert ".safetensors" in said
    assert "evil" in " ".join(c.name for c in data.engine._tools.models._checkpoints.list())


def test_M2_the_same_as_a_vae_and_as_a_part_of_a_folder(data):
    evil = data.vaes / "evil.ckpt"
    torch.save({"state_dict": TENSORS, "x": Evil(data.pwned)}, evil)
    assert "mkdir" in data.refused(evil, sd_vae="evil.ckpt")
    for part in ("unet", "vae", "text_encoder"):
        folder = write_folder(data.checkpoints / f"evil_{part}")
        for file in (folder / part).glob("*.safetensors"):
            file.unlink()
        torch.save({"x": Evil(data.pwned), **TENSORS}, folder / part / "diffusion_pytorch_model.bin")
        event = data.run(f"evil_{part}")[-1]
        assert isinstance(event, Failed)
        assert "mkdir" in event.message
        assert not data.pwned.exists()


def write_folder(path, **index):
    parts = tiny_parts()
    for name, part in {"unet": parts["unet"], "vae": parts["vae"], "text_encoder": parts["text"]}.items():
        part.save_pretrained(path / name)  # type: ignore[operator]
    (path / "model_index.json").write_text(json.dumps({"_class_name": "StableDiffusionPipeline", **index}))
    return path


FORBIDDEN = {
    "eval": None,
    "exec": None,
    "torch.jit.load": None,
    "torch.export.load": None,
    "pickle.load": None,
    "pickle.loads": None,
    "yaml.load": None,
    "yaml.unsafe_load": None,
    "os.system": None,
    "torch.load": "pickle_module",
}
"""Calls that run what a file says, and the argument without which they do."""


def test_M3_no_code_of_ours_loads_unsafely():
    found = []
    for path in [*(ROOT / "modules").rglob("*.py"), *(ROOT / "webui").rglob("*.py"), ROOT / "app.py"]:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and not _is_safe(node):
                found.append(f"{path.name}:{node.lineno} {ast.unparse(node)[:80]}")
    assert found == []


def _is_safe(call):
    name, given = ast.unparse(call.func), {word.arg: ast.unparse(word.value) for word in call.keywords}
    if "True" in (given.get("trust_remote_code"), given.get("shell"), given.get("allow_pickle")):
        return False
    if name == "torch.load":  # with options that hold our own reader, or restricted to weights
        return given.get("weights_only") == "True" or given.get(None) == "options"
    return name not in FORBIDDEN


def test_M4_an_unknown_global_is_not_tried_again_another_way(data):
    path = data.checkpoints / "odd.ckpt"
    path.write_bytes(pickle.dumps({"state_dict": {}, "x": Path}))
    assert "holds no weights" in data.refused(path) or "no checkpoint" in data.refused(path)


def global_of(name, argument):
    """A pickle of protocol 4 that calls that function with that argument, by STACK_GLOBAL from memoised strings."""
    module, function = name.rsplit(".", 1)
    text = pickle.SHORT_BINUNICODE
    parts = [text + bytes([len(part)]) + part.encode() for part in (module, function, str(argument))]
    call = parts[0] + pickle.MEMOIZE + parts[1] + pickle.MEMOIZE + pickle.STACK_GLOBAL + parts[2]
    return pickle.PROTO + b"\x04" + call + pickle.TUPLE1 + pickle.REDUCE + pickle.STOP


@pytest.mark.parametrize(
    "name", ["os.mkdir", "posix.mkdir", "os.path.os.mkdir", "torch.serialization.os.mkdir", "pathlib.os.mkdir"]
)
def test_M5_tricks_on_scanners(data, name):
    path = data.checkpoints / "trick.ckpt"
    path.write_bytes(global_of(name, data.pwned))
    data.refused(path)
    for entry in ("archive/data.pkl", "archive/data.txt"):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(entry, global_of(name, data.pwned))
            archive.writestr("archive/version", "3")
        data.refused(path)
        content = bytearray(path.read_bytes())
        content[14:18] = b"\xff\xff\xff\xff"  # the checksum of the first entry
        content[6] |= 1  # encrypted, it says
        path.write_bytes(content)
        data.refused(path)


def test_M6_disguise(data):
    pickled, plain = data.checkpoints / "pickled.safetensors", data.checkpoints / "plain.ckpt"
    torch.save({"state_dict": TENSORS, "x": Evil(data.pwned)}, pickled)
    assert "pickle file under the wrong name" in data.refused(pickled)
    save_file(TENSORS, plain)
    assert "safetensors file under the wrong name" in data.refused(plain)
    polyglot = data.checkpoints / "both.safetensors"
    torch.save({"x": Evil(data.pwned)}, polyglot)
    polyglot.write_bytes(data.whole + polyglot.read_bytes())
    assert "belong to no tensor" in data.refused(polyglot)


@pytest.mark.parametrize("length", [2**63 - 1, 2**40, 2**64 - 1])
def test_M7_header_length_bomb(data, length):
    path = data.checkpoints / "bomb.safetensors"
    path.write_bytes(struct.pack("<Q", length) + b"{" * 1000)
    assert "not a valid safetensors file" in data.refused(path)


def test_M8_header_bloat(data):
    path = data.checkpoints / "bloat.safetensors"
    entry = '"%07d":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}'
    for count, words in ((320_000, "not a valid safetensors file"), (60_000, "at most 50000")):
        text = ("{" + ",".join(entry % number for number in range(count)) + "}").encode()
        path.write_bytes(struct.pack("<Q", len(text)) + text)
        assert words in data.refused(path)


def test_M9_malformed_header(data):
    path = data.checkpoints / "malformed.safetensors"
    said = set()
    for header in (
        b'{"a": ' + b"[" * 100_000,
        b'{"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}',
        b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [2, 6]}}',
        b'{"a": {"dtype": "F99", "shape": [1], "data_offsets": [0, 4]}}',
        b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}, "a": 1}',
        b'{"a": {"dtype": "F32", "shape": [1099511627776, 1099511627776], "data_offsets": [0, 4]}}',
        b'{"a": {"dtype": "F16", "shape": [1], "data_offsets": [0, 2]}}',
    ):
        path.write_bytes(struct.pack("<Q", len(header)) + header + b"\0" * 4)
        said.add(data.refused(path))
    assert len(said) == 7


def test_M11_zip_bomb(data):
    path = data.checkpoints / "bomb.ckpt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({}))
        with archive.open("archive/data/0", "w") as entry:
            for _ in range(300):
                entry.write(bytes(2**20))
    assert path.stat().st_size < 2**20
    assert "over 100 times its size" in data.refused(path)


def test_M12_diffusers_folder(data):
    code = f"import os; os.mkdir({str(data.pwned)!r})"
    folder = write_folder(data.checkpoints / "custom", custom_pipeline="None", unet=["None", "Evil"])
    for name in ("None.py", "pipeline.py", "unet/None.py"):
        (folder / name).write_text(code)
    assert np.array_equal(pixels(data.run("custom")), data.picture)
    assert not data.pwned.exists()
    pixels(data.run("good"))


def test_M13_interrupted_download(data):
    path, pickled = data.checkpoints / "cut.safetensors", data.checkpoints / "cut.ckpt"
    for size in (0, 7, 100, len(data.whole) // 2, len(data.whole) - 1):
        path.write_bytes(data.whole[:size])
        assert "incomplete" in data.refused(path)
    torch.save({"state_dict": ldm_tensors(tiny_parts())}, pickled)
    pickled.write_bytes(pickled.read_bytes()[: pickled.stat().st_size // 2])
    assert "incomplete" in data.refused(pickled)


@pytest.mark.parametrize("suffix", [".safetensors", ".ckpt"])
def test_M14_web_page(data, suffix):
    path = data.checkpoints / f"page{suffix}"
    path.write_bytes(b"\n<!DOCTYPE html><html><title>Sign in</title></html>")
    assert "is a web page, not a model (was a login needed?)" in data.refused(path)


def test_M15_odd_files(data):
    folder = data.checkpoints / "odd"
    folder.mkdir()
    os.mkfifo(folder / "pipe.safetensors")
    (folder / "folder.safetensors").mkdir()
    (folder / "broken.safetensors").symlink_to(folder / "gone")
    (folder / "loop.safetensors").symlink_to(folder / "loop.safetensors")
    (folder / "empty.safetensors").write_bytes(b"")
    names = [c.name for c in data.engine._tools.models._checkpoints.list()]
    assert [name for name in names if name.startswith("odd/")] == ["odd/empty.safetensors"]
    assert "incomplete" in data.refused(folder / "empty.safetensors")


def test_M18_vae_of_another_family(data):
    path = data.vaes / "sixteen.safetensors"
    tensors = {
        key.removeprefix("first_stage_model."): t
        for key, t in ldm_tensors(tiny_parts()).items()
        if "first_stage" in key
    }
    wide = {
        "decoder.conv_in.weight": (32, 16, 3, 3),
        "encoder.conv_out.weight": (32, 32, 3, 3),
        "encoder.conv_out.bias": (32,),
    }
    tensors = {k: torch.zeros(wide.get(k, tuple(t.shape))) for k, t in tensors.items() if "quant_conv" not in k}
    save_file(tensors, path)
    said = data.refused(path, sd_vae="sixteen")
    assert "FLUX" in said or "16" in said
    assert "Stable Diffusion" in said


def test_M19_yaml_beside_a_checkpoint(data):
    path = write_tiny(data.checkpoints / "told.safetensors")
    beside = path.with_suffix(".yaml")
    for text in (
        f"!!python/object/apply:os.mkdir ['{data.pwned}']",
        f"model:\n  target: os.mkdir\n  params:\n    path: {data.pwned}\n    parameterization: !!python/object/apply:os.mkdir ['{data.pwned}']\n",
        "a: &a [*a, *a]\n" * 1000,
    ):
        beside.write_text(text)
        event = data.run("told")[-1]
        assert isinstance(event, Done | Failed)
        assert not data.pwned.exists()
    pixels(data.run("good"))


def test_M20_failed_switch(data):
    path = data.checkpoints / "lacking.safetensors"
    tensors = ldm_tensors(tiny_parts(1))
    del tensors["model.diffusion_model.out.2.bias"]
    save_file(tensors, path)
    event = data.run("lacking")[-1]
    assert isinstance(event, Failed)
    assert "lacks the weights conv_out.bias" in event.message
    after = data.run("good")
    assert not [e for e in after if type(e).__name__ == "Loading"]
    assert np.array_equal(pixels(after), data.picture)
