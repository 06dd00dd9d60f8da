"""Accounts, sessions and API tokens in SQLite. Of secrets there are hashes alone."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from modules.core.database import Database

SCHEMA = """
CREATE TABLE IF NOT EXISTS accounts (
    name TEXT PRIMARY KEY COLLATE NOCASE, admin INTEGER NOT NULL, hash TEXT NOT NULL, made REAL NOT NULL);
CREATE TABLE IF NOT EXISTS sessions (
    digest TEXT PRIMARY KEY, name TEXT NOT NULL COLLATE NOCASE, made REAL NOT NULL, seen REAL NOT NULL);
CREATE TABLE IF NOT EXISTS tokens (
    id INTEGER PRIMARY KEY AUTOINCREMENT, digest TEXT NOT NULL UNIQUE, name TEXT NOT NULL COLLATE NOCASE,
    label TEXT NOT NULL, made REAL NOT NULL, seen REAL);
"""


@dataclass(frozen=True, kw_only=True)
class Account:
    """`given`: by the command line, for as long as the program runs."""

    name: str
    admin: bool
    hash: str = field(repr=False)
    made: float = 0.0
    given: bool = False


@dataclass(frozen=True, kw_only=True)
class Session:
    """A login. Times are seconds since 1970."""

    name: str
    made: float
    seen: float


@dataclass(frozen=True, kw_only=True)
class Token:
    """An API token of an account."""

    id: int
    name: str
    label: str
    made: float
    seen: float | None


class AccountStore:
    """The database; readable by this user alone. Safe to use from several threads."""

    def __init__(self, path: Path) -> None:
        self._db = Database(path, SCHEMA, "The list of accounts", private=True, mends=False)

    def close(self) -> None:
        """Close the database."""
        self._db.close()

    # -- accounts --

    def accounts(self) -> list[Account]:
        """All of them, by name."""
        rows = self._db.read("SELECT * FROM accounts ORDER BY name")
        return [Account(name=r["name"], admin=bool(r["admin"]), hash=r["hash"], made=r["made"]) for r in rows]

    def account(self, name: str) -> Account | None:
        """That one, whatever the case of its letters."""
        return next((found for found in self.accounts() if found.name.casefold() == name.casefold()), None)

    def keep(self, name: str, hashed: str, admin: bool) -> None:
        """Add the account, or change it. Its sessions end."""
        with self._db.change() as db:
            db.execute("DELETE FROM sessions WHERE name=?", (name,))
            db.execute(
                "INSERT INTO accounts (name, admin, hash, made) VALUES (?,?,?,?) "
                "ON CONFLICT (name) DO UPDATE SET admin=excluded.admin, hash=excluded.hash",
                (name, int(admin), hashed, time.time()),
            )

    def remove(self, name: str) -> None:
        """Forget the account with its sessions and tokens."""
        with self._db.change() as db:
            for table in ("accounts", "sessions", "tokens"):
                db.execute(f"DELETE FROM {table} WHERE name=?", (name,))

    # -- sessions --

    def begin(self, digest: str, name: str, now: float) -> None:
        """A login."""
        self._db.write("INSERT INTO sessions (digest, name, made, seen) VALUES (?,?,?,?)", (digest, name, now, now))

    def session(self, digest: str) -> Session | None:
        """The login of that digest."""
        rows = self._db.read("SELECT name, made, seen FROM sessions WHERE digest=?", (digest,))
        return Session(**dict(rows[0])) if rows else None

    def see(self, digest: str, now: float) -> None:
        """It is used."""
        self._db.write("UPDATE sessions SET seen=? WHERE digest=?", (now, digest))

    def end(self, digest: str) -> None:
        """Log out."""
        self._db.write("DELETE FROM sessions WHERE digest=?", (digest,))

    def end_sessions(self, *, unless: Sequence[str] = (), made_before: float | None = None) -> None:
        """End all logins but those of these names; with `made_before` those alone that are older, whoever's."""
        with self._db.change() as db:
            if made_before is not None:
                db.execute("DELETE FROM sessions WHERE seen<?", (made_before,))
            else:
                places = ",".join("?" * len(unless))
                db.execute(f"DELETE FROM sessions WHERE name NOT IN ({places})", tuple(unless))

    # -- tokens --

    def add_token(self, digest: str, name: str, label: str) -> int:
        """Keep a token; its id."""
        return self._db.write(
            "INSERT INTO tokens (digest, name, label, made) VALUES (?,?,?,?)", (digest, name, label, time.time())
        )

    def tokens(self, name: str) -> list[Token]:
        """Those of that account."""
        rows = self._db.read("SELECT id, name, label, made, seen FROM tokens WHERE name=? ORDER BY id", (name,))
        return [Token(**dict(row)) for row in rows]

    def token(self, digest: str) -> Token | None:
        """The one of that digest."""
        rows = self._db.read("SELECT id, name, label, made, seen FROM tokens WHERE digest=?", (digest,))
        return Token(**dict(rows[0])) if rows else None

    def use_token(self, token_id: int, now: float) -> None:
        """It is used."""
        self._db.write("UPDATE tokens SET seen=? WHERE id=?", (now, token_id))

    def remove_token(self, token_id: int, name: str) -> bool:
        """Forget it; whether that account had it."""
        with self._db.change() as db:
            return db.execute("DELETE FROM tokens WHERE id=? AND name=?", (token_id, name)).rowcount > 0
