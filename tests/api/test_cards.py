"""The cards: what they say, what the user writes about them, their pictures."""

import io
import json

import pytest
from PIL import Image

from modules.images.encode import encode_png
from modules.library.thumbnails import SIDE, Thumbnails
from tests.library.files import lora_shapes, write_model

ODD = '<img src=x onerror="window.__xss=1">'


def picture(mode: str = "RGB", size: tuple[int, int] = (800, 400)) -> bytes:
    return encode_png(Image.new(mode, size, "red"), None)


@pytest.fixture(scope="module")
def loras(service):
    folder = service.paths.own("Lora")
    write_model(
        folder / "Fox.safetensors", lora_shapes(), {"ss_output_name": "reynard", "modelspec.trigger_phrase": "red fur"}
    )
    tags = json.dumps({"a": {"tail": 3, "ears": 5}})
    write_model(
        folder / "sub" / "wolf.safetensors", lora_shapes(), {"ss_output_name": "pack", "ss_tag_frequency": tags}
    )
    write_model(folder / "bear.safetensors", lora_shapes(), {"ss_output_name": "pack"})
    write_model(folder / f"{ODD}.safetensors", lora_shapes())
    (folder / "page.safetensors").write_bytes(b"<!DOCTYPE html>")
    (folder / "Fox.png").write_bytes(picture())
    service.library.models("Lora").read_list()
    return folder


def cards(client, kind="Lora"):
    return {card["name"]: card for card in client.get(f"/atelier/cards/{kind}").json()["cards"]}


def test_cards_say_what_pressing_them_does(client, loras):
    found = cards(client)
    fox, wolf = found["Fox.safetensors"], found["sub/wolf.safetensors"]
    assert (fox["tag"], fox["activation"], fox["preview"]) == ("reynard", "red fur", True)
    assert (wolf["tag"], wolf["folder"]) == ("wolf", "sub")  # two of its trainer's name; its tags are no trigger words
    assert "activation" not in wolf
    assert "web page" in found["page.safetensors"]["trouble"]
    assert "cannot say" in found[f"{ODD}.safetensors"]["trouble"]
    client.post("/sdapi/v1/options", json={"lora_preferred_name": "Filename"})
    assert cards(client)["Fox.safetensors"]["tag"] == "Fox"
    client.post("/sdapi/v1/options", json={"lora_preferred_name": "Alias from file"})
    (id,) = client.get("/atelier/cards/Lora/matching", params={"search": "red fur"}).json()["ids"]
    assert id == fox["id"]
    assert {"tiny.safetensors", "sub/other.safetensors"} <= cards(client, "Stable-diffusion").keys()
    for kind in ("VAE", "x", "../Lora"):
        assert client.get(f"/atelier/cards/{kind}").status_code in (404, 422)


def test_notes_are_kept_beside_the_file_with_what_was_there(client, loras):
    path = loras / "sub" / "wolf.json"
    path.write_text('{"mine": [1, 2], "notes": "old", "preferred weight": 0.5}')
    id = cards(client)["sub/wolf.safetensors"]["id"]
    told = client.get(f"/atelier/cards/{id}/notes").json()
    assert (told["stored"]["notes"], told["tags"]) == ("old", [["ears", 5], ["tail", 3]])
    body = {"notes": "new ö", "activation text": "grey, (fur:1.2)", "sd version": "SD1"}
    assert client.post(f"/atelier/cards/{id}/notes", json=body).json()["stored"]["activation text"] == "grey, (fur:1.2)"
    assert json.loads(path.read_bytes()) == {"mine": [1, 2], "preferred weight": 0.5, **body}
    card = cards(client)["sub/wolf.safetensors"]
    assert (card["activation"], card["weight"]) == ("grey, (fur:1.2)", 0.5)


def test_a_checkpoint_has_a_preferred_vae(client, service):
    vae = service.paths.own("VAE") / "soft.safetensors"
    vae.parent.mkdir(parents=True, exist_ok=True)
    vae.write_bytes(b"x")
    id = cards(client, "Stable-diffusion")["sub/other.safetensors"]["id"]
    assert client.get(f"/atelier/cards/{id}/notes").json()["vaes"] == ["soft.safetensors"]
    told = client.post(f"/atelier/cards/{id}/notes", json={"vae": "soft.safetensors"}).json()
    path = service.paths.own("Stable-diffusion") / "sub" / "other.json"
    assert told["stored"]["vae"] == "soft.safetensors" and json.loads(path.read_text()) == {"vae": "soft.safetensors"}
    path.unlink()
    vae.unlink()


@pytest.mark.parametrize(
    "body", [{"preferred weight": -1}, {"preferred weight": "x"}, {"other": 1}, {"notes": "x" * 20_001}, []]
)
def test_wrong_notes(client, loras, body):
    id = cards(client)["Fox.safetensors"]["id"]
    assert client.post(f"/atelier/cards/{id}/notes", json=body).status_code == 422
    assert not (loras / "Fox.json").exists()


@pytest.mark.parametrize("content", [b"[1]", b"{broken", b"\xff\xfe\x00"])
def test_a_file_that_is_no_json_is_not_written_over(client, loras, content):
    (loras / "bear.json").write_bytes(content)
    id = cards(client)["bear.safetensors"]["id"]
    assert "no JSON object" in client.get(f"/atelier/cards/{id}/notes").json()["trouble"]
    answer = client.post(f"/atelier/cards/{id}/notes", json={"notes": "x"})
    assert (answer.status_code, "bear.json" in answer.json()["detail"]) == (422, True)
    assert (loras / "bear.json").read_bytes() == content
    (loras / "bear.json").unlink()


def test_a_picture_of_the_gallery_becomes_the_preview(client, service, loras, draw):
    draw()
    image = service.images(service.store.recent(1)[0].id)[0]
    id = cards(client)["bear.safetensors"]["id"]
    assert client.get(f"/atelier/cards/{id}/thumbnail").status_code == 404
    assert client.post(f"/atelier/cards/{id}/preview", json={"image": image.id}).json()["preview"] is True
    assert (loras / "bear.png").read_bytes() == image.path.read_bytes()
    assert client.get(f"/atelier/cards/{id}/thumbnail").status_code == 200
    assert client.post(f"/atelier/cards/{id}/preview", json={"image": 10**9}).status_code == 404


def test_thumbnails(client, loras):
    id = cards(client)["Fox.safetensors"]["id"]
    answer = client.get(f"/atelier/cards/{id}/thumbnail")
    assert answer.headers["content-type"] == "image/jpeg"
    assert max(Image.open(io.BytesIO(answer.content)).size) == SIDE
    again = client.get(f"/atelier/cards/{id}/thumbnail", headers={"If-None-Match": answer.headers["etag"]})
    assert again.status_code == 304
    (loras / "Fox.png").write_bytes(b"no picture")
    answer = client.get(f"/atelier/cards/{id}/thumbnail")
    assert (answer.status_code, "no picture" in answer.json()["detail"]) == (404, True)


def test_the_cache_of_thumbnails_has_a_bound(tmp_path):
    kept = Thumbnails(tmp_path / "cache", most=20_000)
    for number in range(12):
        path = tmp_path / f"{number}.png"
        path.write_bytes(encode_png(Image.effect_noise((300, 300), 90).convert("RGBA"), None))
        data, mime, _ = kept.of(path)
        assert (mime, kept.of(path)[0]) == ("image/webp", data)
    assert sum(file.stat().st_size for file in (tmp_path / "cache").rglob("*") if file.is_file()) <= 20_000


def test_folders_of_other_programs_are_not_written_to(client, service, loras, tmp_path):
    from modules.core.errors import InputError
    from modules.core.paths import Paths
    from modules.library.sidecars import Sidecars

    row = service.library.models("Lora").find("wolf", "lora").row
    sidecars = Sidecars(Paths(data=tmp_path, taken_over=(("Lora", loras),)))
    with pytest.raises(InputError, match="another program"):
        sidecars.write(row, {"notes": "x"})
