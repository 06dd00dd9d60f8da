"""Which addresses are asked for files: http and https, ports of web servers, machines of the public internet."""

import ipaddress
import socket
from dataclasses import dataclass
from urllib.parse import quote, urljoin, urlsplit

from modules.core.errors import InputError, RemoteError, short

PORTS = {"http": 80, "https": 443}
MAX_LENGTH = 8000
_SAFE = "/%:@!$&'()*+,;=~-._?"
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True, kw_only=True)
class Address:
    """A web address in parts. `target` is path and query, as a request line wants them."""

    scheme: str
    host: str
    port: int
    target: str

    @property
    def origin(self) -> str:
        """Scheme, host and port: what a token belongs to."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}" + ("" if self.port == PORTS[self.scheme] else f":{self.port}")

    @property
    def url(self) -> str:
        """The whole address; it may hold a signature that is nobody else's business: see `shown`."""
        return self.origin + self.target

    @property
    def shown(self) -> str:
        """The address without its query, for sentences and lists."""
        return self.origin + self.target.partition("?")[0]


def parse_address(text: str, field: str = "url") -> Address:
    """The parts of `text`; raises InputError for `field` with what is wrong with it."""
    text = text.strip()
    if not text or len(text) > MAX_LENGTH or any(not c.isprintable() or c.isspace() for c in text):
        raise InputError(
            field,
            f"{field} is {short(text)}: it must be a web address without spaces, such as https://host/model.safetensors.",
        )
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port
        host = host if ":" in host else host.encode("idna").decode().lower()
    except ValueError as error:
        raise InputError(field, f"{field} is {short(text)}: that is no valid web address. Copy it again.") from error
    if parts.scheme.lower() not in PORTS or not host:
        raise InputError(field, f"{field} is {short(text)}: it must begin with https:// or http:// and name a host.")
    if parts.username is not None or parts.password is not None:
        raise InputError(
            field, f"{field} holds a user name or password before {short(host)}. Give the address without it."
        )
    scheme = parts.scheme.lower()
    target = quote(parts.path or "/", safe=_SAFE) + (f"?{quote(parts.query, safe=_SAFE)}" if parts.query else "")
    return Address(scheme=scheme, host=host, port=port if port is not None else PORTS[scheme], target=target)


def redirected(address: Address, location: str) -> Address:
    """Where `location` of an answer from `address` leads; raises RemoteError for what is not followed."""
    try:
        found = parse_address(urljoin(address.url, location), "redirect")
    except InputError as error:
        raise RemoteError(f'"{address.host}" sends on to an address that cannot be used. {error.message}') from error
    if address.scheme == "https" and found.scheme == "http":
        raise RemoteError(
            f'"{address.host}" sends on from https to plain http at "{found.host}", which is not followed.'
        )
    return found


def resolve(
    address: Address, *, allow_local: bool, loosened_by: str = "--allow-local-downloads"
) -> list[tuple[socket.AddressFamily, tuple]]:
    """The socket addresses to connect to: those that were checked, so that a second look at the name cannot differ.

    Raises InputError for a machine or port that is not asked (unless `allow_local`, which the flag `loosened_by` gives), RemoteError if
    the name is unknown.
    """
    if not allow_local and address.port < 1024 and address.port not in PORTS.values():
        raise InputError(
            "url", f"Port {address.port} of {short(address.host)} is not a web server's. Use another address."
        )
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise RemoteError(
            f'"{address.host}" cannot be found. Check the address, and that this machine is online.', temporary=True
        ) from error
    for *_, place in found:
        if not allow_local and not is_public(ipaddress.ip_address(str(place[0]).partition("%")[0])):
            raise InputError(
                "url",
                f'"{address.host}" is {place[0]}, which is not on the public internet, and is not asked. '
                f"Start with {loosened_by} if that is wanted.",
            )
    return [(family, place) for family, _, _, _, place in found]


def is_public(ip: IPAddress) -> bool:
    """Whether that is a machine of the public internet, whatever way its IPv4 address is written as IPv6."""
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if ip in _NAT64:
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(inner)
    return ip.is_global and not ip.is_multicast
