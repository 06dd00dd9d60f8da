"""The index: what it knows of each file is of the file that lies there now, and losing it costs nothing but time."""

import json
import os
import sqlite3
import threading

import pytest

from modules.library.index import FILE, Index
from tests.library.files import lora_shapes, write_model

SUFFIXES = (".safetensors", ".pt")


@pytest.fixture
def root(tmp_path):
    for name in ("fox", "sub/wolf"):
        write_model(tmp_path / "Lora" / f"{name}.safetensors", lora_shapes(), {"ss_output_name": f"{name[-4:]}_v2"})
    return tmp_path / "Lora"


@pytest.fixture
def index(tmp_path):
    index = Index(tmp_path / "cache")
    yield index
    index.close()


def read(index, root):
    index.refresh("Lora", root, SUFFIXES)
    while index.read_some(1):
        pass
    return index.refresh("Lora", root, SUFFIXES)


def test_a_file_is_listed_at_once_and_read_later(index, root):
    row = index.refresh("Lora", root, SUFFIXES)["sub/wolf.safetensors"]
    assert (row.read, row.family, row.path) == (False, "", str(root / "sub" / "wolf.safetensors"))
    assert index.unread() == 2
    row = read(index, root)["sub/wolf.safetensors"]
    assert (row.read, row.role, row.family, row.alias, row.trouble) == (True, "LoRA", "SD1", "wolf_v2", "")
    assert index.unread() == 0


def test_what_has_not_changed_is_not_read_again(index, root, tmp_path, monkeypatch):
    rows = read(index, root)
    monkeypatch.setattr("modules.library.rows.read_signs", lambda path: 1 / 0)
    assert index.read_some() == 0
    other = Index(tmp_path / "cache")  # another process
    assert other.refresh("Lora", root, SUFFIXES) == rows == index.refresh("Lora", root, SUFFIXES)
    assert other.read_some() == 0
    other.close()


def test_what_changes_is_read_again_and_keeps_its_id(index, root):
    before = read(index, root)["fox.safetensors"]
    status = (root / "fox.safetensors").stat()
    for number, shapes in enumerate((lora_shapes(2048), lora_shapes(1024))):
        path = write_model(root / "new.tmp", shapes)
        os.truncate(path, status.st_size) if number == 0 else None
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        path.replace(root / "fox.safetensors")
        assert not index.refresh("Lora", root, SUFFIXES)["fox.safetensors"].read
        row = read(index, root)["fox.safetensors"]
        assert row.id == before.id
        assert (row.trouble != "", row.family) == ((True, ""), (False, "SD2"))[number]


def test_what_is_gone_is_forgotten(index, root):
    rows = read(index, root)
    (root / "fox.safetensors").unlink()
    assert index.refresh("Lora", root, SUFFIXES).keys() == {"sub/wolf.safetensors"}
    assert index.row(rows["fox.safetensors"].id) is None
    assert index.matching("fox") == set()
    write_model(root / "fox.safetensors", lora_shapes())
    assert index.refresh("Lora", root, SUFFIXES)["fox.safetensors"].id > rows["fox.safetensors"].id


def test_a_disk_that_is_not_there_just_now(index, root):
    rows = read(index, root)
    root.rename(root.with_name("away"))
    assert index.refresh("Lora", root, SUFFIXES) == {}
    root.with_name("away").rename(root)
    assert index.refresh("Lora", root, SUFFIXES) == rows


def test_other_roots_are_forgotten(index, root, tmp_path):
    read(index, root)
    index.keep_only([str(tmp_path)])
    assert (index.all(), index.matching("")) == ([], set())
    assert len(read(index, root)) == 2


def test_a_sidecar_that_changes_is_read_again(index, root):
    read(index, root)
    (root / "fox.json").write_text(json.dumps({"activation text": "foxy", "notes": "n", "preferred weight": 0.5}))
    row = read(index, root)["fox.safetensors"]
    assert row.words == ("foxy",)
    told = index.description(row.id)
    assert (told.words, told.notes, told.weight, told.alias) == (("foxy",), "n", 0.5, "_fox_v2"[1:])
    (root / "fox.json").unlink()
    assert read(index, root)["fox.safetensors"].words == ()


def test_search(index, root):
    (root / "fox.json").write_text(json.dumps({"activation text": "RED fur", "description": "Straße 50% a_b"}))
    rows = read(index, root)
    fox, wolf = rows["fox.safetensors"].id, rows["sub/wolf.safetensors"].id
    for text, ids in {
        "fox": {fox},
        "OX": {fox},
        "sub": {wolf},
        "wolf_v2": {wolf},
        "red": {fox},
        "fur fox": {fox},
        "f fox": {fox},  # SQLite's FTS5 alone would take the process with it
        "ox a_b red d fur": {fox},
        "strasse": {fox},
        "ＦＯＸ": {fox},
        "sd1": {fox, wolf},
        "lora": {fox, wolf},
        "50%": {fox},
        "%\0": {fox},
        "ox% f": set(),
        "0%a_": set(),
        "fox%": set(),  # LIKE's wildcards are letters here
        "w__f": set(),
        "wolf%v2": set(),
        "olf_v_": set(),
        "_v2 wolf": {wolf},
        "": {fox, wolf},
        "fox wolf": set(),
        "'\"; DROP TABLE files": set(),
        "x" * 10_000: set(),
        'NEAR("a" b*) OR -c': set(),
    }.items():
        assert index.matching(text) == ids, text


def test_search_without_fts(index, root, monkeypatch):
    class Old(sqlite3.Connection):
        def execute(self, statement, *values):
            if "fts5" in statement:
                raise sqlite3.OperationalError("no such module: fts5")
            return super().execute(statement, *values)

    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *args, **options: connect(*args, factory=Old, **options))
    rows = read(index, root)
    assert index.matching("fox") == {rows["fox.safetensors"].id}


@pytest.mark.parametrize("broken", ["garbage", "a folder", "a file in place of the folder", "another version", "half"])
def test_C7_an_index_that_cannot_be_used_is_made_anew(tmp_path, root, broken):
    cache = tmp_path / "cache"
    if broken == "a folder":
        (cache / FILE).mkdir(parents=True)
    elif broken == "a file in place of the folder":
        cache.write_text("")
    else:
        first = Index(cache)
        read(first, root)
        first.close()
        data = (cache / FILE).read_bytes()
        if broken == "another version":
            with sqlite3.connect(cache / FILE) as db:
                db.execute("DROP TABLE files")
                db.execute("CREATE TABLE files (id)")
                db.execute("PRAGMA user_version = 99")
            db.close()
        else:
            (cache / FILE).write_bytes(b"garbage" * 1000 if broken == "garbage" else data[: len(data) // 2])
    index = Index(cache)
    assert read(index, root)["fox.safetensors"].family == "SD1"
    assert read(index, root)["fox.safetensors"].read
    index.close()


def test_C7_an_index_damaged_while_it_is_open(tmp_path, index, root):
    read(index, root)
    (tmp_path / "cache" / FILE).write_bytes(b"garbage" * 10_000)
    write_model(root / "third.safetensors", lora_shapes())
    assert len(read(index, root)) == 3


def test_several_threads_and_processes_at_once(tmp_path, root):
    for number in range(30):
        write_model(root / f"{number}.safetensors", lora_shapes())
    both = Index(tmp_path / "cache"), Index(tmp_path / "cache")
    troubles = []

    def work(index):
        try:
            for _ in range(5):
                read(index, root)
                index.matching("fox")
        except Exception as error:
            troubles.append(error)

    threads = [threading.Thread(target=work, args=(index,)) for index in both * 3]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert troubles == []
    assert len(read(both[0], root)) == 32
    for index in both:
        assert all(row.read for row in index.all())
        index.close()
