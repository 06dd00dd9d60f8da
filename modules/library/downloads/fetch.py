"""One file from its address to its part, whole and checked."""

import time
from dataclasses import dataclass
from typing import Protocol

from modules.core.errors import AtelierError, ModelFileError, RemoteError
from modules.library.downloads.checks import check_model, is_page, page_error
from modules.library.downloads.part import Mark, Part, check_space
from modules.library.downloads.plan import RemoteFile
from modules.library.downloads.refusals import refusal
from modules.library.downloads.tokens import Token
from modules.library.downloads.transport import Answer, Transport

SYNC_BYTES, SYNC_SECONDS = 32 * 2**20, 2.0  # what a killed process may lose at most, whichever comes first
MAX_STARTS = 3


class Stopped(AtelierError):
    """The transfer was asked to stop; its part is kept."""


class Watcher(Protocol):
    """Is told of a transfer's progress, and may stop it."""

    def connected(self, answer: Answer | None) -> None:
        """The answer that is read from now on; None when no more is."""

    def progress(self, received: int, total: int | None) -> None:
        """Bytes of the file so far, and in all. Raises Stopped to stop."""


@dataclass(frozen=True, kw_only=True)
class Fetch:
    """How files are fetched. `reserve`: bytes that stay free on the disk."""

    transport: Transport
    token: Token | None
    site: str
    watcher: Watcher
    reserve: int

    def file(self, wanted: RemoteFile, part: Part) -> str:
        """Fetch what is missing of `wanted` into `part`, and check it: its sha256.

        Raises RemoteError (the part is kept if it is temporary), ModelFileError (the part is removed: it is of no use),
        StorageError (kept), Stopped (kept).
        """
        name = part.target.name
        try:
            resumed = self._transfer(wanted, part)
            if resumed and not self._is_right(
                wanted, part
            ):  # the site has changed it, or the disk: once more, from the start
                part.discard()
                self._transfer(wanted, part)
            if not self._is_right(wanted, part):
                raise wrong(name, wanted, part)
            check_model(part.path, name)
        except ModelFileError:
            part.discard()
            raise
        finally:
            part.close()
        return part.digest.hexdigest()

    def _is_right(self, wanted: RemoteFile, part: Part) -> bool:
        right = wanted.sha256 in (None, part.digest.hexdigest())
        return right and wanted.size in (None, part.received)

    def _transfer(self, wanted: RemoteFile, part: Part) -> bool:
        """Fetch to the end of the body; whether an earlier part was gone on with."""
        mark = part.mark(wanted.url)
        if mark.received and not mark.validator and not wanted.sha256:
            mark = Mark(url=wanted.url)  # nothing would tell if the rest belonged to another version
        if mark.received and mark.received == wanted.size:
            part.open(mark)
            return True
        for _ in range(MAX_STARTS):
            with self._ask(wanted.url, mark) as answer:
                if answer.status == 416 and mark.received:
                    part.open(mark)
                    if answer.header("Content-Range").rpartition("/")[2] == str(mark.received):
                        return True
                    part.discard()
                    mark = Mark(url=wanted.url)
                    continue
                if answer.status not in (200, 206):
                    raise refusal(answer, self.site, named=self.token is not None)
                mark, total = begin(answer, mark)
                if mark is None:
                    mark = Mark(url=wanted.url)
                    continue
                self._check(wanted, part, answer, total)
                check_space(part.path.parent, (total or wanted.size or mark.received) - mark.received, self.reserve)
                part.open(mark)
                resumed = part.received > 0
                self._read(answer, part, total or wanted.size)
            return resumed
        raise RemoteError(
            f'The site answers requests for parts of "{part.target.name}" wrongly. Cancel, and begin anew.'
        )

    def _ask(self, url: str, mark: Mark) -> Answer:
        headers = {}
        if mark.received:
            headers["Range"] = f"bytes={mark.received}-"
            if mark.validator:
                headers["If-Range"] = mark.validator
        return self.transport.open(url, headers=headers, token=self.token)

    def _check(self, wanted: RemoteFile, part: Part, answer: Answer, total: int | None) -> None:
        """Refuse what cannot be it before it is fetched."""
        name = part.target.name
        if answer.header("Content-Encoding") not in ("", "identity"):
            raise RemoteError(f'"{answer.url.host}" sends "{name}" compressed, which was not asked for.')
        if is_page(b"", answer.header("Content-Type")):
            raise page_error(name)
        if total is not None and wanted.size is not None and total != wanted.size:
            raise ModelFileError(
                f'"{answer.url.host}" sends {total} bytes as "{name}", but {wanted.size} were announced. Look for it anew.'
            )

    def _read(self, answer: Answer, part: Part, total: int | None) -> None:
        synced, then, first = part.received, time.monotonic(), part.received == 0
        self.watcher.connected(answer)
        try:
            self.watcher.progress(part.received, total)
            while piece := answer.read():
                if first and is_page(piece):
                    raise page_error(part.target.name)
                first = False
                part.write(piece)
                if total is not None and part.received > total:
                    raise ModelFileError(f'More than the announced {total} bytes came as "{part.target.name}". Retry.')
                self.watcher.progress(part.received, total)
                if part.received - synced >= SYNC_BYTES or time.monotonic() - then >= SYNC_SECONDS:
                    part.sync()
                    synced, then = part.received, time.monotonic()
                    check_space(part.path.parent, 0, self.reserve)
        finally:
            self.watcher.connected(None)
            part.sync()
        self.watcher.progress(part.received, total)
        if total is not None and part.received < total:
            raise RemoteError(f'The connection to "{answer.url.host}" broke off.', temporary=True)


def begin(answer: Answer, mark: Mark) -> tuple[Mark | None, int | None]:
    """Where the body of a 200 or 206 begins, and how long the file is in all, if the site says so. No mark: an answer that does
    not fit what is there; ask again from the start."""
    tag = answer.header("ETag")
    validator = tag if tag and not tag.startswith("W/") else "" if tag else answer.header("Last-Modified")
    if answer.status == 200:
        return Mark(url=mark.url, validator=validator), answer.length
    unit, _, where = answer.header("Content-Range").partition(" ")
    span, _, total = where.partition("/")
    fits = unit == "bytes" and span.partition("-")[0] == str(mark.received) and mark.received > 0
    if not fits or (mark.validator and validator and validator != mark.validator):
        return None, None
    known = int(total) if total.isascii() and total.isdigit() and len(total) <= 18 else None
    if known is None and answer.length is not None:
        known = mark.received + answer.length
    return mark, known


def wrong(name: str, wanted: RemoteFile, part: Part) -> ModelFileError:
    """The sentence for a file that came whole and is not the one announced."""
    if wanted.size not in (None, part.received):
        return ModelFileError(
            f'"{name}" came with {part.received} bytes in place of {wanted.size}. It was removed; retry.'
        )
    found = part.digest.hexdigest()
    return ModelFileError(
        f'"{name}" is damaged or another file: its sha256 begins with {found[:10]}, {(wanted.sha256 or "")[:10]} was announced. '
        "It was removed; retry, or look for it anew."
    )
