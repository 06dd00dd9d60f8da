"""The API's description against A1111's own (tests/data/a1111_openapi.json: its operations, and the fields of its schemas)."""

import json
from pathlib import Path

import pytest

from modules.api.description import REF

A1111 = json.loads(Path(__file__).parents[1].joinpath("data", "a1111_openapi.json").read_text())


@pytest.fixture(scope="module")
def described(client):
    return client.get("/openapi.json").json()


def named(schema: dict) -> tuple[str, bool]:
    """The name that a schema refers to, and whether a list of it is meant."""
    listed = schema.get("type") == "array"
    return (schema.get("items", {}) if listed else schema).get("$ref", "").removeprefix(REF), listed


@pytest.mark.parametrize("operation", sorted(A1111["operations"]))
def test_every_operation_of_a1111_is_there_under_its_name(described, operation):
    method, _, path = operation.partition(" ")
    wanted, found = A1111["operations"][operation], described["paths"][path][method]
    assert found["operationId"] == wanted["id"]
    if wanted["answer"] not in ("", "Options", "Flags"):
        answer = named(found["responses"]["200"]["content"]["application/json"]["schema"])
        assert answer == (wanted["answer"], wanted["list"])
    if wanted["body"] not in ("", "Options"):
        assert named(found["requestBody"]["content"]["application/json"]["schema"])[0] == wanted["body"]


@pytest.mark.parametrize("name", sorted(A1111["schemas"]))
def test_every_schema_of_a1111_has_its_fields(described, name):
    fields = described["components"]["schemas"][name]["properties"]
    without = (
        {"firstpass_image"} if name.endswith("Img2Img") else set()
    )  # A1111 takes it there and does nothing with it
    assert set(A1111["schemas"][name]) - without <= set(fields)


def test_no_reference_leads_nowhere_and_no_two_operations_share_a_name(described):
    text = json.dumps(described)
    names = {part.split('"')[0] for part in text.split(REF)[1:]}
    assert names <= set(described["components"]["schemas"])
    ids = [found["operationId"] for methods in described["paths"].values() for found in methods.values()]
    assert len(ids) == len(set(ids))
