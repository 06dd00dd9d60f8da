"""SQLite files: transactions, sentences, damage, rights."""

import os
import random
import shutil
import sqlite3
import threading

import pytest

from modules.core import repairs, salvage
from modules.core.database import Database
from modules.core.errors import StorageError
from modules.core.salvage import sound

SCHEMA = "CREATE TABLE IF NOT EXISTS things (name TEXT PRIMARY KEY)"
FAMILIES = """
CREATE TABLE IF NOT EXISTS members (name TEXT PRIMARY KEY, family TEXT REFERENCES families(name), text TEXT);
CREATE TABLE IF NOT EXISTS families (name TEXT PRIMARY KEY) WITHOUT ROWID;
"""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "folder" / "things.sqlite3"


def names(database):
    return [row["name"] for row in database.read("SELECT name FROM things ORDER BY name")]


def test_a_change_is_whole_or_nothing(path):
    database = Database(path, SCHEMA, "The list")
    assert database.write("INSERT INTO things VALUES (?)", ("kept",)) == 1
    with pytest.raises(ZeroDivisionError), database.change() as db:
        db.execute("INSERT INTO things VALUES ('half')")
        raise ZeroDivisionError
    assert names(database) == ["kept"]
    database.close()
    assert names(Database(path, SCHEMA, "The list")) == ["kept"]


def test_what_goes_wrong_is_a_sentence(path):
    database = Database(path, SCHEMA, "The list")
    with pytest.raises(StorageError, match=r"^The list cannot be written: .+\. Check the disk of the data folder\.$"):
        database.write("INSERT INTO others VALUES (1)")
    with pytest.raises(StorageError, match="^The list cannot be read: "):
        database.read("SELECT * FROM others")
    database.close()
    with pytest.raises(StorageError, match="^The list cannot be read: "):
        names(database)


def test_a_damaged_file_is_refused_or_begun_anew(path):
    path.parent.mkdir()
    path.write_bytes(b"no database" * 100)
    with pytest.raises(StorageError, match="cannot be opened: file is not a database"):
        Database(path, SCHEMA, "The list", mends=False)
    assert names(Database(path, SCHEMA, "The list")) == []
    (aside,) = path.parent.glob("things.sqlite3.damaged-*")
    assert aside.read_bytes().startswith(b"no database")
    (told,) = repairs.told([path.parent])
    assert told.startswith(f'The list was damaged (file is not a database) and is kept as "{aside.name}"')


@pytest.mark.parametrize("place", range(2, 40, 4))
def test_C8_of_a_damaged_file_all_but_the_damaged_page_is_kept(path, place):
    database = Database(path, FAMILIES, "The list")
    with database.change() as db:
        db.executemany("INSERT INTO families VALUES (?)", [(f"family {number}",) for number in range(9)])
        rows = [(f"name {number}", f"family {number % 9}", "x" * 500) for number in range(400)]
        db.executemany("INSERT INTO members VALUES (?, ?, ?)", rows)
    database.close()
    data = bytearray(path.read_bytes())
    data[place * 4096 : (place + 1) * 4096] = random.Random(place).randbytes(4096)
    path.write_bytes(data)
    mended = Database(path, FAMILIES, "The list")
    found = {tuple(row) for row in mended.read("SELECT * FROM members")}
    assert found <= set(rows) and len(found) > 300
    assert mended.read("PRAGMA integrity_check")[0][0] == "ok"
    mended.close()
    assert len(list(path.parent.glob("*.damaged-*"))) == 1
    again = Database(path, FAMILIES, "The list")
    assert {tuple(row) for row in again.read("SELECT * FROM members")} == found


def test_C8_what_the_log_held_is_kept_and_what_has_no_parent_is_left(path):
    """A kill leaves changes in the write-ahead log."""
    database = Database(path, FAMILIES, "The list")
    database.write("INSERT INTO families VALUES ('a')")
    for end in ("", "-wal"):
        shutil.copy(f"{path}{end}", f"{path}.copy{end}")
    database.close()
    for end in ("", "-wal"):
        shutil.move(f"{path}.copy{end}", f"{path}{end}")
    other = sqlite3.connect(path)
    other.execute("INSERT INTO members VALUES ('orphan', 'of nobody', '')")
    other.execute("INSERT INTO members VALUES ('child', 'a', '')")
    other.commit()
    other.close()

    def strict(path):
        db = sqlite3.connect(path, isolation_level=None)
        db.execute("PRAGMA foreign_keys = ON")
        if db.executescript(FAMILIES) and not path.with_name("seen").exists():
            path.with_name("seen").touch()
            db.close()
            raise sqlite3.DatabaseError("as if it were damaged")
        return db

    db = sound(path, strict, "The list")
    assert db.execute("SELECT name FROM members").fetchall() == [("child",)]
    assert db.execute("SELECT name FROM families").fetchall() == [("a",)]
    db.close()


def test_damage_that_shows_later_is_mended_at_the_next_start(path, monkeypatch):
    monkeypatch.setattr(salvage, "CHECKED", 0)  # as if it were large
    database = Database(path, FAMILIES, "The list")
    with database.change() as db:
        db.execute("INSERT INTO families VALUES ('a')")
        db.executemany("INSERT INTO members VALUES (?, 'a', ?)", [(f"{number}", "x" * 500) for number in range(400)])
    database.close()
    data = bytearray(path.read_bytes())
    data[20 * 4096 : 21 * 4096] = b"x" * 4096
    path.write_bytes(data)
    later = Database(path, FAMILIES, "The list")
    with pytest.raises(StorageError, match="Restart the program, which takes over what can be read"):
        later.read("SELECT sum(length(text)) FROM members NOT INDEXED")
    later.close()
    assert len(Database(path, FAMILIES, "The list").read("SELECT * FROM members")) > 300


def test_a_locked_file_is_not_put_aside(path):
    Database(path, SCHEMA, "The list").close()
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("PRAGMA locking_mode=EXCLUSIVE")
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(StorageError, match="database is locked"):
        Database(path, SCHEMA, "The list")
    other.close()
    assert not list(path.parent.glob("*.damaged-*"))


@pytest.mark.skipif(os.name == "nt", reason="Windows has other rights")
def test_a_private_one_is_for_this_user_alone(path):
    Database(path, SCHEMA, "The list", private=True).close()
    assert path.stat().st_mode & 0o777 == 0o600


def test_reading_waits_for_no_change(path):
    database = Database(path, SCHEMA, "The list")
    found = []
    with database.change() as db:
        db.execute("INSERT INTO things VALUES ('new')")
        thread = threading.Thread(target=lambda: found.append(names(database)))
        thread.start()
        thread.join(60)
        assert found == [[]]
        assert names(database) == ["new"]  # who writes it sees it
    assert names(database) == ["new"]
    database.close()
