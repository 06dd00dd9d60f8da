"""Keeps the gallery's vectors up to date while nothing else is to be done, and answers searches by meaning."""

import base64
import logging
import threading
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from modules.core.errors import AtelierError, ModelFileError
from modules.library.album.album import Album
from modules.library.album.meaning import MeaningIndex
from modules.library.meaning_files import MeaningFiles
from modules.requests.events import Done, Failed
from modules.requests.meaning import BATCH, MeaningRequest

log = logging.getLogger(__name__)

PAUSE, REST = 0.2, 15.0
"""Seconds between two batches, and after one that could not be done."""


class MeaningSearch:
    """Owns one thread. `ask`: what the engine does between two jobs; `free`: whether it has nothing else to do, and may be used."""

    def __init__(
        self, album: Album, files: MeaningFiles, ask: Callable[[Any], Done | Failed], free: Callable[[], bool]
    ) -> None:
        self.index = MeaningIndex(album.store)
        self._files, self._ask, self._free = files, ask, free
        self._closing = threading.Event()
        self._said = ""  # of what it waits for
        self._thread = threading.Thread(target=self._work, name="meaning", daemon=True)
        self._text = lru_cache(64)(self._asked_text)

    def start(self) -> None:
        """Begin to look at pictures."""
        self._thread.start()

    def close(self) -> None:
        """Stop; what is done is kept."""
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join(5)

    def like_words(self, text: str, among: Sequence[int]) -> list[int]:
        """Those of `among` that show it, the likeliest first. Waits for the job in work. Raises AtelierError."""
        encoder, vector = self._text(text, self._files.find().name)
        return self.index.nearest(encoder, vector, among)

    def like_picture(self, id: int, among: Sequence[int]) -> list[int]:
        """Those of `among` that show what the picture shows, it first; raises NotFound."""
        return self.index.nearest(*self.index.vector(id), among)

    def missing(self, owner: str | None = None) -> int:
        """How many pictures (of that user) have not been looked at yet; none where there is no encoder that will."""
        try:
            return self.index.missing(self._files.find().name, owner)
        except ModelFileError:
            return 0

    def _asked_text(self, text: str, encoder: str) -> tuple[str, np.ndarray]:
        """`encoder`: the one there is now, so that another one is asked again."""
        told = self._told(MeaningRequest(text=text))
        return told["encoder"], np.frombuffer(base64.b64decode(told["vectors"][0]), np.float16)

    def _told(self, request: MeaningRequest) -> dict[str, Any]:
        ended = self._ask(request)
        if isinstance(ended, Failed):
            raise AtelierError(ended.message)
        return dict(ended.info)

    def _work(self) -> None:
        while not self._closing.wait(PAUSE if self._one_batch() else REST):
            self.index.rest()

    def _one_batch(self) -> bool:
        """Whether some pictures were looked at; never raises."""
        try:
            if not self._free():
                return False
            some = self.index.lacking(self._files.find().name, BATCH)
            if not some:
                return False
            told = self._told(MeaningRequest(paths=tuple(path for _, _, path in some)))
            found = zip(some, told["vectors"], strict=True)
            self.index.keep(told["encoder"], [(id, mtime, vector) for (id, mtime, _), vector in found])
        except AtelierError as error:
            if error.message != self._said:
                log.warning("The gallery's search by meaning waits: %s", error.message)
            self._said = error.message
            return False
        except Exception:
            log.exception("the search by meaning goes on after an error")
            return False
        self._said = ""
        return True
