"""A1111's routes about the program itself."""

import json
import time

import httpx
import psutil
import pytest
from starlette.testclient import TestClient

from modules.api.app import build_api
from modules.api.power import Power
from modules.core.flags import parse_flags
from modules.core.network import Network
from tests.api.conftest import HOST
from tests.jobs.helpers import make_service, play, puppet_inline
from tests.server import Server, until


@pytest.fixture
def client_with(tmp_path):
    """Makes clients of a server that is not started, with flags."""
    service = make_service(tmp_path, puppet_inline())

    def make(*arguments: str, power: Power | None = None, network: Network | None = None) -> TestClient:
        flags = parse_flags(["--nowebui", "--data-dir", str(tmp_path), *arguments])
        app = build_api(service, flags, power=power)
        return TestClient(app, base_url=HOST, raise_server_exceptions=False)

    yield make
    service.close()


def test_memory_is_counted_in_bytes(puppet):
    service, client = puppet
    found = client.get("/sdapi/v1/memory").json()
    assert found["cuda"] == {"error": "unavailable"}
    assert found["ram"]["total"] == psutil.virtual_memory().total
    assert len(service.processes()) == 2  # this one and the engine's
    assert 0 < psutil.Process().memory_info().rss * 0.9 < found["ram"]["used"] < found["ram"]["total"]


def test_flags_are_told_without_their_secrets(client_with, tmp_path):
    client = client_with("--medvram", "--opt-sdp-attention", "--lora-dir", str(tmp_path), "--ckpt", "model")
    found = client.get("/sdapi/v1/cmd-flags").json()
    assert (found["medvram"], found["lowvram"], found["opt_sdp_attention"], found["xformers"]) == (
        True,
        False,
        True,
        False,
    )
    assert (found["lora_dir"], found["ckpt"], found["vae_dir"]) == (str(tmp_path), "model", None)
    assert (found["freeze_settings"], found["theme"]) == (False, None)  # without effect here
    flags = parse_flags(["--gradio-auth", "ann:first secret", "--ngrok", "token-of-ngrok", "--api-auth", "bot:third"])
    said = str(flags.values)
    assert flags.values["gradio_auth"] == flags.values["ngrok"] == flags.values["api_auth"] == "(hidden)"
    assert not any(secret in said for secret in ("first secret", "token-of-ngrok", "third"))


def test_every_flag_of_a1111_is_told(client_with):
    found = client_with().get("/sdapi/v1/cmd-flags").json()
    wanted = {"api", "listen", "port", "share", "no_half", "use_cpu", "styles_file", "subpath", "timeout_keep_alive"}
    assert wanted | {"loglevel", "gfpgan_model", "dat_models_path", "api_server_stop"} <= set(found)


@pytest.mark.parametrize("path", ["create/embedding", "create/hypernetwork", "train/embedding", "train/hypernetwork"])
def test_training_is_answered_by_a_sentence(client_with, path):
    client = client_with()
    answer = client.post(f"/sdapi/v1/{path}", json={"name": "x"})
    assert answer.status_code == 501 and "not made or trained here yet" in answer.json()["detail"]
    assert client.post(f"/sdapi/v1/{path}", content=b"[1]").status_code == 422
    assert client.post(f"/sdapi/v1/{path}", content=b"{").status_code == 422


def test_the_report_tells_no_secret(client_with):
    client = client_with("--gradio-auth", "ann:first secret", "--no-hashing")
    found = client.get("/internal/sysinfo").json()
    assert found["Commandline"]["no_hashing"] and found["Commandline"]["gradio_auth"] == "(hidden)"
    assert "first secret" not in client.get("/internal/sysinfo").text
    assert any(package.startswith("fastapi==") for package in found["Packages"])
    download = client.get("/internal/sysinfo-download")
    assert download.headers["content-disposition"].startswith("attachment") and download.json().keys() == found.keys()


def test_small_ones(client_with):
    client = client_with()
    assert client.get("/sdapi/v1/extensions").json() == []
    hints = client.get("/internal/quicksettings-hint").json()
    assert {"name": "CLIP_stop_at_last_layers", "label": "Clip skip"} in hints
    assert client.get("/app_id").json() == client.get("/app_id").json() != client_with().get("/app_id").json()
    assert client.get("/token").json() == {"token": None, "user": None}


def test_the_progress_of_one_task(puppet):
    service, client = puppet

    def progress(task: object, **more: object) -> dict:
        answer = client.post("/internal/progress", json={"id_task": task, **more})
        assert answer.status_code == 200, answer.text
        return answer.json()

    first, second = (service.submit(play(wait="interrupt"), job_id=f"task({n})").id for n in "ab")
    until(lambda: progress(first)["active"], 60)
    assert progress(second) | {"queued": True, "textinfo": "In queue: 2/2"} == progress(second)
    assert not any(progress("task(c)")[key] for key in ("active", "queued", "completed"))
    for job in (second, first):
        service.ask("interrupt", job)
    service.wait(first, 60)
    assert progress(first)["completed"] and progress(second)["completed"]
    for body in ({"id_task": 5}, {"id_task": "x", "id_live_preview": "y"}, [], {"id_task": "half \ud800"}):
        answer = client.post(
            "/internal/progress", content=json.dumps(body), headers={"Content-Type": "application/json"}
        )
        assert answer.status_code == 422 and answer.json()["detail"].endswith(".")


def test_a_preview_is_sent_once(puppet):
    service, client = puppet
    job = service.submit(play(steps=40, pause=0.1)).id
    ask = {"id_task": job, "id_live_preview": -1}
    found = until(lambda: (seen := client.post("/internal/progress", json=ask).json())["live_preview"] and seen, 60)
    assert found["live_preview"].startswith("data:image/") and found["id_live_preview"] >= 1
    service.ask("interrupt", job)


@pytest.mark.parametrize("name", ["kill", "restart", "stop"])
def test_E10_without_the_flag_the_server_is_not_ended(client_with, name):
    power = Power()
    answer = client_with(power=power).post(f"/sdapi/v1/server-{name}")
    assert answer.status_code == 404 and "--api-server-stop" in answer.json()["detail"]
    assert power.wish == ""
    answer = client_with("--api-server-stop", "--share", "--api", power=power).post(f"/sdapi/v1/server-{name}")
    assert answer.status_code in (401, 403) and power.wish == ""


def test_the_server_is_restarted_stopped_and_killed(tmp_path):
    with Server(tmp_path / "data", "--api-server-stop", "--nowebui") as server:
        process, born = server.process, server.get("/app_id").json()
        assert server.post("/sdapi/v1/server-restart").text == "Restarting."

        def again() -> bool:
            try:
                return server.get("/app_id").json() != born
            except httpx.TransportError:
                return False

        until(again, 120, lambda: server.log)
        assert server.process.pid == process.pid  # the same process, begun anew
        assert server.post("/sdapi/v1/server-stop").text == "Stopping."
        assert until(lambda: server._process.poll() is not None, 60) and server._process.returncode == 0
        server.stop()
        server.start()
        assert server.post("/sdapi/v1/server-kill").status_code == 200
        time.sleep(0.1)
        assert until(lambda: server._process.poll() is not None, 60) and server._process.returncode == 1
