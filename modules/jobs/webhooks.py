"""Makes the calls of modules/jobs/calls.py: signed as standardwebhooks.com describes, tried again for a day."""

import base64
import hashlib
import hmac
import json
import logging
import threading
import time
import uuid
from collections.abc import Mapping
from contextlib import suppress
from types import MappingProxyType

from modules.core.errors import AtelierError, InputError, RemoteError
from modules.jobs.calls import Call
from modules.jobs.store import JobStore
from modules.library.downloads.addresses import parse_address, resolve
from modules.library.downloads.transport import Transport

log = logging.getLogger(__name__)

WAITS = (10.0, 60.0, 300.0, 1800.0, 7200.0, 21_600.0, 57_600.0)  # seconds before each further try: about a day
PATIENCE = 15.0  # seconds that one call may take
LOOK = 1.0  # seconds between looks for calls
GONE = 410
STATUS: Mapping[str, str] = MappingProxyType({"done": "done", "failed": "failed", "cancelled": "interrupted"})
"""What agent-scheduler calls the ends of a task."""
MEDIA = MappingProxyType({"jpg": "jpeg"})


class Webhooks:
    """One thread that makes calls. `allow_local`: to machines of the local network too; `waits`: seconds before each further try."""

    def __init__(
        self, store: JobStore, *, allow_local: bool = False, transport: Transport | None = None, waits=WAITS
    ) -> None:
        self._store = store
        self._allow_local = allow_local
        self._transport = transport or Transport(
            allow_local=allow_local, timeout=10.0, loosened_by="--allow-local-webhooks"
        )
        self._waits = waits
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._work, name="webhooks", daemon=True)

    def start(self) -> None:
        """Begin, with what an earlier run left."""
        self._thread.start()

    def close(self) -> None:
        """Stop; calls that are still to be made are made after the next start."""
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join(2)  # what is under way then may come twice

    def check(self, field: str, url: str) -> str:
        """The address as it will be called; raises InputError for one that will not be."""
        address = parse_address(url, field)
        try:
            with suppress(RemoteError):  # it may be there when the job is over
                resolve(address, allow_local=self._allow_local, loosened_by="--allow-local-webhooks")
        except InputError as error:
            raise InputError(field, f"{field}: {error.message}") from error
        return address.url

    def _work(self) -> None:
        while not self._closing.is_set():
            try:
                if call := self._store.calls.next(time.time()):
                    self._make(call)
                    continue
            except AtelierError as error:  # of the store
                log.warning("webhooks: %s", error.message)
            except Exception:
                log.exception("webhooks go on after an error")
            self._closing.wait(LOOK)

    def _make(self, call: Call) -> None:
        trouble, final = "", False
        try:
            kind, body = self._content(call)
            headers = {"Content-Type": kind, **signed(call.id, self._store.calls.secret(call.user), body)}
            status = self._transport.post(call.url, body, headers=headers, seconds=PATIENCE)
            if not 200 <= status < 300:
                trouble, final = f"It answered {status}.", status == GONE
        except RemoteError as error:
            trouble = error.message
        except InputError as error:
            trouble, final = error.message, True
        if not trouble:
            self._store.calls.drop(call)
        elif final or call.tries >= len(self._waits):
            log.warning("webhook of job %s given up: %s", call.job, trouble)
            self._store.calls.drop(call)
        else:
            self._store.calls.delay(call, time.time() + self._waits[call.tries], trouble)

    def _content(self, call: Call) -> tuple[str, bytes]:
        """Its media type and its body."""
        if not call.form:
            return "application/json", call.body.encode()
        files = []
        if call.event == "done":
            for image in self._store.images(call.job):
                with suppress(OSError):  # moved or deleted meanwhile
                    files.append((image.path.name, image.path.read_bytes()))
        task = json.loads(call.body)["data"]["id"]
        return form_of({"task_id": task, "status": STATUS[call.event]}, files)


def signed(message: str, secret: str, body: bytes, now: float | None = None) -> dict[str, str]:
    """The headers that prove where a call comes from: HMAC-SHA256 of `ID.SECONDS.BODY` under the secret's bytes."""
    seconds = str(int(time.time() if now is None else now))
    key = base64.b64decode(secret.removeprefix("whsec_"))
    digest = hmac.new(key, f"{message}.{seconds}.".encode() + body, hashlib.sha256).digest()
    return {
        "webhook-id": message,
        "webhook-timestamp": seconds,
        "webhook-signature": f"v1,{base64.b64encode(digest).decode()}",
    }


def form_of(fields: dict[str, str], files: list[tuple[str, bytes]]) -> tuple[str, bytes]:
    """multipart/form-data: the fields, and each file as `files`; its media type and its bytes."""
    edge = uuid.uuid4().hex
    parts = [
        f'--{edge}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in fields.items()
    ]
    for name, data in files:
        ending = name.rpartition(".")[2].lower()
        quoted = name.replace("\\", "_").replace('"', "%22")
        parts.append(
            f'--{edge}\r\nContent-Disposition: form-data; name="files"; filename="{quoted}"\r\n'
            f"Content-Type: image/{MEDIA.get(ending, ending)}\r\n\r\n".encode()
            + data
            + b"\r\n"
        )
    return f"multipart/form-data; boundary={edge}", b"".join(parts) + f"--{edge}--\r\n".encode()
