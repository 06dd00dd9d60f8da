"""Whose is whose: a second user gets 404 for everything of the first, an administrator sees and stops all."""

import base64
from collections.abc import Iterator
from dataclasses import replace

import pytest
from starlette.testclient import TestClient

from modules.api.accounts.accounts import Accounts
from modules.api.app import build_api
from modules.api.guard import Door
from modules.core.errors import Forbidden
from modules.core.flags import Flags
from modules.core.network import Network, parse_accounts
from modules.core.user import User
from modules.jobs.service import JobService
from modules.requests.extras import make_extras_request
from modules.requests.merge import MergeRequest
from tests.jobs.helpers import make_service, play, puppet_inline
from tests.server import until
from webui.gallery import build_gallery
from webui.stream import build_router


def header(name: str, password: str) -> dict[str, str]:
    return {"Authorization": f"Basic {base64.b64encode(f'{name}:{password}'.encode()).decode()}"}


class World:
    """A server with three accounts; `ann` is the administrator."""

    def __init__(self, service: JobService, app, users: dict[str, User]) -> None:
        self.service = service
        self.users = users
        self.clients = {
            name: TestClient(app, base_url="http://127.0.0.1:7860", headers=header(name, f"{name}s secret"))
            for name in ("ann", "bob", "eve")
        }

    def draw(self, name: str, **values) -> str:
        """A finished job of that user."""
        desk = self.service.desk(self.user(name))
        return self.service.wait(desk.submit(play(**values)).id, 30).id

    def running(self, name: str) -> str:
        """A job of that user that goes on until it is interrupted."""
        job = self.service.desk(self.user(name)).submit(play(wait="interrupt"))
        until(lambda: self.service.live(job.id), 20)
        return job.id

    def user(self, name: str) -> User:
        return self.users[name]


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Iterator[World]:
    data = tmp_path_factory.mktemp("owners")
    network = Network(
        listen=True, accounts=tuple(parse_accounts("--auth", "ann:anns secret,bob:bobs secret,eve:eves secret"))
    )
    service = make_service(data, puppet_inline())
    service.policy = network.policy
    service.start()
    accounts = Accounts(service.paths.accounts, network)
    app = build_api(service, Flags(network=network), door=Door(accounts=accounts, network=network))
    app.include_router(build_router(service))
    app.include_router(build_gallery(service))
    users = {account.name: User(name=account.name, admin=account.admin) for account in accounts.accounts()}
    yield World(service, app, users)
    service.close()
    accounts.close()


def test_F4_a_gallery_shows_users_their_own(world):
    """Pictures, boards, the trash: bob's are not eve's, and the administrator sees everybody's."""
    url = "/atelier/gallery"

    def ids(name: str, **values) -> list[int]:
        return world.clients[name].get(url, params=values).json()["ids"]

    def post(user: str, route: str, **values):
        return world.clients[user].post(f"{url}/{route}", json=values)

    for name in ("bob", "eve"):
        world.draw(name, steps=1)
    (bobs,), (eves,) = ids("bob"), ids("eve")
    assert ids("ann", search="owner:bob") == [bobs] and ids("eve", search="owner:bob") == []
    assert {bobs, eves} <= set(ids("ann"))
    for route in ("", "/file", "/thumbnail"):
        answers = {name: world.clients[name].get(f"{url}/{bobs}{route}").status_code for name in ("ann", "bob", "eve")}
        assert answers == {"ann": 200, "bob": 200, "eve": 404}
    assert world.clients["eve"].get(url, params={"search": f"similar:{bobs}"}).status_code == 404
    archive = {"ids": f"{bobs}", "metadata": "true"}
    assert world.clients["eve"].post(f"{url}/zip", data=archive).status_code == 404
    board = post("bob", "boards", name="Best", ids=[bobs, eves]).json()["id"]
    assert ids("bob", board=board) == [bobs]
    assert post("eve", "boards", name="Best", ids=[eves]).json()["id"] != board
    assert world.clients["eve"].get(url, params={"board": board}).status_code == 404
    for route in ("rename", "remove", "delete"):
        more = {"name": "Mine"} if route == "rename" else {}
        assert post("eve", f"boards/{board}/{route}", ids=[bobs], **more).status_code == 404
    assert [one["name"] for one in world.clients["bob"].get(f"{url}/state").json()["boards"]] == ["Best"]
    assert world.clients["ann"].get(f"{url}/state").json()["boards"] == []
    for route in ("delete", "favourite", "purge"):
        more = {"value": True} if route == "favourite" else {}
        assert post("eve", route, ids=[bobs], **more).status_code == 200
    assert ids("bob") == [bobs] and ids("bob", view="favourites") == []
    assert post("bob", "delete", ids=[bobs]).json() == {"troubles": []}
    assert (ids("bob"), ids("bob", view="trash"), ids("eve", view="trash")) == ([], [bobs], [])
    assert post("eve", "restore", ids=[bobs]).status_code == 200 and ids("bob") == []
    assert post("bob", "restore", ids=[bobs]).status_code == 200 and ids("bob") == [bobs]


def test_F4_everything_of_another_user_is_404(world):
    job = world.draw("bob", steps=2)
    image = world.service.images(job)[0].id
    routes = [
        ("GET", f"/atelier/jobs/{job}"),
        ("POST", f"/atelier/jobs/{job}/interrupt"),
        ("POST", f"/atelier/jobs/{job}/compare"),
        ("GET", f"/atelier/jobs/{job}/zip"),
        ("GET", f"/atelier/watch/{job}"),
        ("GET", f"/atelier/preview/{job}"),
        ("GET", f"/atelier/images/{image}"),
        ("GET", f"/atelier/images/{image}?download=1"),
        ("POST", f"/atelier/images/{image}/save"),
    ]
    for method, path in routes:
        there = world.clients["eve"].request(method, path)
        missing = world.clients["eve"].request(method, path.replace(job, "0" * 32).replace(f"/{image}", "/999999"))
        assert there.status_code == missing.status_code == 404, path
        assert there.json().keys() == missing.json().keys()
    for name in ("bob", "ann"):
        assert world.clients[name].get(f"/atelier/jobs/{job}").json()["user"] == "bob"
        assert world.clients[name].get(f"/atelier/images/{image}").status_code == 200
        assert world.clients[name].get(f"/atelier/watch/{job}").status_code == 200


def test_F4_lists_hold_what_is_one_s_own(world):
    theirs, own = world.draw("bob", prompt="{}"), world.draw("eve", prompt="{}")

    def listed(name: str) -> set[str]:
        return {job["id"] for job in world.clients[name].get("/atelier/jobs").json()["jobs"]}

    assert own in listed("eve")
    assert theirs not in listed("eve")
    assert {own, theirs} <= listed("ann")


def test_L4_others_are_not_stopped(world):
    job = world.running("bob")
    eve = world.clients["eve"]
    assert eve.post("/sdapi/v1/interrupt").status_code == 200  # of nothing: nothing of hers runs
    assert eve.post("/sdapi/v1/skip").status_code == 200
    assert eve.post(f"/atelier/jobs/{job}/interrupt").status_code == 404
    assert world.service.wishes() == set()
    assert world.service.job(job).state == "running"
    assert world.clients["bob"].post("/sdapi/v1/interrupt").status_code == 200
    assert world.service.wait(job, 20).state == "stopped"
    again = world.running("bob")
    assert world.clients["ann"].post("/sdapi/v1/interrupt").status_code == 200
    assert world.service.wait(again, 20).state == "stopped"


def test_L5_others_jobs_do_not_show(world):
    running = world.running("bob")
    waiting = world.service.desk(world.user("bob")).submit(play(prompt='{"warn": "SECRET WORDS"}')).id
    mine = world.service.desk(world.user("eve")).submit(play()).id
    eve, told = world.clients["eve"], ""
    for path in ("/sdapi/v1/progress", "/internal/pending-tasks", "/atelier/jobs", f"/atelier/jobs/{mine}"):
        told += eve.get(path).text
    assert running not in told
    assert waiting not in told
    assert "SECRET" not in told
    assert eve.get("/sdapi/v1/progress").json()["progress"] == 0
    assert eve.get("/internal/pending-tasks").json()["tasks"] == [mine]
    assert eve.get(f"/atelier/jobs/{mine}").json()["position"] >= 1
    assert set(world.clients["ann"].get("/internal/pending-tasks").json()["tasks"]) == {waiting, mine}
    assert world.clients["ann"].get("/sdapi/v1/progress").json()["current_task"] == running
    world.clients["ann"].post(f"/atelier/jobs/{running}/interrupt")
    world.service.wait(mine, 20)


def test_L2_turns_are_taken(world):
    first = world.running("bob")
    many = [world.service.desk(world.user("bob")).submit(play()).id for _ in range(5)]
    late = world.service.desk(world.user("eve")).submit(play()).id
    assert world.service.position(late) == 1 < world.service.position(many[0])
    world.service.ask("interrupt", first)
    ends = {job: world.service.wait(job, 30).started for job in (*many, late)}
    assert sorted(ends, key=lambda job: ends[job] or 0).index(late) <= 1


def test_L3_floods_are_told_to_wait(world):
    first = world.running("bob")
    body = {"prompt": "{}", "width": 64, "height": 64, "steps": 1}
    desk = world.service.desk(world.user("bob"))
    waiting = [desk.submit(play()).id for _ in range(world.service.policy.queued_each - 1)]
    answer = world.clients["bob"].post("/sdapi/v1/txt2img", json=body)
    assert (answer.status_code, answer.json()["error"]) == (429, "TooManyJobs")
    assert int(answer.headers["retry-after"]) > 0
    assert world.service.desk(world.user("eve")).submit(play()).id
    for job in (*waiting, first):
        desk.ask("interrupt", job)
    until(lambda: not world.service.store.tickets(), 30)


def test_A11_paths_are_not_for_everyone(world):
    body = {"prompt": "{}", "width": 64, "height": 64, "steps": 1}
    for name, value in (
        ("outdir_txt2img_samples", "elsewhere"),
        ("font", "/etc/passwd"),
        ("take_over_roots", "/"),
        ("wildcard_dir", "/"),
        ("gallery_folders", "/"),
    ):
        answer = world.clients["bob"].post("/sdapi/v1/txt2img", json={**body, "override_settings": {name: value}})
        assert (answer.status_code, answer.json()["error"]) == (403, "Forbidden"), name
        assert name not in world.clients["bob"].get("/sdapi/v1/options").json()
        assert name in world.clients["ann"].get("/sdapi/v1/options").json()
    for client, exposure in (("bob", "lan"), ("ann", "tunnel")):
        policy = world.service.policy
        world.service.policy = replace(policy, exposure=exposure)
        try:
            for route, sent in (
                ("/sdapi/v1/options", {"disabled_extensions": ["good"]}),
                ("/atelier/extensions/restart", {}),
            ):
                assert world.clients[client].post(route, json=sent).status_code == 403
        finally:
            world.service.policy = policy
    assert world.clients["bob"].post("/sdapi/v1/options", json={"samples_format": "jpg"}).status_code == 403
    assert world.clients["ann"].post("/sdapi/v1/options", json={"samples_format": "png"}).status_code == 200


def test_F5_folders_are_not_for_everyone(world):
    desk = world.service.desk(world.user("bob"))
    with pytest.raises(Forbidden, match="input_dir"):
        desk.submit(make_extras_request({"input_dir": "/etc", "upscale": False}))
    with pytest.raises(Forbidden, match="administrators"):
        desk.submit(MergeRequest.model_validate({"primary_model_name": "model", "secondary_model_name": "model"}))


def test_A2_pictures_have_limits(world):
    body = {"prompt": "{}", "steps": 1}
    for values, field in (
        ({"width": 4096, "height": 4096}, "width"),
        ({"width": 2048, "height": 2048, "enable_hr": True, "hr_scale": 2, "hr_upscaler": "Latent"}, "width"),
        ({"batch_size": 9}, "batch_size"),
        ({"n_iter": 33}, "n_iter"),
        ({"prompt": "a" * 10_001}, "prompt"),
    ):
        answer = world.clients["bob"].post("/sdapi/v1/txt2img", json={**body, **values})
        assert (answer.status_code, answer.json()["hint"]) == (422, f"field: {field}"), answer.text
        assert "at most" in answer.json()["detail"]


def test_N9_paths_are_not_told_to_everyone(world):
    home = str(world.service.paths.data)
    for path in ("/sdapi/v1/sd-models", "/sdapi/v1/sd-vae", "/sdapi/v1/options", "/sdapi/v1/face-restorers"):
        assert home not in world.clients["bob"].get(path).text
    assert home in world.clients["ann"].get("/sdapi/v1/sd-models").text


def test_a_later_namesake_has_nothing_of_the_earlier(world):
    ann = world.clients["ann"]
    password = ann.post("/atelier/users", json={"name": "carol"}).json()["password"]
    carol = TestClient(ann.app, base_url="http://127.0.0.1:7860", headers=header("carol", password))
    body = {"prompt": "{}", "width": 64, "height": 64, "steps": 1, "send_images": False}
    assert carol.post("/sdapi/v1/txt2img", json=body).status_code == 200
    assert len(carol.get("/atelier/jobs").json()["jobs"]) == 1
    assert ann.delete("/atelier/users/carol").status_code == 200
    assert carol.get("/atelier/jobs").status_code == 401
    again = ann.post("/atelier/users", json={"name": "carol", "password": "another password"})
    assert again.status_code == 200
    carol.headers.update(header("carol", "another password"))
    assert carol.get("/atelier/jobs").json()["jobs"] == []


def test_accounts_over_the_api(world):
    ann, bob = world.clients["ann"], world.clients["bob"]
    assert ann.get("/atelier/me").json() == {"name": "ann", "admin": True, "login": True, "exposure": "lan"}
    assert bob.get("/atelier/users").status_code == 403
    assert bob.post("/atelier/users", json={"name": "mallory", "admin": True}).status_code == 403
    made = bob.post("/atelier/me/tokens", json={"label": "robot"}).json()
    robot = TestClient(ann.app, base_url="http://127.0.0.1:7860", headers={"Authorization": f"Bearer {made['token']}"})
    assert robot.get("/atelier/me").json()["name"] == "bob"
    assert made["token"] not in bob.get("/atelier/me/tokens").text
    assert world.clients["eve"].delete(f"/atelier/me/tokens/{made['id']}").status_code == 404
    assert bob.delete(f"/atelier/me/tokens/{made['id']}").status_code == 200
    assert robot.get("/atelier/me").status_code == 401
    assert ann.post("/atelier/users/bob", json={"admin": True}).status_code == 403  # of the command line
    assert ann.post("/atelier/users/nobody", json={"admin": True}).status_code == 404
