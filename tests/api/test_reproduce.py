"""Making a picture again, and how near the new one comes."""

import base64
import io

import pytest
from PIL import Image

from modules.images.encode import encode_png, read_infotext
from tests.images.metadata.pictures import png
from tests.jobs.runners import noise


@pytest.fixture(scope="module")
def picture(draw) -> bytes:
    """Drawn here, its settings inside."""
    answer = draw(
        seed=21, steps=3, sampler_name="Euler a", cfg_scale=4, override_settings={"CLIP_stop_at_last_layers": 2}
    )
    return base64.b64decode(answer["images"][0])


@pytest.fixture
def again(client, service):
    """Has it made again; the job's id, waited for, and the warnings."""

    def make(data: bytes) -> tuple[str, list[str]]:
        answer = client.post("/atelier/reproduce", content=data)
        assert answer.status_code == 200, answer.text
        assert service.wait(answer.json()["job"], 60).state == "done"
        return answer.json()["job"], answer.json()["warnings"]

    return make


def compared(client, job: str, data: bytes) -> dict:
    answer = client.post(f"/atelier/jobs/{job}/compare", content=data)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_the_same_picture_comes_out(client, service, again, picture):
    job, warnings = again(picture)
    assert warnings == []
    assert not service.images(job)[0].kept
    found = compared(client, job, picture)
    assert found == {
        "identical": True,
        "psnr": None,
        "difference": None,
        "message": "Every pixel is the same. No setting differs.",
    }


def test_the_first_difference_is_told(client, again, picture):
    text = (read_infotext(picture) or "").replace("Sampler: Euler a, Schedule type: Automatic", "Sampler: Euler a")
    with Image.open(io.BytesIO(picture)) as image:
        changed = encode_png(image.point([min(v + 5, 255) for v in range(256)] * 3), text)
        small = encode_png(image.resize((32, 32)), text)
    job, _ = again(encode_png(noise(1), text.replace("Seed: 21", "Seed: 22")))
    found = compared(client, job, changed)
    assert found["difference"] == {"key": "Seed", "old": "21", "new": "22"}
    assert found["message"].endswith('The first setting that differs is Seed: "21" there, "22" here.')
    assert 0 < found["psnr"] < 40
    job, _ = again(changed)
    assert compared(client, job, changed)["psnr"] > 30
    found = compared(client, job, small)
    assert (found["psnr"], found["difference"]) == (None, None)
    assert found["message"].startswith("The sizes differ: 32 x 32 and 64 x 64.")


def test_what_a_sampler_does_not_heed_is_no_difference(client, again):
    for sampler, difference in (("Euler", None), ("Euler a", "Eta")):
        text = f"a fox\nSteps: 2, Sampler: {sampler}, CFG scale: 5, Seed: 3, Size: 64x64, Eta: 0.5, ENSD: 31337, Version: v1.10.1"
        if sampler == "Euler":
            text = text.replace("Eta: 0.5, ", "")
        data = encode_png(noise(1), text)
        job, _ = again(data)
        found = compared(client, job, encode_png(noise(1), text.replace("Eta: 0.5", "Eta: 0.7")))
        assert (found["difference"] or {}).get("key") == difference


def test_what_is_not_here_is_said(again, picture):
    text = (read_infotext(picture) or "").replace("Model: tiny", "Model: gone")
    text = text.replace(text.partition("Model hash: ")[2][:10], "0123456789")
    _, warnings = again(encode_png(noise(1), text + ", Nonsense: 5"))
    assert warnings[0].startswith('The checkpoint "gone 0123456789" is not here')
    assert warnings[1] == "Nothing here takes: Nonsense."


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "empty"),
        (b"x", "no whole picture"),
        (png(), "no seed"),
        (png(parameters="a fox\nSteps: 2, Sampler: Euler, Size: 64x64"), "no seed"),
        (png(parameters="a fox\nSteps: 2, Sampler: Euler, Seed: 3, Denoising strength: 0.5"), "from another picture"),
        (png(parameters="a fox\nSteps: 2, Sampler: nope, Seed: 3, Size: 64x64"), "nope"),
        (png(parameters="a fox\nSteps: x, Sampler: Euler, Seed: 3, Size: 64x64"), "steps"),
        (png(parameters="a fox\nSteps: 2, Sampler: Euler, Seed: 3, Size: 65x64"), "width"),
    ],
)
def test_what_cannot_be_made_again(client, service, data, words):
    before = len(service.store.recent(1000))
    answer = client.post("/atelier/reproduce", content=data)
    assert answer.status_code == 422
    assert words in answer.json()["detail"]
    assert len(service.store.recent(1000)) == before


def test_comparing_with_what_is_not_there(client, service, again, picture):
    assert client.post("/atelier/jobs/nope/compare", content=picture).status_code == 404
    job, _ = again(picture)
    assert client.post(f"/atelier/jobs/{job}/compare", content=b"x").status_code == 422
    service.images(job)[0].path.unlink()
    answer = client.post(f"/atelier/jobs/{job}/compare", content=picture)
    assert (answer.status_code, "moved or deleted" in answer.json()["detail"]) == (404, True)
