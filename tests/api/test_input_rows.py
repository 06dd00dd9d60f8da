"""The rows of docs/reliability.md about what clients send: refused with a sentence, nothing stored, and the next picture works."""

import base64
import dataclasses
import json
import socket
import threading

import pytest
from PIL import Image

from modules.api.bodies import Txt2ImgBody
from modules.api.img2img import Img2ImgBody
from modules.core.errors import Forbidden, InputError
from modules.core.flags import parse_flags
from modules.core.paths import ROOT
from modules.core.policy import POLICIES
from modules.core.user import User
from modules.images.encode import encode_png
from modules.images.metadata.read import read_metadata
from modules.images.overrides import overrides
from modules.jobs.again import request_of
from modules.jobs.desk import PATH_OPTIONS
from modules.jobs.writer import OUTPUTS
from tests.api.test_bad_input import GOOD, JSON, refused

CODE = ("modules", "webui", "webui/tabs", "modules/scripts", "extensions", "tests", ".", "venv/bin", "modules/../webui")


@pytest.fixture(scope="module", autouse=True)
def _next_picture_works(draw):
    yield
    draw()


@pytest.fixture
def asker(client, service):
    """Nothing is stored, and no setting changed, by what is refused."""
    before, settings = service.store.recent(1), service.settings.current
    yield client
    assert service.store.recent(1) == before
    assert service.settings.current == settings


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *((side, value) for side in ("width", "height") for value in (0, -8, 1, 7, 513, 100_000)),
        *(("batch_size", value) for value in (0, 10**6)),
        *(("n_iter", value) for value in (0, 10**9)),
        *(("steps", value) for value in (0, 10**6)),
        *(("hr_scale", value) for value in (0, 1000, -1)),
    ],
)
def test_A1_sizes_beyond_the_limits(asker, field, value):
    words = refused(asker, json={**GOOD, "enable_hr": field == "hr_scale", field: value})
    assert field in words or "width x height" in words
    assert any(letter.isdigit() for letter in words.replace(str(value), "", 1)), words  # the limit


def floats(body) -> list[str]:
    return sorted(name for name, field in body.model_fields.items() if "float" in str(field.annotation))


@pytest.mark.parametrize("number", ["NaN", "1e999", "-Infinity", '"nan"', '"inf"'])
@pytest.mark.parametrize(("route", "body"), [("txt2img", Txt2ImgBody), ("img2img", Img2ImgBody)])
def test_A3_numbers_that_are_none(asker, route, body, number):
    assert {"cfg_scale", "eta", "denoising_strength", "subseed_strength"} <= {*floats(body)}
    others = ("width", "seed") if number[0] == '"' else ("width", "seed", "comments", "nope")
    for field in (*floats(body), *others):
        text = f'{{"prompt": "x", "{field}": {number}}}'
        assert field in refused(asker, route=f"/sdapi/v1/{route}", content=text, headers=JSON)


@pytest.mark.parametrize("value", [2**64, -(2**63) - 1, 1.5, "abc", None, 2**63])
@pytest.mark.parametrize("field", ["seed", "subseed"])
def test_A4_seeds_that_are_none(asker, field, value):
    assert field in refused(asker, json={**GOOD, field: value})


@pytest.mark.parametrize("field", ["prompt", "negative_prompt"])
@pytest.mark.parametrize("text", ["half \ud800 of it", "\udfff", "a" * 20_001, "a" * 2**20])
def test_A6_text_that_is_refused(asker, field, text):
    assert field in refused(asker, content=json.dumps({**GOOD, field: text}), headers=JSON)


def test_A6_odd_text_is_drawn_and_named_safely(draw, service):
    outputs = service.paths.outputs
    before = {*outputs.rglob("*")}
    texts = (
        "\0",
        "\x1b[2J",
        "\u202eabc",
        "😀🫠\U0010ffff",
        "a\nb\r\nc",
        "<lora:x:1>",
        "((((",
        "%00 %s {} $HOME",
        "../../x",
    )
    for text in texts:
        assert draw(prompt=text, negative_prompt=text, save_images=True)["images"]
    made = {*outputs.rglob("*.png")} - before
    assert len(made) == len(texts)
    for path in made:
        assert path.name.isprintable() and len(path.name.encode()) <= 255 and path.resolve().is_relative_to(outputs)


KINDS = ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/xml", "")


def test_A9_other_content_types_do_nothing(asker):
    """On each route that takes JSON: a body that would be good, sent as something else."""
    paths = asker.get("/openapi.json").json()["paths"]
    routes = [
        (method, path)
        for path, methods in paths.items()
        for method, route in methods.items()
        if [*route.get("requestBody", {}).get("content", {})] == ["application/json"]
    ]
    assert len(routes) > 25
    body = json.dumps({**GOOD, "eta_ancestral": 0.1, "paused": True, "place": 0, "model": "clip", "image": "x"})
    for method, path in routes:
        named = path.replace("{", "").replace("}", "")
        for kind in KINDS:
            headers = {"Content-Type": kind} if kind else {}
            answer = asker.request(method, named, content=body, headers=headers)
            assert answer.status_code in (415, 422, *((404,) if "{" in path else ())), (method, path, kind)
    assert not asker.get("/atelier/queue").json()["paused"]


@pytest.mark.parametrize("option", OUTPUTS)
def test_A12_no_setting_leads_into_the_program(asker, option):
    before = {path: path.stat().st_mtime_ns for path in (ROOT / "modules").rglob("*.py")}
    for folder in CODE:
        for place in (str(ROOT / folder), f"{ROOT}//{folder}/"):
            answer = asker.post("/sdapi/v1/options", json={option: place})
            assert answer.status_code == 422 and "holds the program itself" in answer.json()["detail"]
            settings = {option: place, "save_txt": True}
            body = {**GOOD, "prompt": "import os", "save_images": True, "override_settings": settings}
            answer = asker.post("/sdapi/v1/txt2img", json=body)
            assert answer.status_code == 422 and "holds the program itself" in answer.json()["detail"]
    assert {path: path.stat().st_mtime_ns for path in (ROOT / "modules").rglob("*.py")} == before


def test_A12_others_may_name_no_folder_at_all(service):
    """Over a tunnel administrators neither, in a network users not."""
    policy = service.policy
    try:
        for exposure, admin in (("lan", False), ("tunnel", True), ("tunnel", False)):
            service.policy = POLICIES[exposure]
            desk = service.desk(User(name="x", admin=admin))
            with pytest.raises(Forbidden):
                desk.change_options({"outdir_txt2img_samples": "somewhere"})
    finally:
        service.policy = policy


HOSTILE = (
    "a cat\nNegative prompt: dog\nSteps: 2, Sampler: Euler, CFG scale: 7, Seed: 1, Size: 64x64, VAE: ../../../etc/passwd, "
    "Clip skip: 9000000000, outdir_txt2img_samples: /etc, samples_save: false, sd_vae: /etc/passwd, temp_dir: /tmp/x, "
    "Model: ../../secret, Script: custom code, api_enable_requests: true, webhook_url: http://10.0.0.1/"
)


def test_A19_a_hostile_infotext_sets_nothing_but_what_makes_pictures(service, client):
    """What it sets are options of pictures, whose values settings may take; no place, and nothing that is not known."""
    picture = encode_png(Image.new("RGB", (64, 64)), HOSTILE)
    request, warnings = request_of(read_metadata(picture), service)
    assert not {*PATH_OPTIONS} & request.override_settings.keys()
    known = service.settings.current.flat()
    assert {*request.override_settings} <= {*known}
    assert not {"samples_save", "sd_vae", "CLIP_stop_at_last_layers", "temp_dir"} & request.override_settings.keys()
    assert request.script_name is None
    for what in ("The checkpoint", "The VAE", "outdir_txt2img_samples"):
        assert any(what in warning for warning in warnings), what
    fields = dict.fromkeys((*known, *PATH_OPTIONS), "x")
    assert not {*PATH_OPTIONS} & overrides(fields, service.settings.current).keys()
    answer = client.post("/atelier/reproduce", content=picture)
    assert answer.status_code == 200, answer.text
    job = answer.json()["job"]
    assert service.wait(job, 60).state == "done"
    told = client.post("/sdapi/v1/png-info", json={"image": base64.b64encode(picture).decode()})
    assert told.json()["info"] == HOSTILE


URLS = (
    *("http://127.0.0.1:{port}/x.png", "http://127.1:{port}/x.png", "http://0x7f000001:{port}/x.png"),
    *("http://[::ffff:127.0.0.1]:{port}/x.png", "http://169.254.169.254/latest/meta-data", "http://127.0.0.1.nip.io:{port}/"),
    *("http://localhost:{port}/x.png", "file:///etc/passwd", "http://user@127.0.0.1:{port}/x.png", "http://127.0.0.1:22/"),
    *("https://example.com/x.png", "//127.0.0.1:{port}/x.png", "data:http://127.0.0.1:{port}/x.png"),
)  # fmt: skip


@pytest.fixture
def trap():
    """A port of this machine, and whether anyone came."""
    came = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        ended = threading.Event()

        def wait() -> None:
            while not ended.is_set():
                try:
                    server.accept()[0].close()
                    came.set()
                except OSError:
                    continue

        thread = threading.Thread(target=wait, daemon=True)
        thread.start()
        yield server.getsockname()[1], came
        ended.set()
        thread.join()


def test_N15_pictures_by_address_are_not_fetched(asker, trap):
    """Wherever a picture is taken: the text is no base64, and nobody is asked."""
    port, came = trap
    for url in (address.format(port=port) for address in URLS):
        unit = {"enabled": True, "module": "canny", "image": url}
        for route, body in (
            ("img2img", {**GOOD, "init_images": [url]}),
            ("txt2img", {**GOOD, "alwayson_scripts": {"ControlNet": {"args": [unit]}}}),
            ("png-info", {"image": url}),
            ("extra-single-image", {"image": url}),
            ("extra-batch-images", {"imageList": [{"data": url, "name": "x.png"}]}),
            ("interrogate", {"image": url, "model": "clip"}),
        ):
            refused(asker, route=f"/sdapi/v1/{route}", json=body)
        refused(
            asker, route="/controlnet/detect", json={"controlnet_module": "canny", "controlnet_input_images": [url]}
        )
    came.wait(0.5)
    assert not came.is_set()


def test_R12_nothing_new_is_taken_when_the_disk_is_nearly_full(asker, service):
    policy = service.policy
    service.policy = dataclasses.replace(policy, reserve=2**60)
    try:
        assert "stay free" in refused(asker, 507, json=GOOD)
    finally:
        service.policy = policy


def test_R12_the_reserve_is_a_flag():
    assert parse_flags(["--disk-reserve", "0.5"]).network.policy.reserve == 2**29
    assert parse_flags(["--listen"]).network.policy.reserve == 2 * 2**30
    for wrong in ("-1", "x", "99999"):
        with pytest.raises(InputError, match="disk-reserve"):
            parse_flags(["--disk-reserve", wrong])
