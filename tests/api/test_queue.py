"""The routes of the queue, over the stand-in engine."""

from tests.jobs.helpers import play


def test_the_queue_is_paused_reordered_edited_and_drawn(puppet):
    service, client = puppet
    assert client.post("/atelier/queue/pause", json={"paused": True}).json() == {
        "paused": True,
        "full": None,
        "jobs": [],
    }
    first, second = (service.submit(play(seed=seed), user=user).id for seed, user in ((1, ""), (2, "")))
    told = client.post(f"/atelier/queue/{second}/move", json={"place": 0}).json()
    assert [job["id"] for job in told["jobs"]] == [second, first]
    told = client.post(f"/atelier/queue/{first}/edit", json={"steps": 9}).json()
    assert told["jobs"][1]["values"]["steps"] == 9
    assert not client.post("/atelier/queue/pause", json={"paused": False}).json()["paused"]
    service.wait(first, 60)
    jobs = client.get("/atelier/queue").json()["jobs"]
    assert [(job["id"], job["state"], job["picture_count"]) for job in jobs] == [
        (first, "done", 1),
        (second, "done", 1),
    ]
    again = client.post(f"/atelier/queue/{first}/again").json()["job"]
    assert service.wait(again, 60).seed == 1


def test_wrong_wishes_are_answered_with_a_sentence(puppet):
    service, client = puppet
    client.post("/atelier/queue/pause", json={"paused": True})
    job = service.submit(play()).id
    for path, body, status, words in (
        ("/atelier/queue/pause", {"paused": "yes"}, 422, "paused"),
        (f"/atelier/queue/{job}/move", {"place": "up"}, 422, "place"),
        ("/atelier/queue/none/move", {"place": 1}, 404, "There is no job"),
        (f"/atelier/queue/{job}/edit", {"steps": 0}, 422, "steps is 0"),
        (f"/atelier/queue/{job}/again", None, 422, "not over yet"),
    ):
        answer = client.post(path, json=body)
        assert answer.status_code == status and words in answer.json()["detail"], answer.text
