"""The queue of downloads as the page and the API use it, and the threads that work through it."""

import logging
import threading
from collections.abc import Mapping
from typing import Any

from modules.core.errors import AtelierError, InputError, NotFound, StorageError, UnknownName, short
from modules.core.files import remove_leftovers
from modules.core.paths import Paths
from modules.core.settings import SettingsFile
from modules.library.downloads.addresses import parse_address
from modules.library.downloads.fetch import Stopped
from modules.library.downloads.finder import Finder
from modules.library.downloads.have import free_name, refuse_what_is_here
from modules.library.downloads.live import Live, Wish
from modules.library.downloads.names import KINDS, folder_of
from modules.library.downloads.part import check_space
from modules.library.downloads.plan import Plan
from modules.library.downloads.sites import Sites, default_endpoint
from modules.library.downloads.store import OPEN, Download, DownloadStore, State
from modules.library.downloads.tokens import LABELS, Tokens
from modules.library.downloads.transport import Transport
from modules.library.downloads.worker import Worker, discard, received_of
from modules.library.hashes import HashCache

log = logging.getLogger(__name__)

AT_ONCE = 4
RESERVE = 10**9
MAX_OPEN = 500
FROM: Mapping[str, tuple[State, ...]] = {
    "pause": ("queued", "running"),
    "resume": ("paused",),
    "cancel": OPEN,
    "retry": ("failed",),
    "first": ("queued",),
}
"""The states in which an action makes sense."""

AFTER: Mapping[Wish, State] = {"pause": "paused", "cancel": "cancelled", "close": "queued"}
DONE = {"pause": "paused", "resume": "resumed", "cancel": "cancelled", "retry": "retried", "first": "put first"}


class Downloads:
    """Owns the list, the sites and the threads. All methods may be called from any thread."""

    def __init__(
        self,
        *,
        paths: Paths,
        settings: SettingsFile,
        hashes: HashCache,
        environment: Mapping[str, str],
        transport: Transport,
        reserve: int = RESERVE,
        retry_wait: float = 2.0,
    ) -> None:
        self.tokens = Tokens(paths.tokens, environment, _origins(environment))
        self.sites = Sites(settings=settings, transport=transport, tokens=self.tokens, environment=environment)
        self.finder = Finder(self.sites)
        self._paths = paths
        self._settings = settings
        self._hashes = hashes
        self._reserve = reserve
        self._worker = Worker(sites=self.sites, hashes=hashes, reserve=reserve, retry_wait=retry_wait)
        self._store = DownloadStore(paths.downloads)
        self._wake = threading.Condition()
        self._live: dict[str, Live] = {}
        self._unwritten: dict[str, tuple[State, str]] = {}
        self._closing = False
        self._threads = [
            threading.Thread(target=self._work, args=(slot,), name=f"download {slot}", daemon=True)
            for slot in range(AT_ONCE)
        ]

    def start(self) -> None:
        """Take up what an earlier run left, and begin."""
        for row in self._store.all():
            if row.state == "running":
                remove_leftovers(folder_of(self._paths, row.plan.kind))
                self._store.set_state(row.id, "queued")
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Stop; what runs goes on at the next start, from where it is."""
        with self._wake:
            self._closing = True
            for live in self._live.values():
                live.ask("close")
            self._wake.notify_all()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(10)
        self._store.close()

    # -- for the page and the API --

    def add(self, plan: Plan) -> dict[str, Any]:
        """Put a plan into the queue. Raises InputError if it is there, or here, already, StorageError if it does not fit."""
        folder = folder_of(self._paths, plan.kind)
        for each in self._paths.folders(plan.kind):
            refuse_what_is_here(plan, each, self._hashes)
        check_space(folder, plan.size or 0, self._reserve)
        with self._wake:
            rows = [row for row in self._store.all() if self._state(row)[0] in OPEN]
            if any(row.plan.key == plan.key for row in rows):
                raise InputError("url", f'"{plan.name}" is in the list of downloads already.')
            if len(rows) >= MAX_OPEN:
                raise InputError("url", f"{MAX_OPEN} downloads are in the list already. Cancel some, or wait.")
            taken = {row.plan.name for row in rows if row.plan.kind == plan.kind}
            row = self._store.add(free_name(plan, folder, taken))
            self._wake.notify_all()
        return self.report(row)

    def add_missing(self, plan: Plan) -> dict[str, Any] | None:
        """`add`, unless that is here, or in the list, already."""
        try:
            return self.add(plan)
        except InputError:
            return None

    def all(self) -> list[dict[str, Any]]:
        """Every download in the order of the queue."""
        return [self.report(row) for row in self._store.all()]

    def act(self, download_id: str, action: str) -> dict[str, Any]:
        """Do that (one of FROM) with a download. Raises UnknownName, NotFound, InputError if its state has no use for it."""
        if action not in FROM:
            raise UnknownName.among("action", action, FROM)
        with self._wake:
            row = self._row(download_id)
            live = self._live.get(download_id)
            state = "running" if live else self._state(row)[0]
            if state not in FROM[action]:
                raise InputError("action", f'The download "{row.plan.name}" is {state}: it cannot be {DONE[action]}.')
            if live is None:
                self._change(row, action)
        if live is not None:
            live.ask("cancel" if action == "cancel" else "pause")
            live.over.wait(5)
        return self.report(self._row(download_id))

    def clear(self) -> None:
        """Take what is done or cancelled from the list; files stay."""
        with self._wake:
            for row in self._store.all():
                if self._state(row)[0] in ("done", "cancelled"):
                    self._store.remove(row.id)
                    self._unwritten.pop(row.id, None)

    def has(self, kind: str, name: str) -> bool:
        """Whether a file or folder of that name lies where such models are looked for."""
        return any((folder / name).exists() for folder in self._paths.folders(kind))

    def report(self, row: Download) -> dict[str, Any]:
        """A download as a client sees it: bytes, bytes a second, seconds. Addresses come without their queries."""
        live, (state, message) = self._live.get(row.id), self._state(row)
        return {
            "id": row.id,
            "state": "running" if live else state,
            "stopping": bool(live and live.wish),
            "title": row.plan.title,
            "name": row.plan.name,
            "kind": row.plan.kind,
            "kind_label": KINDS.get(row.plan.kind, row.plan.kind),
            "site": row.plan.site,
            "page": row.plan.page,
            "files": len(row.plan.files),
            "received": live.received if live else row.received,
            "size": (live.size if live else None) or row.size,
            "speed": live.speed if live else None,
            "seconds_left": live.seconds_left if live else None,
            "message": live.trouble if live else message,
            "added": row.added,
            "ended": row.ended,
        }

    # -- the threads --

    def _work(self, slot: int) -> None:
        while True:
            with self._wake:
                row = None if self._closing else self._next(slot)
                if row is None:
                    if self._closing:
                        return
                    self._wake.wait(2)
                    continue
                live = self._live[row.id] = Live(row.plan.size)
            try:
                self._run(row, live)
            finally:
                with self._wake:
                    self._live.pop(row.id, None)
                    self._wake.notify_all()
                live.over.set()

    def _next(self, slot: int) -> Download | None:
        if slot >= self._settings.current.downloads.downloads_at_once:
            return None
        try:
            return next(
                (r for r in self._store.all() if self._state(r)[0] == "queued" and r.id not in self._live), None
            )
        except StorageError as error:
            log.warning("%s", error.message)
            return None

    def _run(self, row: Download, live: Live) -> None:
        folder = folder_of(self._paths, row.plan.kind)
        self._set(row, "running", "")
        try:
            target, said = self._worker.run(row.plan, folder, live)
            self._ended(row, live, "done", said, target.name)
        except Stopped:
            wish: Wish = live.wish or "close"
            if wish == "cancel":
                discard(row.plan, folder)
                live.received = 0
            self._ended(row, live, AFTER[wish], "")
        except AtelierError as error:
            self._ended(row, live, "failed", error.message)
        except Exception as error:
            log.exception("download %s", row.id)
            self._ended(row, live, "failed", f"The program made a mistake: {type(error).__name__}. The log says more.")

    def _ended(self, row: Download, live: Live, state: State, message: str, name: str = "") -> None:
        try:
            if name and name != row.plan.name:
                self._store.rename(row.id, row.plan.model_copy(update={"name": name}))
            received = (
                live.received if state == "done" else received_of(row.plan, folder_of(self._paths, row.plan.kind))
            )
            self._store.note_progress(row.id, received, live.size or (received if state == "done" else None))
        except StorageError as error:
            log.warning("%s", error.message)
        self._set(row, state, message)

    def _change(self, row: Download, action: str) -> None:
        """Of a download that does not run."""
        if action == "first":
            self._store.put_first(row.id)
        elif action == "cancel":
            discard(row.plan, folder_of(self._paths, row.plan.kind))
            self._store.note_progress(row.id, 0, row.size)
            self._set(row, "cancelled", "")
        else:
            self._set(row, "paused" if action == "pause" else "queued", "")
        self._wake.notify_all()

    def _set(self, row: Download, state: State, message: str) -> None:
        """On disk; on a full disk at least in memory, so that the page tells the truth."""
        try:
            self._store.set_state(row.id, state, message)
            self._unwritten.pop(row.id, None)
        except StorageError as error:
            log.warning("%s", error.message)
            self._unwritten[row.id] = (state, message)

    def _state(self, row: Download) -> tuple[State, str]:
        return self._unwritten.get(row.id, (row.state, row.message))

    def _row(self, download_id: str) -> Download:
        row = self._store.get(download_id)
        if row is None:
            raise NotFound(f"There is no download {short(download_id)}. Look at the list of downloads.")
        return row


def _origins(environment: Mapping[str, str]) -> dict[str, str]:
    """What the environment's tokens belong to."""
    found = {}
    for site in LABELS:
        try:
            found[site] = parse_address(default_endpoint(site, environment)).origin
        except InputError as error:
            log.warning("%s", error.message)
            found[site] = ""  # that is no address of anything
    return found
