"""SQLite files: transactions, sentences, damage, rights."""

import os
import sqlite3

import pytest

from modules.core.database import Database
from modules.core.errors import StorageError

SCHEMA = "CREATE TABLE IF NOT EXISTS things (name TEXT PRIMARY KEY)"


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


def test_a_damaged_file_is_refused_or_put_aside(path):
    path.parent.mkdir()
    path.write_bytes(b"no database" * 100)
    with pytest.raises(StorageError, match="cannot be opened: file is not a database"):
        Database(path, SCHEMA, "The list")
    assert names(Database(path, SCHEMA, "The list", renews=True)) == []
    assert path.with_name("things.sqlite3.broken").read_bytes().startswith(b"no database")


def test_a_locked_file_is_not_put_aside(path):
    Database(path, SCHEMA, "The list").close()
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("PRAGMA locking_mode=EXCLUSIVE")
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(StorageError, match="database is locked"):
        Database(path, SCHEMA, "The list", renews=True)
    other.close()
    assert not list(path.parent.glob("*.broken"))


@pytest.mark.skipif(os.name == "nt", reason="Windows has other rights")
def test_a_private_one_is_for_this_user_alone(path):
    Database(path, SCHEMA, "The list", private=True).close()
    assert path.stat().st_mode & 0o777 == 0o600
