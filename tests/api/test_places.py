"""Files and folders that requests name: none outside of where they belong, whatever is asked for."""

import base64
import io
import os
import time
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from modules.api import uploads
from modules.core.errors import TooMuchUploaded
from modules.core.policy import MB
from modules.images.encode import encode_png
from modules.jobs.uploads import USED, Quota, Uploads
from tests.api.conftest import client_of
from tests.jobs.runners import noise
from tests.server import until

CORPUS = (
    "..",
    "../../x",
    "/etc/passwd",
    "~/x",
    "~root/x",
    "a\0b",
    "x" * 300,
    "CON",
    "x. ",
    "a\nb",
    "\u202egnp.exe",
    "..\\..\\x",
    "a/../../b",
    "//host/x",
    "C:\\x",
)
"""Names as nobody means well by them."""


def tree(folder: Path) -> set[Path]:
    """Everything in and beside the data folder."""
    return {path for path in folder.parent.rglob("*") if "cache" not in path.parts and "sqlite3" not in path.name}


def small(values: dict) -> dict:
    return {"prompt": "a red star", "width": 64, "height": 64, "steps": 1, **values}


FIELDS = {
    "style": lambda name: ("/sdapi/v1/txt2img", small({"styles": [name]})),
    "model": lambda name: ("/sdapi/v1/txt2img", small({"override_settings": {"sd_model_checkpoint": name}})),
    "vae": lambda name: ("/sdapi/v1/txt2img", small({"override_settings": {"sd_vae": name}})),
    "sampler": lambda name: ("/sdapi/v1/txt2img", small({"sampler_name": name})),
    "upscaler": lambda name: ("/sdapi/v1/txt2img", small({"enable_hr": True, "hr_upscaler": name})),
    "lora": lambda name: ("/sdapi/v1/txt2img", small({"prompt": f"<lora:{name}:1>"})),
    "wildcard": lambda name: ("/sdapi/v1/txt2img", small({"prompt": f"__{name}__ star"})),
    "job id": lambda name: ("/sdapi/v1/txt2img", small({"force_task_id": name})),
    "script": lambda name: ("/sdapi/v1/txt2img", small({"script_name": name})),
}


TEXT = ("style", "wildcard", "lora")
"""Where a name that is not known is mere text, and told of."""


@pytest.mark.parametrize("field", FIELDS)
def test_F3_names_lead_nowhere(client: TestClient, service, field):
    before = tree(service.paths.data)
    for name in CORPUS:
        path, body = FIELDS[field](name)
        answer = client.post(path, json=body)
        assert answer.status_code in (200, 404, 422), (name, answer.text[:300])
        assert "Traceback" not in answer.text
        assert answer.status_code != 200 or field in TEXT or (field, name) == ("job id", "CON"), name
    made = {path for path in tree(service.paths.data) - before if path.is_file()}
    assert all(path.is_relative_to(service.paths.data / "outputs") for path in made)


@pytest.mark.parametrize(
    "path", ["/atelier/images/{}", "/atelier/jobs/{}", "/atelier/cards/{}/thumbnail", "/atelier/preview/{}"]
)
@pytest.mark.parametrize("name", ["..%2f..%2fconfig.json", "%2e%2e", "%2fetc%2fpasswd", "1%00", "C:%5cx", "x" * 300])
def test_F3_ids_are_ids(client: TestClient, path, name):
    answer = client.get(path.format(name))
    assert answer.status_code in (403, 404, 422), answer.text[:200]
    assert "root:" not in answer.text


@pytest.mark.parametrize(
    "place", ["/etc/pictures", "/usr/share/pictures", "/proc/self", "/dev/shm/../x", "~/.ssh", "~/.config/x", "/sys"]
)
def test_F7_no_pictures_into_the_system_or_among_secrets(client: TestClient, service, place):
    body = small({"override_settings": {"outdir_txt2img_samples": place}})
    answer = client.post("/sdapi/v1/txt2img", json=body)
    assert (answer.status_code, "Choose another output folder" in answer.json()["detail"]) == (422, True), answer.text
    assert client.post("/sdapi/v1/options", json={"outdir_txt2img_samples": place}).status_code == 422
    assert not Path("/etc/pictures").exists() and not Path("/usr/share/pictures").exists()


def test_F7_a_file_is_no_folder(client: TestClient, service, tmp_path):
    (tmp_path / "file").write_text("")
    answer = client.post("/sdapi/v1/options", json={"outdir_txt2img_samples": str(tmp_path / "file")})
    assert (answer.status_code, "is a file" in answer.json()["detail"]) == (422, True)


@pytest.mark.parametrize(
    "content", [b"<html><script>alert(1)</script>", b"<svg onload='alert(1)'>", b"alert(1)", b'{"a": 1}', b""]
)
def test_F10_what_is_no_picture_is_not_served_as_one(client: TestClient, service, draw, content):
    draw()
    job = service.store.recent(1)[0]
    (image,) = service.images(job.id)
    kept = image.path.read_bytes()
    image.path.write_bytes(content)
    answer = client.get(f"/atelier/images/{image.id}")
    image.path.write_bytes(kept)
    assert answer.status_code == 404 or answer.headers["content-type"].startswith("image/"), answer.headers
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_F10_a_picture_that_is_a_page_too_stays_a_picture(client: TestClient, service, draw):
    draw(prompt="<script>alert(1)</script>")
    job = service.store.recent(1)[0]
    (image,) = service.images(job.id)
    answer = client.get(f"/atelier/images/{image.id}")
    assert b"<script>alert(1)</script>" in answer.content
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in answer.headers["content-security-policy"]


def test_F13_uploads_have_an_end(tmp_path):
    pictures = [encode_png(noise(seed, 30_000), "") for seed in range(8)]
    size = len(pictures[0])
    folder = Uploads(tmp_path, 5 * size)
    kept = [folder.keep(data) for data in pictures[:4]]
    with pytest.raises(TooMuchUploaded, match="in the last hour"):
        for data in pictures[4:]:
            kept.append(folder.keep(data))
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 5 * size
    for age, picture in enumerate(kept):
        at = time.time() - USED - 100 + age
        os.utime(tmp_path / picture.sha256, (at, at))
    found = folder.keep(pictures[7])
    left = {path.name for path in tmp_path.iterdir()}
    assert found.sha256 in left
    assert kept[0].sha256 not in left  # the oldest goes first
    assert kept[-1].sha256 in left


def test_F13_over_the_api(service, monkeypatch):
    data = encode_png(noise(3, 30_000), "")
    monkeypatch.setattr(service, "policy", replace(service.policy, uploads=len(data) + 10))
    with client_of(service) as client:
        assert client.post("/atelier/uploads", content=data).status_code == 200
        answer = client.post("/atelier/uploads", content=encode_png(noise(4, 30_000), ""))
    assert (answer.status_code, int(answer.headers["retry-after"]) > 0) == (429, True)


def test_F13_each_user_has_an_end_of_their_own():
    quota = Quota(10 * MB)
    with quota.taken("ann", 6 * MB):
        pass
    with pytest.raises(ZeroDivisionError), quota.taken("ann", 4 * MB):  # refused as no picture, say: it does not count
        raise ZeroDivisionError
    too_much = pytest.raises(
        TooMuchUploaded, match=r"^You uploaded 6 MB of pictures in the last hour, of at most 10 MB\."
    )
    with too_much, quota.taken("ann", 5 * MB):
        pytest.fail("it was taken")
    with quota.taken("bob", 10 * MB), quota.taken("ann", 4 * MB):
        pass


def test_F13_over_the_api_for_each_user(service, monkeypatch):
    data = encode_png(noise(5, 30_000), "")
    monkeypatch.setattr(service, "policy", replace(service.policy, uploads_each=len(data) + 10))
    with client_of(service) as client:
        assert client.post("/atelier/uploads", content=b"no picture" * 100).status_code == 422
        assert client.post("/atelier/uploads", content=data).status_code == 200
        answer = client.post("/atelier/uploads", content=encode_png(noise(6, 30_000), ""))
    assert (answer.status_code, answer.json()["detail"][:12]) == (429, "You uploaded")


def test_F13_a_closed_page_takes_along_what_it_has_sent(service, monkeypatch):
    monkeypatch.setattr(uploads, "AFTER", 0.0)
    data = encode_png(noise(7, 30_000), "")
    with client_of(service) as client:
        name = client.post("/atelier/uploads?page=abc", content=data).json()["sha256"]
        assert client.post("/atelier/uploads/leave", json={"page": "another"}).status_code == 200
        assert client.post("/atelier/uploads/leave", json={"page": ""}).status_code == 422
        assert (service.paths.cache / "uploads" / name).is_file()
        assert client.post("/atelier/uploads/leave", json={"page": "abc"}).status_code == 200
        until(lambda: not (service.paths.cache / "uploads" / name).exists(), 60)


@pytest.mark.parametrize("value", ["x\nlogin = none", "x\r\nsecurity_level = weak", "x\0y"])
def test_E9_a_value_of_a_setting_stays_a_value(client: TestClient, service, value):
    before = service.settings.current.flat()
    answer = client.post("/sdapi/v1/options", json={"samples_filename_pattern": value})
    after = service.settings.current.flat()
    assert answer.status_code in (200, 422)
    assert {key for key in after if after[key] != before[key]} <= {"samples_filename_pattern"}
    again = type(service.settings)(service.paths.settings).current.flat()
    assert answer.status_code == 422 or again["samples_filename_pattern"] == value
    client.post("/sdapi/v1/options", json={"samples_filename_pattern": before["samples_filename_pattern"]})


def test_E10_no_flag_lets_requests_run_code(client: TestClient):
    names = [script.lower() for kind in client.get("/sdapi/v1/scripts").json().values() for script in kind]
    assert names and "custom code" not in names
    answer = client.post("/sdapi/v1/txt2img", json=small({"script_name": "Custom code", "script_args": ["1"]}))
    assert answer.status_code == 422


def slipping() -> bytes:
    """An archive whose files would lie elsewhere, one of them enormous."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("../../evil.py", "/tmp/evil.py", "models/evil.py"):
            archive.writestr(name, "print()")
        archive.writestr("bomb", bytes(20 * MB))
    return buffer.getvalue()


def test_F9_an_archive_is_taken_in_nowhere(client: TestClient, service):
    """Wherever a file is sent, one is no picture and no text: nothing looks into it."""
    data = slipping()
    coded = base64.b64encode(data).decode()
    before = tree(service.paths.data)
    bare = [(f"/atelier/{name}", {"content": data}) for name in ("uploads", "png-info", "reproduce")]
    bodies: list[tuple[str, dict[str, Any]]] = [
        *bare,
        ("/agent-scheduler/v1/import", {"json": {"content": coded}}),
        ("/sdapi/v1/img2img", {"json": small({"init_images": [coded]})}),
        ("/sdapi/v1/extra-single-image", {"json": {"image": f"data:application/zip;base64,{coded}"}}),
        ("/sdapi/v1/png-info", {"json": {"image": coded}}),
    ]
    for path, sent in bodies:
        answer = client.post(path, **sent)
        assert answer.status_code == 422, (path, answer.status_code, answer.text[:200])
    assert tree(service.paths.data) == before and not Path("/tmp/evil.py").exists()
