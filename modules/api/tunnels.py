"""Public addresses: programs that carry requests from one to this machine. The program has to be installed; nothing is fetched."""

import contextlib
import queue
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from modules.core.errors import InputError, RemoteError
from modules.core.network import Network

PATIENCE = 60.0  # seconds until a tunnel has its address


@dataclass(frozen=True, kw_only=True)
class Kind:
    """`command` makes the program's words from (port, what flags said); `address` finds the public one in a line that it prints."""

    program: str
    get: str
    command: Callable[[int, Network], list[str]]
    address: re.Pattern[str]


KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "cloudflared": Kind(
            program="cloudflared",
            get="https://developers.cloudflare.com/cloudflare-one/connections/connect-networks/downloads",
            command=lambda port, network: ["tunnel", "--no-autoupdate", "--url", f"http://127.0.0.1:{port}"],
            address=re.compile(r"https://[a-z0-9-]+\.trycloudflare\.com"),
        ),
        "ngrok": Kind(
            program="ngrok",
            get="https://ngrok.com/download",
            command=lambda port, network: [
                *("http", f"127.0.0.1:{port}", "--log=stdout", "--log-format=logfmt"),
                *network.ngrok_words,
            ],
            address=re.compile(r"url=(https://[^\s\"]+)"),
        ),
    }
)


class Tunnel:
    """A running program, and the address under which the world finds this server."""

    def __init__(self, address: str, process: subprocess.Popen[str] | None = None) -> None:
        self.address = address
        self._process = process

    @property
    def host(self) -> str:
        """The address's name."""
        return self.address.partition("://")[2].partition("/")[0]

    def close(self) -> None:
        """End it."""
        if self._process is not None:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(5)
            if self._process.poll() is None:
                self._process.kill()


def open_tunnel(
    network: Network, port: int, environment: Mapping[str, str], share: Callable[[int], str], patience: float = PATIENCE
) -> Tunnel:
    """The tunnel that flags ask for. `share`: gives gradio's address. Raises InputError, RemoteError."""
    if network.tunnel == "share":
        return Tunnel(share(port))
    kind = KINDS[network.tunnel or ""]
    path = shutil.which(kind.program, path=environment.get("PATH"))
    if path is None:
        flag = f"--{network.tunnel}"
        raise InputError(
            flag, f"{flag} needs the program {kind.program}, which is not installed. Get it at {kind.get}."
        )
    secret = {"NGROK_AUTHTOKEN": network.ngrok_token} if network.ngrok_token else {}  # not where other users see it
    process = subprocess.Popen(
        [path, *kind.command(port, network)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        env={**environment, **secret},
    )
    address, said = _address_of(process, kind, patience)
    tunnel = Tunnel(address or "", process)
    if address is None:
        tunnel.close()
        why = f" It said: {said[-1][:200]}" if said else ""
        raise RemoteError(f"{kind.program} opened no tunnel.{why} Look at its messages, or use another tunnel.")
    return tunnel


def _address_of(process: subprocess.Popen[str], kind: Kind, patience: float) -> tuple[str | None, list[str]]:
    """The public address, if the program prints it in time, and the last lines that it printed."""
    lines: queue.Queue[str | None] = queue.Queue()

    def read() -> None:
        assert process.stdout
        with process.stdout:
            for line in process.stdout:
                lines.put(line.strip())
        lines.put(None)

    threading.Thread(target=read, name="tunnel", daemon=True).start()
    said: list[str] = []
    end = time.monotonic() + patience
    while (left := end - time.monotonic()) > 0:
        try:
            line = lines.get(timeout=left)
        except queue.Empty:
            break
        if line is None:
            break
        said = [*said[-20:], line]
        if found := kind.address.search(line):
            return found.group(found.lastindex or 0), said
    return None, said
