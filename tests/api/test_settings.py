"""Our own route of the settings."""

from modules.core.settings import Settings, fields


def entries(client) -> dict:
    sections = client.get("/atelier/settings").json()["sections"]
    return {entry["name"]: entry for section in sections for entry in section["settings"]}


def test_every_setting_is_told_with_its_label_value_and_default(client):
    found = entries(client)
    assert list(found) == [key for _, key, _ in fields()]
    assert all(entry["title"] and "type" in entry for entry in found.values())
    assert {name: entry["default"] for name, entry in found.items()} == {
        name: list(value) if isinstance(value, tuple) else value for name, value in Settings().flat().items()
    }
    assert found["jpeg_quality"] | {"maximum": 100, "minimum": 1, "type": "integer"} == found["jpeg_quality"]
    assert found["take_over_roots"]["format"] == "lines"
    assert found["img2img_background_color"]["format"] == "color"
    assert "tiny.safetensors" in found["sd_model_checkpoint"]["offered"]


def test_settings_are_set_all_or_none(client):
    answer = client.post("/atelier/settings", json={"jpeg_quality": 60, "n_rows": 99})
    assert (answer.status_code, answer.json()["detail"]) == (422, "n_rows is 99: it must be at most 16.")
    assert entries(client)["jpeg_quality"]["value"] == 80
    sections = client.post("/atelier/settings", json={"jpeg_quality": 60}).json()["sections"]
    assert next(e["value"] for s in sections for e in s["settings"] if e["name"] == "jpeg_quality") == 60
    client.post("/atelier/settings", json={"jpeg_quality": 80})
