"""Plans: what a body would come to, without storing anything."""

import pytest

from tests.jobs.helpers import write_checkpoint

ROUTE = "/atelier/plan/txt2img"
BODY = {"prompt": "a red star", "width": 64, "height": 64, "steps": 2}


@pytest.fixture
def plan(client, service):
    """POST it; the answer, and nothing may have been stored."""

    def post(**values) -> dict:
        before = service.store.recent(1), service.prompts.list("")
        answer = client.post(ROUTE, json={**BODY, **values})
        assert answer.status_code == 200, answer.text[:500]
        assert (service.store.recent(1), service.prompts.list("")) == before
        return answer.json()

    return post


def test_prompts_are_expanded(plan):
    found = plan(prompt="a {red|blue|green} star", dp_combinatorial=True, n_iter=3, seed=1)
    assert found["pictures"] == 3 and found["ready"] and found["missing"] == []
    assert sorted(found["prompts"]) == ["a blue star", "a green star", "a red star"]
    assert (found["width"], found["height"], found["checkpoint"]) == (64, 64, "tiny.safetensors")


def test_scripts_are_counted(plan):
    assert plan(prompt="a|b|c", script_name="Prompt matrix")["pictures"] == 4
    found = plan(script_name="X/Y/Z plot", script_args=[4, "1,2,3", [], 6, "5,7", []])
    assert found["pictures"] == 6 and len(found["prompts"]) == 6
    assert (
        plan(script_name="Prompts from file or textbox", script_args=[False, False, "start", "x\ny"])["pictures"]
        is None
    )


def test_all_that_is_missing_is_listed(plan, service):
    found = plan(
        prompt="a star <lora:nowhere:0.5> <hypernet:gone:1>",
        sampler_name="Eular",
        styles=["no such style"],
        refiner_checkpoint="nothing",
        refiner_switch_at=0.5,
        override_settings={"sd_model_checkpoint": "absent"},
    )
    fields = [each["field"] for each in found["missing"]]
    assert not found["ready"] and found["checkpoint"] is None and found["seconds"] is None
    assert fields == ["sampler_name", "styles", "sd_model_checkpoint", "refiner_checkpoint", "prompt", "prompt"]
    assert all(each["message"].endswith(".") for each in found["missing"])
    assert [(net["name"], net["found"]) for net in found["networks"]] == [("nowhere", False), ("gone", False)]


def test_networks_and_memory(plan, service):
    path = write_checkpoint(service.paths.data / "models" / "Lora" / "there.safetensors")
    found = plan(prompt="a star <lora:there:0.5>", batch_size=2)
    assert found["networks"] == [
        {"kind": "lora", "name": "there", "arguments": ["0.5"], "found": True, "size": path.stat().st_size}
    ]
    tiny = service.checkpoints.find("tiny").path.stat().st_size
    assert found["memory"]["weights"] == tiny + path.stat().st_size
    assert found["memory"]["work"] == 64 * 64 * 2 * 1536
    path.unlink()


def test_seconds_come_from_this_machines_own_jobs(plan, draw):
    other = {"override_settings": {"sd_model_checkpoint": "sub/other.safetensors"}}
    first = plan(**other)
    assert first["seconds"] is None and first["compared_with"] == 0
    draw(**other)
    small, large = plan(**other), plan(n_iter=3, steps=4, **other)
    assert small["compared_with"] == 1 and 0 < small["seconds"] < 600
    assert large["seconds"] == pytest.approx(small["seconds"] * 6)


@pytest.mark.parametrize(
    "body", [{"steps": 0}, {"width": "x"}, {"prompt": None}, {"script_name": "Prompt matrix", "script_args": {}}]
)
def test_wrong_values_are_refused(client, body):
    answer = client.post(ROUTE, json={**BODY, **body})
    assert answer.status_code == 422 and answer.json()["detail"].endswith((".", "…"))
    assert client.post("/atelier/plan/img2img", json={**BODY, **body}).status_code in (404, 422)
