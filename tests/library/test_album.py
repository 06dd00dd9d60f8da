"""The album: what is found, read, searched; boards, the trash, and what was made from what."""

import hashlib
import os
import sqlite3
import time
from pathlib import Path

import pytest
from PIL import Image

from modules.core.errors import InputError, NotFound
from modules.images.encode import encode_image, encode_png
from modules.library.album import schema
from modules.library.album.album import Album
from modules.library.album.store import AlbumStore

TEXT = "a {what} in the snow{more}\nNegative prompt: blurry\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: {seed}, Size: 40x30, Model: {model}"


def written(
    path: Path, what: str = "fox", seed: int = 1, model: str = "anime", more: str = "", size=(40, 30), form="png"
) -> bytes:
    text = TEXT.format(what=what, seed=seed, model=model, more=more)
    data = encode_image(Image.new("RGB", size, (seed % 256, 0, 0)), text, {"samples_format": form})
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return data


@pytest.fixture
def outputs(tmp_path: Path) -> Path:
    folder = tmp_path / "outputs"
    written(folder / "txt2img-images" / "1.png", seed=11)
    written(folder / "txt2img-images" / "2.png", "wolf", 22, "real", " <lora:fur:0.5>")
    written(folder / "img2img-images" / "3.jpg", "狐狸", 33, form="jpg", size=(64, 64))
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nno more")
    (folder / "page.png").write_bytes(b"<html>")
    (folder / "notes.txt").write_text("x")
    secret = tmp_path / "secret.png"
    secret.write_bytes(encode_png(Image.new("RGB", (8, 8)), None))
    (folder / "link.png").symlink_to(secret)
    (folder / "away").symlink_to(tmp_path)
    return folder


@pytest.fixture
def album(tmp_path: Path, outputs: Path):
    made = Album(tmp_path / "data", lambda: [outputs], lambda: 30)
    made._scan()
    yield made
    made.close()


def names(album: Album, text: str = "", **values) -> set[str]:
    return {album.store.entry(id).name.rsplit("/", 1)[-1] for id in album.store.ids(text, **values)}


def test_C10_what_is_found(album, outputs):
    assert names(album) == {"1.png", "2.png", "3.jpg", "broken.png", "page.png"}  # no links, no other files
    found = {entry.name: entry for entry in album.store.entries("WHERE 1")}
    assert (found["img2img-images/3.jpg"].seed, found["img2img-images/3.jpg"].width) == ("33", 64)
    assert found["broken.png"].trouble == "It is damaged, or no picture."
    assert album.store.summary([str(outputs)])["folders"] == ["img2img-images", "outputs", "txt2img-images"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("fox", {"1.png"}),
        ("snow WOL", {"2.png"}),
        ('"in the snow" anime', {"1.png", "3.jpg"}),
        ("狸", {"3.jpg"}),
        ("model:real", {"2.png"}),
        ("lora:fur", {"2.png"}),
        ("lora:fox", set()),
        ("seed:33", {"3.jpg"}),
        ("size:40x30", {"1.png", "2.png"}),
        ("size:64", {"3.jpg"}),
        ("negative:blurry sampler:euler", {"1.png", "2.png", "3.jpg"}),
        ("page", {"page.png"}),
        (f"date:{time.strftime('%Y')} fox", {"1.png"}),
        ("before:2001", set()),
        ("after:2001-12-31 fox", {"1.png"}),
        ('" OR 1=1 -- " ( * ^ NEAR', set()),
        ("*", {"1.png", "2.png", "3.jpg", "broken.png", "page.png"}),
    ],
)
def test_searches(album, text, expected):
    assert names(album, text) == expected


@pytest.mark.parametrize("text", ["after:3000", "before:9000", "date:1600", "before:1600"])
def test_dates_far_away_find_nothing_or_all(album, text):
    assert len(names(album, text)) in (0, 5)


@pytest.mark.parametrize("text", ["date:soon", "date:2026-13", "size:big", "date:2026-01-01-01", "after:99999"])
def test_searches_that_mean_nothing(album, text):
    with pytest.raises(InputError, match="Write"):
        album.store.ids(text)


def test_files_that_go_come_back_move_and_change(album, outputs):
    path = outputs / "txt2img-images" / "1.png"
    (id,) = album.store.ids("fox")
    album.store.set_favourite([id], True)
    board = album.store.to_board("Best", [id])
    path.rename(outputs.parent / "kept.png")
    album._scan()
    assert names(album, "fox") == set()
    moved = outputs / "sorted" / "mine.png"
    moved.parent.mkdir()
    (outputs.parent / "kept.png").rename(moved)
    album._scan()
    assert album.store.ids(board=board) == album.store.ids("mine", view="favourites") == [id]
    written(moved, "bear", 5)
    os.utime(moved, ns=(1, 1))
    album._scan()
    assert album.store.ids("bear") == [id]
    outputs.rename(outputs.with_name("unplugged"))
    album._scan()
    assert len(album.store.ids()) == 5  # a disk that is not there just now
    with pytest.raises(NotFound):
        album.file(album.store.entry(id))


def test_D7_the_trash_and_the_way_back(album, outputs):
    (id,) = album.store.ids("fox")
    path = album.file(album.store.entry(id))
    data = path.read_bytes()
    assert album.trash.delete([id]) == []
    assert (path.exists(), names(album, "fox"), names(album, view="trash")) == (False, set(), {"1.png"})
    assert album.file(album.store.entry(id)).read_bytes() == data
    other = written(path, "cat", 9)  # its name is taken meanwhile
    album._scan()
    assert album.trash.restore([id]) == []
    assert album.store.entry(id).name == "txt2img-images/1-1.png"
    assert (path.read_bytes(), album.file(album.store.entry(id)).read_bytes()) == (other, data)
    album._scan()
    assert names(album) >= {"1.png", "1-1.png"}
    album.trash.delete([id])
    album.trash.purge(ids=[id])
    assert not list((outputs.parent / "data" / "trash").iterdir())
    with pytest.raises(NotFound):
        album.store.entry(id)


def test_a_new_file_with_a_trashed_one_s_name_is_another_picture(album, outputs):
    (old,) = album.store.ids("fox")
    path = album.file(album.store.entry(old))
    first = path.read_bytes()
    album.store.set_favourite([old], True)
    album.trash.delete([old])
    second = written(path, "cat", 9)
    album.add(path, second, TEXT.format(what="cat", seed=9, model="m", more=""))
    (new,) = album.store.ids("cat")
    assert new != old and album.store.favourites() == []
    assert album.trash.delete([new, 10**9]) == []  # one that another window threw away is passed over
    assert album.trash.restore([old, new]) == []
    files = [album.file(album.store.entry(id)) for id in (old, new)]
    assert [(file.name, file.read_bytes()) for file in files] == [("1.png", first), ("1-1.png", second)]


def test_D7_a_kill_between_row_and_file(album):
    (id,) = album.store.ids("fox")
    path = album.file(album.store.entry(id))
    album.trash._mark(id, time.time())  # the row says so, the file has not moved
    album.trash.reconcile()
    assert not path.exists()
    album.trash.restore([id])
    assert path.exists()


def test_what_jobs_write_is_there_at_once_with_its_parents(album, outputs):
    first = written(outputs / "txt2img-images" / "9.png", "owl", 90)
    album.add(outputs / "txt2img-images" / "9.png", first, TEXT.format(what="owl", seed=90, model="m", more=""))
    second = written(outputs / "img2img-images" / "10.png", "owl painting", 91)
    parent = hashlib.sha256(first).hexdigest()
    album.add(
        outputs / "img2img-images" / "10.png",
        second,
        TEXT.format(what="owl painting", seed=91, model="m", more=""),
        [parent],
    )
    (child,), (made_of,) = album.store.ids("painting"), album.store.ids("seed:90")
    assert album.store.related(album.store.entry(child)) == ([made_of], [])
    assert album.store.related(album.store.entry(made_of)) == ([], [child])
    album._scan()
    assert album.store.related(album.store.entry(child)) == ([made_of], [])
    album.add(outputs.parent / "elsewhere.png", first, "x")  # no folder of the gallery: nothing happens


def test_C8_a_damaged_database_is_put_aside(album, tmp_path):
    file = tmp_path / "data" / "gallery.sqlite3"
    album.store.close()
    file.write_bytes(b"this is no database" * 100)
    album._scan()
    assert len(album.store.ids()) == 5
    assert len(list(file.parent.glob("gallery.sqlite3.damaged-*"))) == 1
    with pytest.raises(sqlite3.DatabaseError):
        sqlite3.connect(next(file.parent.glob("gallery.sqlite3.damaged-*"))).execute("SELECT * FROM pictures")


def test_an_album_of_the_first_version_keeps_its_boards(tmp_path):
    file = tmp_path / "gallery.sqlite3"
    db = sqlite3.connect(file)
    db.executescript(f"{schema.STEPS[0]} PRAGMA user_version = 1;")
    db.execute("INSERT INTO pictures (root, name, folder, size, mtime) VALUES ('/', 'a', 'b', 1, 2)")
    db.execute("INSERT INTO boards (name) VALUES ('Best')")
    db.execute("INSERT INTO board_pictures VALUES (1, 1)")
    db.commit()
    db.close()
    store = AlbumStore(file)
    assert store.ids(board=1) == [1]
    assert [board["name"] for board in store.summary(["/"])["boards"]] == ["Best"]
    assert store.to_board("best", []) == 1  # and of another user's there may be one of the same name
    assert store.to_board("best", [], "bob") not in (0, 1)
    store.from_board(1, None)
    assert store.rows("SELECT * FROM board_pictures") == []
    store.close()


def test_what_a_user_leaves_is_no_later_namesakes(album):
    store = album.store
    (first, *_) = store.ids()
    with store.change() as db:
        db.execute("UPDATE pictures SET owner = 'bob' WHERE id = ?", (first,))
    store.to_board("Best", [first], "bob")
    assert store.ids(owner="bob") == [first]
    store.disown("Bob")
    assert store.ids(owner="bob") == [] and first in store.ids()
    assert store.summary([str(root) for root in album.roots()], "bob")["boards"] == []
