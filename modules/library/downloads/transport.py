"""One request to another site: checked address, checked redirects, a token for its own host alone."""

import contextlib
import http.client
import json
import socket
import ssl
import threading
import time
import urllib.request
from base64 import b64encode
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any
from urllib.parse import unquote, urlsplit

from modules.core.errors import RemoteError
from modules.library.downloads.addresses import Address, parse_address, redirected, resolve
from modules.library.downloads.tokens import Token

MAX_REDIRECTS = 8
REDIRECTS = (301, 302, 303, 307, 308)
CHUNK = 2**20
AGENT = "Atelier/0.1"


class Answer:
    """What a site answers; its body is read in pieces. `url` is where it came from in the end."""

    def __init__(
        self, response: http.client.HTTPResponse, connection: http.client.HTTPConnection, url: Address
    ) -> None:
        self._response = response
        self._connection = connection
        self._socket = connection.sock
        self.url = url
        self.status = response.status

    def header(self, name: str) -> str:
        """That header, "" without it."""
        return self._response.headers.get(name, "").strip()

    @property
    def length(self) -> int | None:
        """How many bytes the body has, if the site says so."""
        text = self.header("Content-Length")
        return int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else None

    def read(self, size: int = CHUNK) -> bytes:
        """What has come, at most `size` bytes; b"" at the end. Raises RemoteError if the connection breaks."""
        try:
            return self._response.read1(size)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise RemoteError(f'The connection to "{self.url.host}" broke off.', temporary=True) from error

    def abort(self) -> None:
        """Wake a thread that waits in `read`; from any thread."""
        with contextlib.suppress(OSError, AttributeError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Let the connection go."""
        self._response.close()
        self._connection.close()

    def __enter__(self) -> "Answer":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Transport:
    """Sends requests. `proxies` as urllib's getproxies() gives them; a proxy is trusted, for the user has set it."""

    def __init__(
        self,
        *,
        allow_local: bool = False,
        proxies: Mapping[str, str] | None = None,
        timeout: float = 30.0,
        loosened_by: str = "--allow-local-downloads",
    ) -> None:
        self._resolve = partial(resolve, allow_local=allow_local, loosened_by=loosened_by)
        self._proxies = urllib.request.getproxies() if proxies is None else dict(proxies)
        self._timeout = timeout

    def open(self, url: str, *, headers: Mapping[str, str] | None = None, token: Token | None = None) -> Answer:
        """GET `url`, redirects followed; whatever the status is then. The caller closes the answer.

        Raises InputError for an address that is not asked, RemoteError for a site that cannot be reached.
        """
        address = parse_address(url)
        for _ in range(MAX_REDIRECTS):
            answer = self._ask(address, headers or {}, token)
            location = answer.header("Location")
            if answer.status not in REDIRECTS or not location:
                return answer
            answer.close()
            address = redirected(address, location)
        raise RemoteError(f'"{parse_address(url).host}" sends on more than {MAX_REDIRECTS} times. Use another address.')

    def read(
        self, url: str, *, token: Token | None = None, limit: int = 16 * 2**20, seconds: float = 30.0
    ) -> tuple[Answer, bytes]:
        """A small answer, closed, with its body whole; raises RemoteError if it is large, or takes longer."""
        end = time.monotonic() + seconds
        with self.open(url, token=token) as answer:
            body = bytearray()
            while piece := answer.read():
                body += piece
                if len(body) > limit or time.monotonic() > end:
                    raise RemoteError(
                        f'The answer of "{answer.url.host}" is too large, or comes too slowly. Try again.',
                        temporary=True,
                    )
            if answer.length is not None and len(body) < answer.length:
                raise RemoteError(f'The connection to "{answer.url.host}" broke off.', temporary=True)
        return answer, bytes(body)

    def post(self, url: str, body: bytes, *, headers: Mapping[str, str], seconds: float) -> int:
        """POST `body` there; the status of the answer, whose body nobody reads. Redirects are not followed.

        Raises InputError for an address that is not asked, RemoteError for a site that does not answer within `seconds`.
        """
        address = parse_address(url)
        sent = {"User-Agent": AGENT, "Accept": "*/*", "Connection": "close", **headers}
        connection, target = self._connection(address, sent)
        late = threading.Timer(seconds, _cut, (connection,))
        late.start()
        try:
            connection.request("POST", target, body, sent)
            return connection.getresponse().status
        except (OSError, http.client.HTTPException, ValueError, AttributeError) as error:
            raise unreachable(address, error) from error
        finally:
            late.cancel()
            connection.close()

    def _ask(self, address: Address, headers: Mapping[str, str], token: Token | None) -> Answer:
        sent = {"User-Agent": AGENT, "Accept": "*/*", "Accept-Encoding": "identity", "Connection": "close", **headers}
        if token is not None and token.origin == address.origin:
            sent["Authorization"] = f"Bearer {token.value}"
        connection, target = self._connection(address, sent)
        try:
            connection.request("GET", target, headers=sent)
            return Answer(connection.getresponse(), connection, address)
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise unreachable(address, error) from error
        except BaseException:
            connection.close()
            raise

    def _connection(self, address: Address, headers: dict[str, str]) -> tuple[http.client.HTTPConnection, str]:
        """A connection that is not open yet, and what to ask it for."""
        context = _certificates() if address.scheme == "https" else None
        proxy = self._proxy(address)
        if proxy is None:
            return _Connection(address, context, self._dial(address)), address.target
        via = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
        if via.scheme not in ("http", "https") or not via.hostname:
            raise RemoteError(
                f"The proxy of the environment is a {via.scheme} proxy. Downloads need an http proxy, or none."
            )
        login = f"{unquote(via.username)}:{unquote(via.password or '')}" if via.username else ""
        greeting = {"Proxy-Authorization": f"Basic {b64encode(login.encode()).decode()}"} if login else {}
        port = via.port or (443 if via.scheme == "https" else 80)
        if context is None:
            headers.update(greeting, Host=address.origin.partition("://")[2])
            return http.client.HTTPConnection(via.hostname, port, timeout=self._timeout), address.url
        tunnel = http.client.HTTPSConnection(via.hostname, port, timeout=self._timeout, context=context)
        tunnel.set_tunnel(address.host, address.port, greeting)
        return tunnel, address.target

    def _proxy(self, address: Address) -> str | None:
        proxy = self._proxies.get(address.scheme) or self._proxies.get("all")
        if not proxy or _bypassed(address.host, self._proxies.get("no", "")):
            return None
        with contextlib.suppress(RemoteError):  # behind some proxies names of the internet are known to the proxy alone
            self._resolve(address)  # a machine of this network is not asked through it either
        return proxy

    def _dial(self, address: Address) -> Callable[[], socket.socket]:
        places = self._resolve(address)

        def dial() -> socket.socket:
            for family, place in places[:-1]:
                with contextlib.suppress(OSError):
                    return _connected(family, place, min(self._timeout, 10.0), self._timeout)
            return _connected(*places[-1], min(self._timeout, 10.0), self._timeout)

        return dial


class _Connection(http.client.HTTPConnection):
    """Connects by `dial`, to an address that was checked, and names the host to it."""

    def __init__(self, address: Address, context: ssl.SSLContext | None, dial: Callable[[], socket.socket]) -> None:
        super().__init__(address.host, address.port)
        self.default_port = 443 if context else 80  # leaves the usual port out of the header Host
        self._host_name = address.host
        self._context = context
        self._dial = dial

    def connect(self) -> None:
        self.sock = self._dial()
        if self._context is not None:
            self.sock = self._context.wrap_socket(self.sock, server_hostname=self._host_name)


def _cut(connection: http.client.HTTPConnection) -> None:
    """Wake whoever waits for that connection."""
    with contextlib.suppress(OSError, AttributeError):
        connection.sock.shutdown(socket.SHUT_RDWR)


def _connected(family: socket.AddressFamily, place: tuple, wait: float, timeout: float) -> socket.socket:
    found = socket.socket(family, socket.SOCK_STREAM)
    try:
        found.settimeout(wait)
        found.connect(place)
        found.settimeout(timeout)
    except BaseException:
        found.close()
        raise
    return found


def _certificates() -> ssl.SSLContext:
    """The system's authorities (SSL_CERT_FILE too), and certifi's for systems that come without."""
    import certifi

    context = ssl.create_default_context()
    context.load_verify_locations(certifi.where())
    return context


def _bypassed(host: str, listed: str) -> bool:
    """Whether `no_proxy` names that host, or a domain it is in."""
    names = [name.strip().lstrip(".").lower().partition(":")[0] for name in listed.split(",")]
    return "*" in names or any(name and (host == name or host.endswith(f".{name}")) for name in names)


def unreachable(address: Address, error: Exception) -> RemoteError:
    """Why a site did not answer, as a sentence."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return RemoteError(f'The certificate of "{address.host}" is not valid: {error.verify_message}.')
    reason = (error.strerror or str(error)) if isinstance(error, OSError) else "it does not speak HTTP"
    reason = "no answer in time" if isinstance(error, TimeoutError) else reason
    return RemoteError(
        f'"{address.host}" cannot be reached ({reason}). Check that this machine is online and try again.',
        temporary=True,
    )


def read_json(body: bytes, address: Address) -> Any:
    """Parsed JSON; raises RemoteError."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise RemoteError(
            f'"{address.host}" answers with something that is not JSON. Check its address in the settings.'
        ) from error
