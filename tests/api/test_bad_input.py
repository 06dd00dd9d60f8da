"""Whatever a client sends: a sentence that names the field and the value, never a 500, and the next picture works."""

import json

import pytest

ROUTE = "/sdapi/v1/txt2img"
JSON = {"Content-Type": "application/json"}
GOOD = {"prompt": "x", "width": 64, "height": 64, "steps": 1}


@pytest.fixture(scope="module", autouse=True)
def _next_picture_works(draw):
    """After all these refusals the engine still draws."""
    yield
    draw()


@pytest.fixture
def asker(client, service):
    """Nothing is stored for a request that is refused."""
    before = service.store.recent(1)
    yield client
    assert service.store.recent(1) == before


def refused(client, status=422, route=ROUTE, **values) -> str:
    """Send it; the sentence of the refusal."""
    answer = client.post(route, **values)
    assert answer.status_code == status, answer.text[:300]
    body = answer.json()
    assert set(body) == {"error", "detail", "body", "errors", "hint"}
    assert "Traceback" not in answer.text
    assert "/modules/" not in answer.text
    assert body["detail"].endswith((".", "…"))
    assert len(body["detail"]) < 600
    return body["detail"]


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        *(("width", value, "width") for value in (63, 10**30, "abc", None, 64.5, True, [], {})),
        *(("height", value, "height") for value in ("", "64px")),
        *(("batch_size", value, "batch_size") for value in (-1, 65, False)),
        *(("n_iter", value, "n_iter") for value in ("1e9",)),
        *(("steps", value, "steps") for value in (-1, 151, None, True)),
        *(("cfg_scale", value, "cfg_scale") for value in (-1, 101, "x", None, True, "nan", "inf")),
        *(("seed", value, "seed") for value in (-2, True)),
        *(("prompt", value, "prompt") for value in (5, None, [])),
        ("sampler_name", "Eular", "Euler"),
        ("sampler_name", "x" * 200, "sampler_name"),
        ("sampler_index", "nope", "sampler_name"),
        ("scheduler", "Karass", "Karras"),
        ("scheduler", 7, "scheduler"),
        ("eta", 2, "eta"),
        ("override_settings", [], "override_settings"),
        ("override_settings", {"nope": 1}, "nope"),
        ("override_settings", {"sd_model_checkpoint": "../../etc/passwd"}, "sd_model_checkpoint"),
        ("override_settings", {"CLIP_stop_at_last_layers": 99}, "CLIP_stop_at_last_layers"),
        ("override_settings", {"outdir_txt2img_samples": "\0"}, "outdir_txt2img_samples"),
        ("send_images", "perhaps", "send_images"),
        ("force_task_id", "../x", "force_task_id"),
        ("force_task_id", 5, "force_task_id"),
        ("script_args", "x", "script_args"),
        ("comments", {"a": "\ud800"}, "comments"),
        ("nope", {"a": ["\ud800"]}, "nope"),
    ],
)
def test_wrong_values(asker, field, value, words):
    assert words in refused(asker, content=json.dumps({**GOOD, field: value}), headers=JSON)


def test_good_alternative_spellings(draw):
    draw(width="64", height=64.0, steps="2", cfg_scale="5", seed="7")


def test_product_limit(asker):
    words = refused(asker, json={**GOOD, "width": 16384, "height": 16384, "batch_size": 64})
    assert "megapixels" in words
    assert "16384 x 16384 x 64" in words


def test_seeds_of_all_pictures_must_fit(asker):
    assert "seed" in refused(asker, json={**GOOD, "seed": 2**63 - 1, "n_iter": 2})


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"7",
        b"null",
        b'"x"',
        b"{",
        b'{"prompt": "x"',
        b"{'prompt': 'x'}",
        b'{"prompt": "\xff"}',
        b"\xff\xfe{}",
        b'{"seed": ' + b"9" * 5000 + b"}",
        b"[" * 100_000,
        b'{"comments":' * 100_000 + b"1" + b"}" * 100_000,
        b'{"comments": {"a":' + b"[" * 500 + b"]" * 500 + b"}}",
        b'{"script_args": ' + b"[" * 200 + b"]" * 200 + b"}",
    ],
    ids=range(15),
)
def test_bodies_that_are_no_json_object(asker, body):
    assert refused(asker, content=body, headers=JSON)


@pytest.mark.parametrize(
    ("method", "path"), [("GET", ROUTE), ("PUT", ROUTE), ("DELETE", "/sdapi/v1/options"), ("POST", "/healthz")]
)
def test_wrong_methods(asker, method, path):
    answer = asker.request(method, path)
    assert answer.status_code == 405
    assert answer.headers["allow"]
    assert answer.json()["detail"].startswith(f"{method} is not answered")


@pytest.mark.parametrize(
    "path", ["/sdapi/v1/nope", "/sdapi/v1/img2img2", "/internal/x", "/nope", "/sdapi/v1/../x", "/%00", "/" + "x" * 3000]
)
def test_unknown_routes(asker, path):
    for method in ("GET", "POST"):
        answer = asker.request(method, path)
        assert answer.status_code == 404
        assert answer.json()["detail"].startswith("There is nothing at ")
        assert len(answer.json()["detail"]) < 200


def test_query_values(asker):
    answer = asker.get("/sdapi/v1/progress", params={"skip_current_image": "perhaps"})
    assert answer.status_code == 422
    assert "skip_current_image" in answer.json()["detail"]


def test_a_mistake_of_ours_is_one_sentence(asker, service, monkeypatch):
    monkeypatch.setattr(service.checkpoints, "list", lambda: 1 / 0)
    answer = asker.get("/sdapi/v1/sd-models")
    assert answer.status_code == 500
    assert answer.json()["error"] == "InternalError"
    assert "division" not in answer.text
    assert "Traceback" not in answer.text
