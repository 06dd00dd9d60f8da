"""The album's tables. Beside what can be read again they hold what cannot: favourites, boards, the trash, what was made from what."""

import re
import sqlite3
from dataclasses import dataclass
from pathlib import Path

from modules.core.errors import StorageError
from modules.core.salvage import sound

SCHEMA = """
CREATE TABLE pictures (
  id INTEGER PRIMARY KEY AUTOINCREMENT, root TEXT NOT NULL, name TEXT NOT NULL, folder TEXT NOT NULL, size INTEGER NOT NULL,
  mtime INTEGER NOT NULL, read INTEGER NOT NULL DEFAULT 0, missing INTEGER NOT NULL DEFAULT 0, deleted REAL,
  favourite INTEGER NOT NULL DEFAULT 0, width INTEGER NOT NULL DEFAULT 0, height INTEGER NOT NULL DEFAULT 0,
  seed TEXT NOT NULL DEFAULT '', program TEXT NOT NULL DEFAULT '', model TEXT NOT NULL DEFAULT '',
  infotext TEXT NOT NULL DEFAULT '', trouble TEXT NOT NULL DEFAULT '', sha256 TEXT NOT NULL DEFAULT '',
  UNIQUE (root, name));
CREATE INDEX by_time ON pictures (mtime, id) WHERE deleted IS NULL AND missing = 0;
CREATE INDEX unread ON pictures (id) WHERE read = 0;
CREATE INDEX by_seed ON pictures (seed);
CREATE INDEX by_hash ON pictures (sha256) WHERE sha256 <> '';
CREATE TABLE parents (picture INTEGER NOT NULL REFERENCES pictures(id) ON DELETE CASCADE, sha256 TEXT NOT NULL,
  PRIMARY KEY (picture, sha256)) WITHOUT ROWID;
CREATE INDEX children ON parents (sha256);
CREATE TABLE boards (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE COLLATE NOCASE);
CREATE TABLE board_pictures (board INTEGER NOT NULL REFERENCES boards(id) ON DELETE CASCADE,
  picture INTEGER NOT NULL REFERENCES pictures(id) ON DELETE CASCADE, PRIMARY KEY (board, picture)) WITHOUT ROWID;
CREATE VIRTUAL TABLE words USING fts5(prompt, negative, model, lora, sampler, name, tokenize = 'unicode61 remove_diacritics 2');
"""
MEANINGS = """
CREATE TABLE meanings (picture INTEGER PRIMARY KEY REFERENCES pictures(id) ON DELETE CASCADE, mtime INTEGER NOT NULL,
  encoder TEXT NOT NULL, vector BLOB NOT NULL);
"""
OWNERS = """
ALTER TABLE pictures ADD COLUMN owner TEXT NOT NULL DEFAULT '';
CREATE INDEX by_owner ON pictures (owner) WHERE owner <> '';
CREATE TABLE owned_boards (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL COLLATE NOCASE,
  owner TEXT NOT NULL DEFAULT '', UNIQUE (owner, name));
INSERT INTO owned_boards (id, name) SELECT id, name FROM boards;
DROP TABLE boards;
ALTER TABLE owned_boards RENAME TO boards;
"""
STEPS = (SCHEMA, MEANINGS, OWNERS)
"""What leads from each version to the next; an empty database has version 0."""


_NO_SPACES = re.compile("([\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff])")


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One picture. `mtime` in nanoseconds; `deleted`: when it went to the trash; `owner`: whose job drew it, "" if nobody knows."""

    id: int
    root: str
    name: str
    folder: str
    size: int
    mtime: int
    read: int
    missing: int
    deleted: float | None
    favourite: int
    width: int
    height: int
    seed: str
    program: str
    model: str
    infotext: str
    trouble: str
    sha256: str
    owner: str

    @property
    def path(self) -> Path:
        """Where the picture is, or was before it went to the trash."""
        return Path(self.root) / self.name

    @property
    def led_away(self) -> bool:
        """Whether a link leads out of the pictures' folder now, where the picture was."""
        return not self.path.resolve().is_relative_to(self.root)


@dataclass(frozen=True, kw_only=True)
class Told:
    """What a picture file tells: the columns read from it, and the texts to search in."""

    width: int = 0
    height: int = 0
    seed: str = ""
    program: str = ""
    model: str = ""
    infotext: str = ""
    trouble: str = ""
    prompt: str = ""
    negative: str = ""
    loras: str = ""
    sampler: str = ""


def opened(file: Path) -> sqlite3.Connection:
    """The database; of one that is damaged, what can be read is taken over, and the pictures are read again. Raises StorageError."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        return sound(file, _connected, "The album", after="UPDATE pictures SET read = 0")
    except (OSError, sqlite3.Error) as error:
        raise StorageError(
            f'The album "{file}" cannot be opened: {error}. Check the folder, or choose another with --data-dir.'
        ) from error


def _connected(file: Path) -> sqlite3.Connection:
    db = sqlite3.connect(file, timeout=10, check_same_thread=False, isolation_level=None)
    try:
        db.row_factory = sqlite3.Row
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")
        version = db.execute("PRAGMA user_version").fetchone()[0]
        if version > len(STEPS):
            raise sqlite3.OperationalError("a later version of the program wrote it")
        for number, step in enumerate(STEPS[version:], version + 1):
            db.executescript(f"BEGIN; {step} PRAGMA user_version = {number}; COMMIT;")
        db.execute(
            "PRAGMA foreign_keys = ON"
        )  # not before: a table that is made anew would take with it what refers to it
    except BaseException:
        db.close()
        raise
    return db


def spaced(text: str) -> str:
    """`text` as it is indexed: signs of writings without spaces stand apart, so that each is a word."""
    return _NO_SPACES.sub(r" \1 ", text)
