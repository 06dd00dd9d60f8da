"""Open pages that do nothing but look, each at its own time: `python -m tests.load.lookers ADDRESS PORT COUNT`.

A process of its own that talks HTTP as cheaply as Python can, so that what is measured is the server and not who asks. The first line of
the input holds API tokens, as JSON; at the input's end the times of all answers are printed, in seconds.
"""

import asyncio
import json
import sys
import time

PATHS = ("/", "/atelier/queue", "/healthz")


class Looker:
    """One connection that is kept open, as a browser's. It takes compressed answers, and keeps none: each look at the page is a first visit."""

    def __init__(self, address: str, port: int, token: str) -> None:
        self._address, self._port = address, port
        self._head = (
            f"HTTP/1.1\r\nHost: {address}:{port}\r\nAuthorization: Bearer {token}\r\nAccept-Encoding: br, gzip\r\n\r\n"
        )
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def ask(self, path: str) -> int:
        """The status, once the whole answer is here."""
        if self._writer is None or self._writer.is_closing() or self._reader is None or self._reader.at_eof():
            self._reader, self._writer = await asyncio.open_connection(self._address, self._port)
        self._writer.write(f"GET {path} {self._head}".encode())
        head = (await self._reader.readuntil(b"\r\n\r\n")).lower()
        length = int(head.split(b"content-length:")[1].split(b"\r\n")[0])
        await self._reader.readexactly(length)
        return int(head.split(b" ", 2)[1])


async def look(looker: Looker, number: int, stop: asyncio.Event, report: dict) -> None:
    """All paths in turn, every 5 to 14 seconds, until told to stop."""
    pause = 5 + number % 10
    wait = pause * (number % 7 + 1) / 7  # not all at once
    while not stop.is_set():
        try:
            await asyncio.wait_for(stop.wait(), wait)
            return
        except TimeoutError:
            wait = pause
        for path in PATHS:
            begun = time.perf_counter()
            try:
                status = await asyncio.wait_for(looker.ask(path), 120)
            except (OSError, asyncio.IncompleteReadError, TimeoutError) as error:
                report["errors"].append(f"{path}: {type(error).__name__}: {error}")
                continue
            report["times"][path].append(time.perf_counter() - begun)
            if status != 200:
                report["errors"].append(f"{path}: {status}")


async def main(address: str, port: int, count: int) -> dict:
    """Look until the input ends."""
    tokens = json.loads(sys.stdin.readline())
    report = {"times": {path: [] for path in PATHS}, "errors": []}
    stop = asyncio.Event()
    looks = [
        asyncio.create_task(look(Looker(address, port, tokens[number % len(tokens)]), number, stop, report))
        for number in range(count)
    ]
    await asyncio.to_thread(sys.stdin.read)
    stop.set()
    await asyncio.gather(*looks)
    return report


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))))
