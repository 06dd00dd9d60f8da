"""`Idempotency-Key` and `Prefer: respond-async` on the routes that draw (row L9)."""

import base64
import io
import threading
import time

import pytest
from PIL import Image

from modules.core.errors import InputError
from modules.core.user import User
from modules.jobs.keys import make_key
from modules.jobs.store import JobStore
from tests.jobs.helpers import play

DRAW = "/sdapi/v1/txt2img"
BODY = {"prompt": "{}", "width": 64, "height": 64, "steps": 2}


def picture() -> str:
    data = io.BytesIO()
    Image.new("RGB", (64, 64), "red").save(data, "PNG")
    return base64.b64encode(data.getvalue()).decode()


def test_L9_the_same_key_and_body_are_one_job_and_one_answer(puppet):
    service, client = puppet
    answers = [client.post(DRAW, json=BODY, headers={"Idempotency-Key": "a-1"}) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[0].json() == answers[1].json() and len(answers[0].json()["images"]) == 1
    assert len(service.store.recent(10)) == 1
    assert client.post(DRAW, json=BODY, headers={"Idempotency-Key": "a-2"}).json() != answers[0].json()
    assert client.post(DRAW, json=BODY).status_code == 200  # without a key each is a job of its own
    assert len(service.store.recent(10)) == 3


def test_L9_at_the_same_time_too(puppet):
    service, client = puppet
    found: list[dict] = []
    headers = {"Idempotency-Key": "double click"[:6]}

    def post() -> None:
        found.append(client.post(DRAW, json=BODY, headers=headers).json())

    threads = [threading.Thread(target=post) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(found) == 6 and all(each == found[0] for each in found)
    assert len(service.store.recent(10)) == 1


def test_another_body_or_route_is_refused(puppet):
    service, client = puppet
    headers = {"Idempotency-Key": "once"}
    assert client.post(DRAW, json=BODY, headers=headers).status_code == 200
    for route, body in (
        (DRAW, {**BODY, "steps": 3}),
        (DRAW, {**BODY, "unknown": 1}),
        ("/sdapi/v1/extra-single-image", {"image": picture()}),
    ):
        answer = client.post(route, json=body, headers=headers)
        assert answer.status_code == 422 and "sent before with another body" in answer.json()["detail"], answer.text
    assert len(service.store.recent(10)) == 1


@pytest.mark.parametrize("key", ["", " ", "x" * 256, "two words", "\xe4"])
def test_a_key_that_is_none_is_refused(puppet, key):
    service, client = puppet
    answer = client.post(DRAW, json=BODY, headers={"Idempotency-Key": key.encode("latin-1")})  # type: ignore[dict-item]
    assert answer.status_code == 422 and "visible ASCII" in answer.json()["detail"]
    assert not service.store.recent(1)


def test_two_keys_are_refused(puppet):
    _, client = puppet
    answer = client.post(DRAW, json=BODY, headers=[("Idempotency-Key", "a"), ("Idempotency-Key", "b")])
    assert answer.status_code == 422 and "Send one" in answer.json()["detail"]


def test_a_key_is_one_users_and_outlasts_a_restart_but_not_its_hours(puppet):
    service, _ = puppet
    key = make_key("k", DRAW, "{}", 24)
    first = service.submit(play(seed=1), user="ann", key=key)
    assert service.submit(play(seed=2), user="ann", key=key).id == first.id
    assert service.submit(play(seed=2), user="bob", key=key).id != first.id
    with pytest.raises(InputError):
        service.submit(play(seed=2), user="ann", key=make_key("k", DRAW, "{ }", 24))
    other = JobStore(service.paths.jobs)  # as the next start opens it
    kept = other.keyed("ann", key)
    assert kept and kept.id == first.id
    other.close()
    time.sleep(0.01)
    assert service.store.keyed("ann", make_key("k", DRAW, "{}", 0)) is None  # forgotten after no hours


def test_the_key_of_a_user_who_is_gone_is_nobodys(puppet):
    service, client = puppet
    key = make_key("k", DRAW, "{}", 24)
    service.submit(play(), user="ann", key=key)
    service.store.disown("ann")
    assert service.store.keyed("ann", key) is None


def test_the_answer_may_come_at_once(puppet):
    service, client = puppet
    headers = {"Prefer": "wait=5, respond-async", "Idempotency-Key": "later"}
    answer = client.post(DRAW, json={**BODY, "force_task_id": "task(me)"}, headers=headers)
    assert answer.status_code == 202, answer.text
    told = answer.json()
    assert (told["job"], answer.headers["preference-applied"]) == ("task(me)", "respond-async")
    assert answer.headers["location"] == told["status_url"]
    service.wait("task(me)", 60)
    assert client.get(told["status_url"]).json()["state"] == "done"
    again = client.post(DRAW, json={**BODY, "force_task_id": "task(me)"}, headers={"Idempotency-Key": "later"})
    assert again.status_code == 200 and len(again.json()["images"]) == 1  # the same key fetches the result
    for values in ({"steps": 0}, {"sampler_name": "Eular"}):
        assert client.post(DRAW, json={**BODY, **values}, headers=headers).status_code == 422
    assert len(service.store.recent(5)) == 1


def test_extras_take_both_headers(client, service):
    body = {"image": picture(), "upscaling_resize": 2, "upscaler_1": "Lanczos"}
    headers = {"Idempotency-Key": "extras-1"}
    before = len(service.desk(User(name="", admin=True)).recent(500))
    waiting = client.post("/sdapi/v1/extra-single-image", json=body, headers={**headers, "Prefer": "respond-async"})
    assert waiting.status_code == 202
    answers = [client.post("/sdapi/v1/extra-single-image", json=body, headers=headers) for _ in range(2)]
    assert answers[0].json() == answers[1].json() and answers[0].json()["image"]
    many = {"imageList": [{"data": picture(), "name": "a"}], "upscaling_resize": 1}
    batch = client.post("/sdapi/v1/extra-batch-images", json=many, headers={"Prefer": "respond-async"})
    assert batch.status_code == 202 and service.wait(batch.json()["job"], 60).state == "done"
    assert len(service.desk(User(name="", admin=True)).recent(500)) == before + 2
