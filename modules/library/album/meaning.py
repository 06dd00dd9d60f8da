"""Which pictures are nearest to what is meant: vectors of the album's pictures, compared all at once."""

import base64
import threading
import time
from collections.abc import Sequence

import numpy as np

from modules.core.errors import NotFound
from modules.library.album.store import AlbumStore

MOST = 300
"""Pictures that a search by meaning finds."""

KEPT = 600.0
"""Seconds for which the vectors stay in memory after a search: 1 KB a picture with the usual encoders."""

_FRESH = "JOIN pictures p ON p.id = m.picture AND p.mtime = m.mtime"

_LACKING = (
    "missing = 0 AND deleted IS NULL AND NOT EXISTS "
    "(SELECT 1 FROM meanings WHERE picture = pictures.id AND meanings.mtime = pictures.mtime AND encoder = ?)"
)


class MeaningIndex:
    """May be used from any thread. Vectors are of length 1, float16, and of one encoder; others, and those of files that have changed
    since, count as missing."""

    def __init__(self, store: AlbumStore) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._kept: tuple[tuple[str, int, int], np.ndarray, np.ndarray] | None = None
        self._used = 0.0
        self._changes = 0

    def lacking(self, encoder: str, count: int) -> list[tuple[int, int, str]]:
        """Id, mtime and path of some pictures without a vector, the newest first."""
        found = self._store.entries(f"WHERE {_LACKING} ORDER BY id DESC LIMIT {count}", encoder)
        return [(entry.id, entry.mtime, str(entry.path)) for entry in found]

    def missing(self, encoder: str, owner: str | None = None) -> int:
        """How many those are; `owner`: of that user's."""
        own, values = ("", ()) if owner is None else (" AND owner = ?", (owner,))
        return self._store.rows(f"SELECT count(*) FROM pictures WHERE {_LACKING}{own}", encoder, *values)[0][0]

    def keep(self, encoder: str, found: Sequence[tuple[int, int, str | None]]) -> None:
        """Ids, mtimes and vectors in base64, None for what no vector can be had of."""
        rows = [(id, mtime, encoder, base64.b64decode(vector or "")) for id, mtime, vector in found]
        with self._store.change(seen=False) as db:
            db.executemany("DELETE FROM meanings WHERE picture = ?", [(row[0],) for row in rows])
            db.executemany(
                "INSERT INTO meanings (picture, mtime, encoder, vector) SELECT ?, ?, ?, ? "
                "WHERE EXISTS (SELECT 1 FROM pictures WHERE id = ?)",
                [(*row, row[0]) for row in rows],
            )
        self._changes += 1

    def vector(self, id: int) -> tuple[str, np.ndarray]:
        """Of a picture of the album; raises NotFound."""
        rows = self._store.rows(
            f"SELECT encoder, vector FROM meanings m {_FRESH} WHERE picture = ? AND length(vector) > 0", id
        )
        if not rows:
            raise NotFound(f"What picture {id} shows has not been looked at yet. Search again in a moment.")
        return rows[0][0], np.frombuffer(rows[0][1], np.float16)

    def nearest(self, encoder: str, vector: np.ndarray, among: Sequence[int]) -> list[int]:
        """Those of `among` that are nearest to it, the nearest first, at most MOST."""
        ids, vectors = self._vectors(encoder)
        if not len(ids):  # nothing has been looked at yet
            return []
        inside = np.isin(ids, np.asarray(among, dtype=np.int64))
        ids, near = ids[inside], vectors[inside] @ vector.astype(np.float32)
        return [int(id) for id in ids[np.argsort(-near, kind="stable")[:MOST]]]

    def rest(self) -> None:
        """Called now and then: lets go of the vectors when nobody has searched for long."""
        with self._lock:
            if time.monotonic() - self._used > KEPT:
                self._kept = None

    def _vectors(self, encoder: str) -> tuple[np.ndarray, np.ndarray]:
        """Ids (N,), and (N, D) float32."""
        with self._lock:
            state = encoder, self._store.version, self._changes
            self._used = time.monotonic()
            if self._kept is None or self._kept[0] != state:
                rows = self._store.rows(
                    f"SELECT picture, vector FROM meanings m {_FRESH} WHERE encoder = ? AND length(vector) > 0", encoder
                )
                ids = np.array([row[0] for row in rows], dtype=np.int64)
                joined = np.frombuffer(b"".join(row[1] for row in rows), np.float16).astype(np.float32)
                self._kept = state, ids, joined.reshape(len(rows), -1) if rows else np.zeros((0, 0), np.float32)
            return self._kept[1], self._kept[2]
