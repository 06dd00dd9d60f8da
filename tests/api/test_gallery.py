"""The gallery's routes over the real engine: pictures are there at once, and no path leads out of their folders."""

import base64
import io
import zipfile

import psutil
import pytest
from PIL import Image

from modules.images.encode import encode_png, read_infotext
from modules.library.album.schema import Told
from tests.api.conftest import client_of
from tests.jobs.helpers import make_service, puppet_inline
from tests.server import until

URL = "/atelier/gallery"


def ids(client, **values):
    answer = client.get(URL, params=values)
    assert answer.status_code == 200, answer.text
    return answer.json()["ids"]


@pytest.fixture(scope="module")
def drawn(client, draw):
    """A picture, and one that was made from it."""
    first = draw(prompt="a green owl", seed=7, save_images=True)["images"][0]
    body = {
        "init_images": [first],
        "prompt": "an owl in oil",
        "steps": 2,
        "seed": 8,
        "save_images": True,
        "width": 64,
        "height": 64,
    }
    assert client.post("/sdapi/v1/img2img", json=body).status_code == 200
    return base64.b64decode(first)


def test_pictures_are_there_at_once_and_know_each_other(client, drawn):
    (first,), (second,) = ids(client, search="green owl"), ids(client, search="seed:8")
    told = client.get(f"{URL}/{second}").json()
    assert (told["parents"], told["width"], told["folder"]) == ([first], 64, "img2img-images")
    assert client.get(f"{URL}/{first}").json()["children"] == [second]
    assert client.get(f"{URL}/{first}/file").content == drawn
    answer = client.get(f"{URL}/{first}/file", params={"download": True})
    assert answer.headers["content-disposition"].startswith("attachment")
    assert client.get(f"{URL}/{first}/thumbnail").headers["content-type"] == "image/jpeg"
    assert ids(client, order="Oldest first").index(first) < ids(client, order="Oldest first").index(second)


def test_favourites_boards_and_trash(client, service, drawn):
    (id,) = ids(client, search="green owl")
    assert client.post(f"{URL}/favourite", json={"ids": [id], "value": True}).status_code == 200
    assert ids(client, view="favourites") == client.get(URL).json()["favourites"] == [id]
    board = client.post(f"{URL}/boards", json={"name": "Owls <b>", "ids": [id]}).json()["id"]
    assert client.post(f"{URL}/boards", json={"name": "owls <B>", "ids": []}).json()["id"] == board
    assert ids(client, board=board) == [id]
    (told,) = client.get(f"{URL}/state").json()["boards"]
    assert (told["name"], told["count"]) == ("Owls <b>", 1)
    client.post(f"{URL}/boards", json={"name": "Other", "ids": []})
    assert client.post(f"{URL}/boards/{board}/rename", json={"name": "other", "ids": []}).status_code == 422

    assert client.post(f"{URL}/delete", json={"ids": [id]}).json() == {"troubles": []}
    assert (ids(client, search="green owl"), ids(client, view="trash")) == ([], [id])
    assert client.get(f"{URL}/{id}/file").content == drawn
    assert client.post(f"{URL}/restore", json={"ids": [id]}).json() == {"troubles": []}
    assert ids(client, board=board) == [id]
    client.post(f"{URL}/boards/{board}/remove", json={"ids": [id]})
    assert ids(client, board=board) == []
    assert client.post(f"{URL}/boards/{board}/delete").status_code == 200
    assert len(client.get(f"{URL}/state").json()["boards"]) == 1


def test_zip(client, drawn):
    chosen = ",".join(map(str, ids(client, search="owl")))
    for metadata in (True, False):
        answer = client.post(f"{URL}/zip", data={"ids": chosen, "metadata": str(metadata).lower()})
        with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
            texts = [read_infotext(archive.read(name)) for name in archive.namelist()]
        assert (len(texts), all(texts) if metadata else any(texts)) == (2, metadata)
    for wrong in ("", "x", "1,", "1;2", "99999999"):
        assert client.post(f"{URL}/zip", data={"ids": wrong}).status_code in (404, 422)


@pytest.mark.parametrize("id", ["0", "-1", "x", "9" * 30, "..%2f..%2fconfig.json", "1%00", "%2fetc%2fpasswd", "²"])
@pytest.mark.parametrize("what", ["", "/file", "/thumbnail"])
def test_ids_alone_lead_to_files(client, drawn, id, what):
    assert client.get(f"{URL}/{id}{what}").status_code == 404


def test_F2_nothing_outside_the_folders_is_served(client, service, drawn, tmp_path):
    secret = tmp_path / "secret.png"
    secret.write_bytes(encode_png(Image.new("RGB", (8, 8)), "hidden words"))
    (id,) = ids(client, search="green owl")
    path = service.album.file(service.album.store.entry(id))
    data = path.read_bytes()
    path.unlink()
    path.symlink_to(secret)
    for what in ("file", "thumbnail"):
        assert client.get(f"{URL}/{id}/{what}").status_code == 404
    path.unlink()
    path.write_bytes(b"<svg onload='alert(1)'>")
    assert client.get(f"{URL}/{id}/file").status_code == 404
    path.write_bytes(data)
    with service.album.store.change() as db:
        db.execute("UPDATE pictures SET name = ? WHERE id = ?", ("../config.json", id))
    assert client.get(f"{URL}/{id}/file").status_code == 404
    service.album._scan()


@pytest.mark.parametrize("folder", ["/", "/nowhere at all", "modules", ".", "~nobody-at-all/x"])
def test_folders_that_the_gallery_refuses(client, folder):
    answer = client.post("/sdapi/v1/options", json={"gallery_folders": folder})
    assert answer.status_code == 422
    assert "gallery_folders" in answer.json()["detail"]


def test_pictures_of_another_program(client, service, tmp_path):
    old = tmp_path / "outputs" / "txt2img-images"
    old.mkdir(parents=True)
    (old / "0001.png").write_bytes(encode_png(Image.new("RGB", (8, 8)), "an old zebra\nSteps: 1, Seed: 5, Size: 8x8"))
    assert client.post("/sdapi/v1/options", json={"gallery_folders": f"{tmp_path / 'outputs'}\n"}).status_code == 200
    service.album._scan()
    (id,) = ids(client, search="zebra")
    assert client.get(f"{URL}/{id}/file").status_code == 200
    assert str(tmp_path) not in client.get(f"{URL}/{id}").text
    client.post("/sdapi/v1/options", json={"gallery_folders": ""})
    assert client.get(f"{URL}/{id}/file").status_code == 404  # its folder is none of the gallery's any more
    assert ids(client, search="zebra") == []


@pytest.mark.parametrize(
    ("method", "path", "values"),
    [
        ("get", "", {"params": {"order": "x"}}),
        ("get", "", {"params": {"view": "x"}}),
        ("get", "", {"params": {"search": "size:x"}}),
        ("post", "/favourite", {"json": {"ids": ["x"], "value": True}}),
        ("post", "/boards", {"json": {"name": " ", "ids": []}}),
        ("post", "/boards", {"json": {"name": "a\nb", "ids": []}}),
        ("post", "/delete", {"json": {"ids": [-1]}}),
        ("post", f"/boards/{10**20}/delete", {}),
    ],
)
def test_wrong_values(client, method, path, values):
    answer = getattr(client, method)(URL + path, **values)
    assert (answer.status_code, bool(answer.json()["detail"])) == (422, True)


def test_searching_by_meaning_asks_the_engine(client, service, drawn):
    """The starter's own encoder, between two jobs: every picture has its place, and a like one is first of all itself."""
    until(lambda: service.meaning._one_batch() or service.meaning.missing() == 0, 60)
    everything = ids(client)
    assert sorted(ids(client, search="a red mushroom", by_meaning=True)) == sorted(everything)
    (first,) = ids(client, search="green owl")
    assert ids(client, search=f"similar:{first}")[0] == first
    assert ids(client, search="owl seed:8", by_meaning=True) == ids(client, search="seed:8")
    assert client.get(f"{URL}/state").json()["unseen"] == 0
    for wrong, status in (("similar:nothing", 422), (f"similar:{10**15}", 404)):
        assert client.get(URL, params={"search": wrong}).status_code == status


def test_F8_nothing_is_reached_through_links_among_the_pictures(client, service, tmp_path):
    """Neither through one that was there before, nor through one that takes the place of a folder later."""
    away = tmp_path / "away"
    away.mkdir()
    secret = encode_png(Image.new("RGB", (8, 8)), "a hidden badger")
    (away / "1.png").write_bytes(secret)
    outputs = service.paths.outputs / "outputs" / "txt2img-images"
    (outputs / "link").symlink_to(away)
    (outputs / "day").mkdir()
    (outputs / "day" / "1.png").write_bytes(encode_png(Image.new("RGB", (8, 8)), "a plain badger"))
    service.album._scan()
    (id,) = ids(client, search="badger")
    (outputs / "day").rename(tmp_path / "moved")
    (outputs / "day").symlink_to(away)
    for what in ("file", "thumbnail"):
        assert client.get(f"{URL}/{id}/{what}").status_code == 404
    client.post(f"{URL}/delete", json={"ids": [id]})
    client.post(f"{URL}/purge", json={"ids": [id]})
    assert (away / "1.png").read_bytes() == secret
    (outputs / "day").unlink()
    (tmp_path / "moved").rename(outputs / "day")
    service.album._scan()
    (id,) = ids(client, search="badger")
    assert client.post(f"{URL}/delete", json={"ids": [id]}).json() == {"troubles": []}
    (outputs / "day").rmdir()
    (outputs / "day").symlink_to(away)
    (trouble,) = client.post(f"{URL}/restore", json={"ids": [id]}).json()["troubles"]
    assert "is a link to another place now" in trouble
    assert [path.name for path in away.iterdir()] == ["1.png"]
    service.album._scan()
    assert ids(client, search="badger") == []


def test_L12_a_hundred_thousand_pictures(tmp_path):
    """All are listed, searched and counted, in bounded memory."""
    service = make_service(tmp_path, puppet_inline())
    root = str(service.album.roots()[0])
    with service.album.store.change() as db:
        db.executemany(
            "INSERT INTO pictures (root, name, folder, size, mtime) VALUES (?, ?, ?, 1, ?)",
            [(root, f"day {n % 30:02}/{n:06}.png", f"day {n % 30:02}", n) for n in range(100_000)],
        )
    some = service.album.store.entries("WHERE id % 1000 = 0")
    service.album.store.keep_read([(one, Told(infotext="a rare fox", prompt="a rare fox")) for one in some])
    before = psutil.Process().memory_info().rss
    with client_of(service) as client:
        for _ in range(2):
            newest = ids(client)
            assert len(newest) == 100_000
        assert newest == ids(client, order="Oldest first")[::-1]
        assert len(ids(client, folder="day 07")) == 3334
        assert set(ids(client, search="fox")) == {one.id for one in some}
        assert client.get(f"{URL}/state").status_code == 200
        chosen = newest[:2]
        client.post(f"{URL}/favourite", json={"ids": chosen, "value": True})
        assert ids(client, view="favourites") == chosen
    assert psutil.Process().memory_info().rss - before < 200 * 2**20
    service.album.close()
    service.store.close()
