"""Pictures and jobs by id."""

import base64

import pytest

from modules.images.encode import read_infotext
from modules.jobs.live import Live
from tests.jobs.helpers import play
from tests.server import until


@pytest.fixture
def image(draw, service):
    draw(save_images=True, seed=3)
    return service.images(service.store.recent(1)[0].id)[0]


def test_a_picture(client, image):
    answer = client.get(f"/atelier/images/{image.id}")
    assert answer.content == image.path.read_bytes()
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-security-policy"] == "sandbox"
    assert answer.headers["content-disposition"].startswith("inline")


def test_it_is_sent_once(client, image):
    tag = client.get(f"/atelier/images/{image.id}").headers["etag"]
    again = client.get(f"/atelier/images/{image.id}", headers={"If-None-Match": f'"other", {tag}'})
    assert (again.status_code, again.content) == (304, b"")
    assert client.get(f"/atelier/images/{image.id}", headers={"If-None-Match": '"other"'}).status_code == 200


def test_download(client, draw, service):
    draw(save_images=True, prompt='ä "b"; c', override_settings={"samples_filename_pattern": "[prompt]"})
    image = service.images(service.store.recent(1)[0].id)[0]
    assert "ä" in image.path.name
    disposition = client.get(f"/atelier/images/{image.id}?download=1").headers["content-disposition"]
    assert disposition.startswith("attachment; filename*=UTF-8''")
    assert "%C3%A4" in disposition
    assert '"' not in disposition
    assert ";" not in disposition.removeprefix("attachment;")


@pytest.mark.parametrize(("format", "mime"), [("jpeg", "image/jpeg"), ("webp", "image/webp"), ("avif", "image/avif")])
def test_formats(client, draw, service, format, mime):
    for kept in (True, False):
        answer = draw(save_images=kept, seed=4, override_settings={"samples_format": format})
        image = service.images(service.store.recent(1)[0].id)[0]
        found = client.get(f"/atelier/images/{image.id}")
        assert (found.headers["content-type"], image.kept) == (mime, kept)
        assert found.content == image.path.read_bytes() == base64.b64decode(answer["images"][0])
        assert read_infotext(found.content) == image.infotext
        assert image.path.suffix.startswith(f".{format}" if kept or format != "jpeg" else ".jpg")


def test_deleted_meanwhile(client, image):
    image.path.unlink()
    answer = client.get(f"/atelier/images/{image.id}")
    assert answer.status_code == 404
    assert image.path.name in answer.json()["detail"]
    assert str(image.path.parent) not in answer.text


@pytest.mark.parametrize(
    "name", ["0", "-1", "999999", "9" * 40, "1.0", "x", "..%2f..%2fconfig.json", "²", "1%00", "%2e%2e"]
)
def test_only_ids(client, name):
    answer = client.get(f"/atelier/images/{name}")
    assert answer.status_code == 404
    assert answer.json()["error"] == "NotFound"


def test_jobs(client, draw, service):
    draw(n_iter=2, seed=9, save_images=True, force_task_id="task-jobs")
    job = client.get("/atelier/jobs/task-jobs").json()
    assert (job["state"], job["position"], job["progress"], job["seed"]) == ("done", 0, 1.0, 9)
    assert [(i["position"], i["seed"], i["saved"]) for i in job["images"]] == [(0, 9, True), (1, 10, True)]
    assert client.get(job["images"][1]["url"]).status_code == 200
    assert client.get("/atelier/jobs").json()["jobs"][0] == job


def test_a_job_that_is_over_has_no_phase_though_it_is_still_live(client, draw, service, monkeypatch):
    draw(force_task_id="task-over")
    live = Live(job="task-over", started=0.0, phase="sampling")
    monkeypatch.setattr(service, "_live", live)
    job = client.get("/atelier/jobs/task-over").json()
    assert (job["state"], job["phase"], job["seconds_left"], job["progress"]) == ("done", None, None, 1.0)


def test_unknown_jobs(client):
    for path in ("jobs/nope", "preview/nope", "jobs/" + "x" * 500):
        answer = client.get(f"/atelier/{path}")
        assert answer.status_code == 404
        assert "no job" in answer.json()["detail"]


def test_running_and_waiting(puppet):
    service, client = puppet
    first, second = service.submit(play(wait="interrupt")), service.submit(play())
    until(lambda: service.live(first.id), 60)
    found = client.get(f"/atelier/jobs/{second.id}").json()
    assert (found["state"], found["position"], found["progress"]) == ("queued", 1, 0)
    assert client.get(f"/atelier/jobs/{first.id}").json()["state"] == "running"
    assert client.get(f"/atelier/preview/{second.id}").status_code == 404
    service.ask("interrupt", second.id)
    service.ask("interrupt", first.id)
