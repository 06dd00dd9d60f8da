"""Host and Origin: which names this server has, and on whose behalf a browser asks."""

import ipaddress
import re
import socket
from collections.abc import Collection, Iterator

import psutil
from starlette.datastructures import Headers
from starlette.types import Scope

from modules.core.network import NO_FLAGS, Network

LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]"})


class Hosts:
    """The names that the server answers to, with any port. A tunnel's is added when it is known."""

    def __init__(self, names: Collection[str] = LOOPBACK) -> None:
        self._names = frozenset(name.lower() for name in names)

    @classmethod
    def of(cls, network: Network) -> "Hosts":
        """Those of this machine as far as others can reach it, and those that flags name."""
        own = machine_names() if network.exposure == "lan" else ()
        named = [network.server_name] if network.server_name else []
        return cls({*LOOPBACK, *own, *(written(name) for name in (*named, *network.allowed_hosts))})

    def add(self, name: str) -> None:
        """One more."""
        self._names |= {name.lower()}

    def __contains__(self, header: str) -> bool:
        return host_name(header) in self._names


def machine_names() -> Iterator[str]:
    """This machine's addresses and names."""
    for places in psutil.net_if_addrs().values():
        for place in places:
            if place.family in (socket.AF_INET, socket.AF_INET6):
                yield written(place.address.partition("%")[0])
    name = socket.gethostname()
    yield from (name, f"{name.partition('.')[0]}.local")


def written(name: str) -> str:
    """As a Host header has it: IPv6 addresses in brackets."""
    try:
        return f"[{ipaddress.IPv6Address(name)}]"
    except ValueError:
        return name


def host_name(host: str) -> str:
    """The name in a Host header, in lower case and without its port; "" if it is no plain host."""
    name, colon, port = host.rpartition(":") if not host.endswith("]") else (host, "", "")
    if not colon:
        name = host
    elif ":" in name and not name.startswith("[") or not (port.isascii() and port.isdigit()):
        return ""
    name = name.lower()
    if name.startswith("["):
        try:
            return f"[{ipaddress.IPv6Address(name[1:-1])}]" if name.endswith("]") else ""
        except ValueError:
            return ""
    return name


class Origins:
    """The other sites whose pages may ask this server: those that flags name."""

    def __init__(self, network: Network = NO_FLAGS) -> None:
        self._origins = frozenset(origin.lower() for origin in network.cors_origins)
        self._pattern = re.compile(network.cors_pattern) if network.cors_pattern else None
        self._secure = network.exposure == "tunnel"

    def __contains__(self, origin: str) -> bool:
        if self._secure and not origin.startswith("https://"):
            return False
        return origin.lower() in self._origins or bool(self._pattern and self._pattern.fullmatch(origin))


def foreign(scope: Scope, headers: Headers, host: str) -> bool:
    """Whether a browser sends this on behalf of another site. Following a link to here is fine."""
    origins = headers.getlist("origin")
    if origins and (len(origins) > 1 or origins[0].partition("://")[2].lower() != host.lower()):
        return True
    if headers.get("sec-fetch-site", "none") in ("none", "same-origin"):
        return False
    plain = headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"
    return not (plain and scope.get("method") in ("GET", "HEAD"))


def address_of(scope: Scope, headers: Headers, proxies: Collection[str] = ()) -> str:
    """The address that asks; X-Forwarded-For counts from `proxies` alone."""
    peer = (scope.get("client") or ("", 0))[0]
    if peer in proxies and (said := headers.getlist("x-forwarded-for")):  # a proxy may add a line of its own
        return said[-1].rpartition(",")[2].strip()[:64]
    return peer
