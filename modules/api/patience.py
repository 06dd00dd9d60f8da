"""Connections that do not get to the end of a request's head, or take next to nothing of an answer: they are let go of after a while,
however they trickle."""

import asyncio

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD = 30.0
"""Seconds for a head, from the connection's beginning or the end of the answer before. Bodies are the guard's business."""
SLOW, LEAST = 120.0, 2000.0
"""Seconds that a client may keep an answer waiting for it in all, while it takes less than so many bytes a second of it."""


class PatientProtocol(H11Protocol):
    """uvicorn's, which waits for a first request for ever, and for each later one once its first byte is there."""

    late: asyncio.TimerHandle | None = None
    slow: asyncio.TimerHandle | None = None
    waited, taken = 0.0, 0  # seconds for the client to take something, and bytes that it took then
    since, held = 0.0, 0  # when that was counted last, and the bytes that were to be sent then

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """The clock starts."""
        super().connection_made(transport)
        self._wait_for_head()

    def data_received(self, data: bytes) -> None:
        """It stops with a whole head."""
        super().data_received(data)
        if self._answers():
            self._stop()

    def on_response_complete(self) -> None:
        """It starts again, unless the next request was there already."""
        super().on_response_complete()
        if not self._answers():
            self._stop()
            self._wait_for_head()

    def pause_writing(self) -> None:
        """So much is to be sent that the answer waits: the clock of the slow starts."""
        super().pause_writing()
        self.since, self.held = self.loop.time(), self.transport.get_write_buffer_size()
        self.slow = self.loop.call_later(SLOW - self.waited, self._look_how_slow)

    def resume_writing(self) -> None:
        """It stops, and goes on where it was with the next wait."""
        super().resume_writing()
        if self.slow:
            self.slow.cancel()
            self.slow = None
            self._count()

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        """From here on it is no HTTP."""
        self._stop()
        super().handle_websocket_upgrade(event)

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is left to wait for."""
        self._stop()
        if self.slow:
            self.slow.cancel()
            self.slow = None
        super().connection_lost(exc)

    def _answers(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _stop(self) -> None:
        if self.late:
            self.late.cancel()
            self.late = None

    def _wait_for_head(self) -> None:
        self.late = self.loop.call_later(HEAD, self._end)

    def _end(self) -> None:
        if self.transport.get_write_buffer_size():  # of the answer before: who takes that still does not owe a head
            self._wait_for_head()
        else:
            self.transport.abort()

    def _count(self) -> None:
        now, held = self.loop.time(), self.transport.get_write_buffer_size()
        self.waited, self.taken = self.waited + now - self.since, self.taken + self.held - held
        self.since, self.held = now, held

    def _look_how_slow(self) -> None:
        self._count()
        if self.taken < LEAST * self.waited:
            self.transport.abort()
            return
        self.waited, self.taken = 0.0, 0
        self.slow = self.loop.call_later(SLOW, self._look_how_slow)
