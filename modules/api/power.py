"""Ending the server over the API, as A1111 does behind `--api-server-stop`: kill, restart, stop."""

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from fastapi import APIRouter
from starlette.responses import PlainTextResponse

from modules.core.errors import Forbidden, NotFound
from modules.core.flags import Flags

KILL_SECONDS = 0.5  # for the answer to leave first
Wish = Literal["", "stop", "restart"]


@dataclass
class Power:
    """What was asked of the whole server. `end`: makes it finish in order, once it serves."""

    wish: Wish = ""
    end: Callable[[], None] | None = None

    def ask(self, wish: Wish) -> None:
        """Note the wish and let the server finish."""
        self.wish = wish
        if self.end:
            self.end()


def build_power(power: Power, flags: Flags) -> APIRouter:
    """The three routes; without the flag they are answered as if they were not there."""
    router = APIRouter()

    def check() -> None:
        if not flags.api_server_stop:
            raise NotFound("The server is not ended over the API. Start it with --api-server-stop for that.")
        if flags.network.exposure == "tunnel":
            raise Forbidden("The server is not ended through a tunnel. Do it on its own machine.")

    @router.post("/sdapi/v1/server-kill")
    def kill_webui() -> None:
        """At once; jobs are stored, and the running one is taken up at the next start."""
        check()
        timer = threading.Timer(KILL_SECONDS, os._exit, (1,))
        timer.daemon = True
        timer.start()

    @router.post("/sdapi/v1/server-restart")
    def restart_webui() -> PlainTextResponse:
        check()
        power.ask("restart")
        return PlainTextResponse("Restarting.")

    @router.post("/sdapi/v1/server-stop")
    def stop_webui() -> PlainTextResponse:
        check()
        power.ask("stop")
        return PlainTextResponse("Stopping.")

    return router
