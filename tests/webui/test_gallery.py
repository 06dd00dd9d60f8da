"""What the page asks beside its job."""

import csv
import io
import re
import zipfile
from urllib.parse import unquote

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from modules.api.callers import caller_of
from modules.api.errors import add_error_handlers
from modules.core.user import OWNER
from modules.jobs.service import JobService
from tests.jobs.helpers import play
from webui.gallery import build_gallery


@pytest.fixture
def client(service: JobService) -> TestClient:
    app = FastAPI()
    add_error_handlers(app)
    app.include_router(build_gallery(service))
    app.dependency_overrides[caller_of] = lambda: OWNER
    return TestClient(app)


def test_save_copies_the_picture_and_logs_it(client: TestClient, service: JobService):
    job = service.submit(play(n_iter=2)).id
    service.wait(job, 30)
    for image in service.images(job):
        assert client.post(f"/atelier/images/{image.id}/save").json()["saved"]
    folder = service.paths.outputs / "log" / "images"
    assert len(list(folder.glob("*.png"))) == 2
    with (folder / "log.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0][:3] == ["prompt", "seed", "width"]
    assert [row[1] for row in rows[1:]] == [str(image.seed) for image in service.images(job)]
    assert client.post("/atelier/images/99999/save").status_code == 404


@pytest.mark.parametrize("prompt", ["=1+1", "+cmd|' /C calc'!A0", "-2", "@SUM(A1)"])
def test_F12_a_spreadsheet_computes_nothing_of_the_log(client: TestClient, service: JobService, prompt: str):
    job = service.submit(play(says=prompt)).id
    service.wait(job, 30)
    (image,) = service.images(job)
    assert client.post(f"/atelier/images/{image.id}/save").json()["saved"]
    with (service.paths.outputs / "log" / "images" / "log.csv").open(encoding="utf-8", newline="") as file:
        assert [*csv.DictReader(file)][0]["prompt"] == f"'{prompt}"
    assert image.infotext.startswith(f"{prompt}\n")


def test_where_and_how_much_is_saved_is_a_setting(client: TestClient, service: JobService):
    job = service.submit(play(n_iter=2)).id
    service.wait(job, 30)
    first, second = service.images(job)
    service.change_options({"outdir_save": "best", "save_write_log_csv": False})
    told = client.post(f"/atelier/images/{first.id}/save").json()
    assert told == {"saved": f"best/{first.path.name}", "count": 1}
    folder = service.paths.outputs / "best"
    assert [path.name for path in folder.iterdir()] == [first.path.name], "no log"
    options = {"use_save_to_dirs_for_ui": True, "directories_filename_pattern": "of [seed]"}
    service.change_options({**options, "save_selected_only": False, "save_write_log_csv": True})
    assert client.post(f"/atelier/images/{first.id}/save").json()["count"] == 2
    for image in (first, second):
        assert (folder / f"of {image.seed}" / image.path.name).read_bytes() == image.path.read_bytes()
    with (folder / "log.csv").open(encoding="utf-8", newline="") as file:
        assert [*csv.DictReader(file)][1]["filename"] == f"of {second.seed}/{second.path.name}"


def test_all_pictures_come_in_one_file(client: TestClient, service: JobService):
    first, second = service.submit(play(n_iter=2)).id, service.submit(play()).id
    service.wait(second, 30)
    answer = client.get(f"/atelier/jobs/{first},{second}/zip")
    seeds = [service.images(job)[at].seed for job, at in ((first, 0), (second, -1))]
    name = unquote(answer.headers["content-disposition"].partition("''")[2])
    assert re.fullmatch(rf"\d{{14}}_\[.*\]_{seeds[0]}-{seeds[1]}\.zip", name), name
    service.change_options({"grid_zip_filename_pattern": "Bilder/ü [seed_last] of [batch_size]"})
    named = client.get(f"/atelier/jobs/{second}/zip").headers["content-disposition"]
    assert unquote(named).endswith(f"''Bilder_ü {seeds[1]} of 1.zip")
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        data = [archive.read(name) for name in archive.namelist()]
    assert data == [image.path.read_bytes() for job in (first, second) for image in service.images(job)]
    for image in service.images(second):
        image.path.unlink()
    assert client.get(f"/atelier/jobs/{second}/zip").status_code == 404
    assert client.get("/atelier/jobs/nothing/zip").status_code == 404
