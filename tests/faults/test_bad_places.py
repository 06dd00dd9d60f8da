"""Ports, folders, files that are not as they should be: a sentence, and the server goes on."""

import json
import os
import shutil
import struct
import subprocess
import sys

import pytest

from modules.core.paths import ROOT
from tests.jobs.runners import opens_whole
from tests.server import Server, free_port

pytestmark = pytest.mark.timeout(900)

SMALL = {"prompt": "a red star", "width": 64, "height": 64, "steps": 2, "save_images": True}


def run_app(*arguments: str) -> subprocess.CompletedProcess:
    """`python app.py` that is expected to end by itself."""
    return subprocess.run([sys.executable, "app.py", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=120)


def one_sentence(done: subprocess.CompletedProcess) -> str:
    """What it said: one line, no traceback, and an exit code that is not 0."""
    assert done.returncode == 2
    lines = [line for line in done.stderr.splitlines() if line]
    assert len(lines) == 1, done.stderr
    return lines[0]


def draw(server: Server, **values) -> dict:
    answer = server.post("/sdapi/v1/txt2img", {**SMALL, **values})
    assert answer.status_code == 200, answer.text[:500]
    return answer.json()


def test_port_in_use(server, tmp_path):
    words = one_sentence(run_app("--port", str(server.port), "--data-dir", str(tmp_path)))
    assert f"Port {server.port} " in words
    assert "--port" in words


def test_C13_data_folder_in_use(server):
    words = one_sentence(run_app("--port", str(free_port()), "--data-dir", str(server.data)))
    assert "Another Atelier" in words
    assert "--data-dir" in words


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--port", "x"], "--port"),
        (["--nonsense"], "--nonsense"),
        (["--data-dir", __file__], "is a file"),
        (["--ckpt-dir", "/nonexistent"], "/nonexistent"),
        (["--ckpt", "nonsense"], "nonsense"),
    ],
)
def test_wrong_flags(tmp_path, models, arguments, words):
    given = ["--data-dir", str(tmp_path), "--ckpt-dir", str(models), "--port", str(free_port()), *arguments]
    assert words in one_sentence(run_app(*given))


def test_list_of_accounts_that_is_none(tmp_path):
    """It is not begun anew: who is locked out, or in, is not for the program to decide."""
    (tmp_path / "accounts.sqlite3").write_bytes(b"this is no database, whatever its name says " * 50)
    words = one_sentence(
        run_app("--auth", "root:a good secret", "--port", str(free_port()), "--data-dir", str(tmp_path))
    )
    assert "accounts.sqlite3" in words


def broken_files(models) -> dict[str, tuple[bytes, str]]:
    good = (models / "tiny.safetensors").read_bytes()
    lora = json.dumps({"lora_unet_x.weight": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    damaged = bytearray(good)
    damaged[8:12] = b"}}}}"
    return {
        "empty": (b"", "0 bytes"),
        "page": (b"<!DOCTYPE html><html>Please log in</html>", "web page"),
        "half": (good[: len(good) // 2], "incomplete"),
        "header": (bytes(damaged), "damaged"),
        "pickle": (b"PK\x03\x04" + b"\0" * 500, "pickle"),
        "lora": (struct.pack("<Q", len(lora)) + lora + b"\0" * 4, "LoRA"),
    }


def test_broken_checkpoints_and_the_next_job_works(server, models):
    folder = server.data / "models" / "Stable-diffusion"
    folder.mkdir(parents=True, exist_ok=True)
    reference = draw(server, seed=3)
    for name, (content, words) in broken_files(models).items():
        (folder / f"{name}.safetensors").write_bytes(content)
        choice = {"override_settings": {"sd_model_checkpoint": name}}
        answer = server.post("/sdapi/v1/txt2img", {**SMALL, **choice})
        assert answer.status_code == 422, (name, answer.text[:300])
        assert answer.json()["error"] == "ModelFileError"
        assert words in answer.json()["detail"], answer.json()["detail"]
        assert draw(server, seed=3)["images"] == reference["images"]
    names = {entry["model_name"] for entry in server.get("/sdapi/v1/sd-models").json()}
    assert set(broken_files(models)) <= names


def test_checkpoint_that_vanishes(server, models):
    path = server.data / "models" / "Stable-diffusion" / "gone.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes((models / "tiny.safetensors").read_bytes())
    choice = {"override_settings": {"sd_model_checkpoint": "gone"}}
    draw(server, **choice)
    path.unlink()
    answer = server.post("/sdapi/v1/txt2img", {**SMALL, **choice})
    assert answer.status_code == 422
    assert "gone" in answer.json()["detail"]
    draw(server)


def test_R9_outputs_that_cannot_be_written(server):
    outputs = server.data / "blocked"
    outputs.write_text("a file where the folder should be")
    answer = draw(server, override_settings={"outdir_txt2img_samples": "blocked/x"})
    assert len(answer["images"]) == 1
    assert "blocked" in json.loads(answer["info"])["warnings"][0]
    found = server.get("/atelier/jobs").json()["jobs"][0]["images"][0]
    assert found["saved"] is False
    assert opens_whole(server.get(found["url"]).content)
    outputs.unlink()
    draw(server, override_settings={"outdir_txt2img_samples": "blocked/x"})
    assert list(outputs.rglob("*.png"))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount")
@pytest.mark.parametrize(("options", "words"), [("ro", "cannot be written"), ("size=4k", "is full")])
def test_R9_a_disk_that_is_read_only_or_full(server, tmp_path, options, words):
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(disk)], capture_output=True).returncode:
        pytest.skip("no mounting here")
    try:
        answer = draw(server, width=256, height=256, override_settings={"outdir_txt2img_samples": str(disk)})
        assert words in json.loads(answer["info"])["warnings"][0]
        assert len(answer["images"]) == 1
        assert not list(disk.rglob("*.png"))
        assert not list(disk.rglob(".*.tmp"))
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_C6_broken_settings_file(serve, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "config.json").write_bytes(b'{"samples_save": fal')
    server = serve()
    assert server.get("/sdapi/v1/options").json()["samples_save"] is True
    assert (tmp_path / "data" / "config.json.broken").read_bytes() == b'{"samples_save": fal'


def test_N26_it_starts_and_draws_without_a_network_and_asks_for_none(tmp_path, models):
    """Also: it answers before its engine is there."""
    alone = ["unshare", "--map-root-user", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh"]
    if not shutil.which("unshare") or subprocess.run([*alone, "true"], capture_output=True).returncode:
        pytest.skip("no network can be taken away here")
    command = [sys.executable, "-m", "tests.faults.offline", str(tmp_path / "data"), str(models)]
    done = subprocess.run([*alone, *command], cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert "Traceback" not in told.pop("log")
    assert told == {"health": 200, "samplers": True, "page": True, "images": 1, "asked": 0, "counted": 1}


def test_nothing_is_left_behind(serve):
    server = serve()
    draw(server)
    engine = server.engine()
    assert engine is not None
    server.stop()
    assert not engine.is_running()
    assert "Traceback" not in server.log, server.log
