"""What stands between a browser and a server in other people's networks: it cuts, drops and gathers up."""

import asyncio
import contextlib
import threading
import time

from typing_extensions import Self

from tests.server import free_port


class Tunnel:
    """Passes TCP on to a port of this machine, from `url`. All may be changed at any time.

    `cuts`: connections end after so many seconds; `cut` counts them. `drops`: nothing passes, and nobody is told. `gathers`: of
    event streams only the heads pass, what follows waits for their end.
    """

    def __init__(self, port: int) -> None:
        self.cuts: float | None = None
        self.drops = self.gathers = False
        self.cut = 0
        self._to, self._port = port, free_port()
        self.url = f"http://127.0.0.1:{self._port}"
        self._ready, self._over = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    async def _run(self) -> None:
        """Serve until it is over; what is open then is cancelled by asyncio.run."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", self._port)
        self._ready.set()
        while not self._over.is_set():
            await asyncio.sleep(0.05)
        server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        begun = time.monotonic()
        theirs, ours = await asyncio.open_connection("127.0.0.1", self._to)
        ways = [asyncio.create_task(self._pass(*way)) for way in ((reader, ours, False), (theirs, writer, True))]
        try:
            while (await asyncio.wait(ways, timeout=0.05))[1]:
                if self.cuts is not None and time.monotonic() - begun > self.cuts:
                    self.cut += 1
                    break
        except asyncio.CancelledError:
            pass  # the tunnel ends
        for way in ways:
            way.cancel()
        for one in (writer, ours):
            one.close()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answers: bool) -> None:
        waiting, stream = b"", False
        with contextlib.suppress(OSError):
            while data := await reader.read(2**16):
                while self.drops:
                    await asyncio.sleep(0.02)
                if answers and self.gathers and b"text/event-stream" in data:
                    head, end, data = data.partition(b"\r\n\r\n")
                    stream = True
                    writer.write(head + end)
                if stream:
                    waiting += data
                    continue
                writer.write(data)
                await writer.drain()
            writer.write(waiting)
            writer.write_eof()
