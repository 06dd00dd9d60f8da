"""The agent-scheduler's routes, over the stand-in engine."""

import base64
import dataclasses
import io
import json

import pytest
from PIL import Image

V1 = "/agent-scheduler/v1"
TIMES = ("created_at", "updated_at", "priority")
BODY = {"prompt": "{}", "width": 64, "height": 64, "steps": 2}


def queue(client, **values) -> str:
    answer = client.post(f"{V1}/queue/txt2img", json={**BODY, **values})
    assert answer.status_code == 200, answer.text
    return answer.json()["task_id"]


def post(client, path: str, **values) -> dict:
    answer = client.post(f"{V1}/{path}", **values)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_tasks_are_queued_moved_renamed_drawn_and_forgotten(puppet):
    service, client = puppet
    assert post(client, "queue/pause")["success"]
    first, second, third = (queue(client, seed=n) for n in (1, 2, 3))
    named = queue(client, name="mine", checkpoint="model", force_task_id="task(x)")
    told = client.get(f"{V1}/queue").json()
    assert (told["paused"], told["total_pending_tasks"], told["current_task_id"]) == (True, 4, None)
    assert [task["id"] for task in told["pending_tasks"]] == [first, second, third, named]
    assert [task["position"] for task in client.get(f"{V1}/queue?limit=2&offset=1").json()["pending_tasks"]] == [1, 2]
    task = client.get(f"{V1}/task/{named}").json()["data"]
    assert (task["name"], task["status"], task["type"], task["params"]["steps"]) == ("mine", "pending", "txt2img", 2)
    post(client, f"task/{third}/move/{second}")
    post(client, f"task/{named}/move/top")
    post(client, f"task/{first}/move/bottom")
    order = [task["id"] for task in client.get(f"{V1}/queue").json()["pending_tasks"]]
    assert order == [named, third, second, first]
    post(client, f"task/{first}/run")
    assert client.get(f"{V1}/task/{first}/position").json()["data"] == {"status": "pending", "position": 0}
    post(client, f"task/{first}/rename", params={"name": "other"})
    assert client.put(f"{V1}/task/{first}", json={"params": {"steps": 3}}).json()["success"]
    assert client.delete(f"{V1}/task/{second}").json()["message"] == "Task interrupted"
    post(client, "queue/resume")
    service.wait(third, 60)
    service.wait(named, 60)
    done = client.get(f"{V1}/history?status=done").json()
    assert done["total"] == 3 and {task["id"] for task in done["tasks"]} == {first, third, named}
    one = next(task for task in done["tasks"] if task["id"] == first)
    assert (one["name"], one["params"]["steps"]) == ("other", 3)
    assert [task["id"] for task in client.get(f"{V1}/history?status=interrupted").json()["tasks"]] == [second]
    post(client, f"task/{third}/bookmark")
    assert client.get(f"{V1}/history?status=bookmarked").json()["total"] == 1
    post(client, "history/clear")
    assert [task["id"] for task in client.get(f"{V1}/history").json()["tasks"]] == [third]
    post(client, f"task/{third}/unbookmark")
    cached = service.images(third)[0].path
    assert cached.exists()
    assert client.delete(f"{V1}/task/{third}").json()["message"] == "Task deleted"
    assert client.get(f"{V1}/task/{third}").status_code == 404 and not cached.exists()


def test_results_and_once_more(puppet):
    service, client = puppet
    job = queue(client, n_iter=2)
    service.wait(job, 60)
    data = client.get(f"{V1}/task/{job}/results").json()["data"]
    assert len(data) == 2 and data[0]["infotext"].startswith("picture 0")
    assert Image.open(io.BytesIO(base64.b64decode(data[0]["image"].partition(",")[2]))).size == (8, 8)
    archive = client.get(f"{V1}/task/{job}/results?zip=true")
    assert archive.status_code == 200 and archive.content[:2] == b"PK"
    again = post(client, f"task/{job}/requeue")["task_id"]
    assert again != job and service.wait(again, 60).state == "done"
    broken = queue(client, prompt='{"fail": "no"}')
    service.wait(broken, 60)
    assert client.get(f"{V1}/task/{broken}/results").json() == {"success": False, "message": "Task is failed"}
    assert post(client, "task/requeue-failed")["message"] == "Requeued 1 failed tasks"
    post(client, "queue/pause")
    waiting = queue(client)
    post(client, "queue/clear")
    assert service.job(waiting).state == "stopped"
    assert "Euler a" in client.get(f"{V1}/samplers").json()
    assert "model.safetensors" in client.get(f"{V1}/sd-models").json()


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "queue/txt2img", {"steps": 0}, 422),
        ("POST", "queue/txt2img", {"prompt": "{}", "checkpoint": "gone"}, 422),
        ("POST", "queue/txt2img", {"prompt": "{}", "callback_url": "http://127.0.0.1/"}, 422),
        ("POST", "queue/txt2img", {"prompt": "{}", "name": "a\nb"}, 422),
        ("POST", "queue/img2img", {"prompt": "{}"}, 404),
        ("GET", "queue?limit=0", None, 422),
        ("GET", "history?status=nope", None, 422),
        ("GET", "task/none", None, 404),
        ("PUT", "task/none", {"name": "x"}, 404),
        ("DELETE", "task/none", None, 404),
        ("POST", "task/none/run", None, 404),
        ("POST", "task/none/move/top", None, 404),
        ("GET", "task/none/results", None, 404),
        ("POST", "task/none/rename?name=x", None, 404),
        ("GET", "nope", None, 404),
    ],
)  # fmt: skip
def test_wrong_wishes_are_answered_with_a_sentence(puppet, method, path, body, status):
    service, client = puppet
    answer = client.request(method, f"{V1}/{path}", json=body)
    assert answer.status_code == status and answer.json()["detail"].endswith((".", "…")), answer.text
    assert not service.store.recent(1)


def small() -> str:
    file = io.BytesIO()
    Image.new("RGB", (64, 64), "red").save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def test_the_queue_as_a_file(puppet):
    service, client = puppet
    post(client, "queue/pause")
    first = queue(client, seed=5, name="mine")
    body = {**BODY, "init_images": [small()], "force_task_id": "drawn-on"}
    assert post(client, "queue/img2img", json=body)["task_id"] == "drawn-on"
    told = client.get(f"{V1}/export").json()
    assert [(task["id"], task["name"], task["type"]) for task in told] == [
        (first, "mine", "txt2img"),
        ("drawn-on", None, "img2img"),
    ]
    post(client, "queue/clear")
    for job in (first, "drawn-on"):
        client.delete(f"{V1}/task/{job}")
    answer = post(client, "import", json={"content": json.dumps(told)})
    assert (answer["success"], answer["task_ids"]) == (True, [first, "drawn-on"])
    assert [{**task, **dict.fromkeys(TIMES)} for task in client.get(f"{V1}/export").json()] == [
        {**task, **dict.fromkeys(TIMES)} for task in told
    ]
    again = post(client, "import", json={"content": json.dumps(told[:1])})["task_ids"]
    assert again != [first] and service.job(again[0]).request == service.job(first).request
    post(client, "queue/resume")
    assert service.wait("drawn-on", 60).state == "done"


def test_a_file_of_the_extension(puppet):
    service, client = puppet
    post(client, "queue/pause")
    args = {**BODY, "steps": 3, "sampler_name": "Euler a"}
    params = json.dumps({"args": args, "checkpoint": "model", "is_ui": False})
    task = {"id": "", "name": None, "type": "txt2img", "params": params, "script_params": "gAQ="}
    (job,) = post(client, "import", json={"content": json.dumps([task])})["task_ids"]
    request = service.job(job).request
    assert (request.steps, request.override_settings["sd_model_checkpoint"]) == (3, "model")


@pytest.mark.parametrize(
    "change",
    [
        {"request": {"steps": 0}},
        {"request": {"unknown": 1}},
        {"type": "video"},
        {"pictures": [1]},
        {"pictures": {"x": "=="}},
        {"request": None},
        {"request": None, "params": "{"},
        {"request": None, "params": {"args": {**BODY, "steps": 0}}},
        {"request": None, "params": {"args": BODY, "is_ui": True}},
        {"name": "a\nb"},
    ],
)  # fmt: skip
def test_all_of_a_file_or_nothing(puppet, change):
    service, client = puppet
    post(client, "queue/pause")
    queue(client)
    (task,) = client.get(f"{V1}/export").json()
    answer = client.post(f"{V1}/import", json={"content": json.dumps([task, {**task, **change}])})
    assert answer.status_code == 422 and "1" in answer.json()["detail"], answer.text
    assert len(service.store.recent(9)) == 1


def test_a_file_that_does_not_fit_into_the_queue(puppet):
    service, client = puppet
    post(client, "queue/pause")
    queue(client)
    told = client.get(f"{V1}/export").json()
    service.policy = dataclasses.replace(service.policy, queued=2)
    answer = client.post(f"{V1}/import", json={"content": json.dumps(told * 3)})
    assert answer.status_code == 503 and len(service.store.unfinished()) == 1
    for wrong in ("{}", "x", "[1]", '[{"a": NaN}]', "[" * 5000):
        assert client.post(f"{V1}/import", json={"content": wrong}).status_code == 422, wrong


def test_webhooks_are_listed_and_their_secrets_told_once(puppet):
    service, client = puppet
    service.webhooks._allow_local = True
    post(client, "queue/pause")
    job = queue(client, callback_url="http://127.0.0.1:9/x?secret=1")
    assert client.get(f"{V1}/task/{job}").json()["data"]["api_task_callback"] == "http://127.0.0.1:9/x?secret=1"
    assert client.get("/atelier/webhooks").json() == {"calls": []}
    post(client, "queue/clear")
    (call,) = client.get("/atelier/webhooks").json()["calls"]
    assert (call["job"], call["event"], call["url"]) == (job, "job.cancelled", "http://127.0.0.1:9/x")
    one, other = (client.post("/atelier/me/webhook-secret").json()["secret"] for _ in range(2))
    assert (
        one != other and one.startswith("whsec_") and client.post("/atelier/webhook-secret").json()["secret"] != other
    )
    assert client.get("/atelier/me/webhook-secret").status_code == 405
