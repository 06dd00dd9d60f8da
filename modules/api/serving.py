"""How the server is reached: its socket, its certificate, and what is said about it at the start."""

import contextlib
import errno
import os
import socket
import ssl
from pathlib import Path
from typing import Any

from modules.api.accounts.accounts import Accounts
from modules.core.errors import InputError, short
from modules.core.network import Network


def bind(network: Network, port: int) -> socket.socket:
    """A listening socket; raises InputError when address or port cannot be used."""
    address = network.address
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    # named as TCP: asyncio sends what is small at once on such sockets alone, on others the system waits 40 ms for company
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, int(os.name != "nt"))
    try:
        listener.bind((address, port))
        listener.listen(128)  # a browser that is early waits instead of being refused
    except (OSError, UnicodeError) as error:
        listener.close()
        reason = getattr(error, "strerror", None) or str(error)
        if _is_place(error):
            raise InputError(
                "--server-name", f"--server-name {short(address)} cannot be listened on ({reason}). Choose another."
            ) from error
        raise InputError("--port", f"Port {port} cannot be used ({reason}). Choose another with --port N.") from error
    return listener


def _is_place(error: Exception) -> bool:
    """Whether the address, not the port, is wrong."""
    return isinstance(error, socket.gaierror | UnicodeError) or getattr(error, "errno", 0) == errno.EADDRNOTAVAIL


def check_certificate(network: Network) -> None:
    """Raise InputError unless key and certificate are there, belong together and hold today: nothing falls back to http."""
    if network.certfile is None or network.keyfile is None:
        return
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        server.load_cert_chain(network.certfile, network.keyfile, password="")
        reason = _why_not_trusted(server, network.certfile)
    except (OSError, ValueError) as error:  # SSLError is an OSError
        reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or str(error)
    if reason:
        raise InputError(
            "--tls-certfile",
            f'--tls-certfile "{network.certfile}" with --tls-keyfile "{network.keyfile}" cannot be used: {reason}. '
            "Give a valid certificate and its key, in PEM format.",
        )


def _why_not_trusted(server: ssl.SSLContext, certificate: Path) -> str | None:
    """What a client that trusts just this certificate says of it; a handshake in memory."""
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    client.load_verify_locations(certificate)
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    asking = client.wrap_bio(back, there)
    answering = server.wrap_bio(there, back, server_side=True)
    for _ in range(4):
        for side in (asking, answering):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLCertVerificationError as error:
                return error.verify_message
    return None


def greeting(network: Network, port: int, accounts: Accounts | None, address: str | None = None) -> list[str]:
    """The lines that a start prints: where the server is, and how to get in. `address`: a tunnel's."""
    base = address or address_here(network, port)
    lines = [f"Running on {base}"]
    if network.exposure == "lan":
        lines += [f"Other machines: {network.scheme}://{name}:{port}{network.subpath}" for name in lan_names(network)]
    if accounts is not None and network.policy.login:
        if accounts.made:
            lines.append(f"Log in as admin with the password {accounts.made}")
        if accounts.once:
            lines.append(f"Or once by this link: {base}/login?once={accounts.once}")
    if network.exposure == "lan" and network.scheme == "http":
        lines.append(
            "Passwords cross the network unencrypted: use --tls-keyfile and --tls-certfile where that matters."
        )
    if network.open_to_all:
        lines.append("WARNING: nobody has to log in (--no-auth). Whoever reaches this address may do everything.")
    return [*lines, *loosened(network)]


def first_page(network: Network, port: int, accounts: Accounts | None) -> str:
    """The address to open in a browser of this machine; it logs in where that is needed."""
    base = address_here(network, port)
    return f"{base}/login?once={accounts.once}" if accounts and accounts.once else base


def address_here(network: Network, port: int) -> str:
    """The address on this machine."""
    host = "127.0.0.1" if network.address in ("0.0.0.0", "::", "127.0.0.1") else network.address
    host = f"[{host}]" if ":" in host else host
    return f"{network.scheme}://{host}:{port}{network.subpath}"


def server_options(network: Network) -> dict[str, Any]:
    """What uvicorn is told. Headers of proxies are the guard's business."""
    return {
        "log_level": "warning",
        "timeout_graceful_shutdown": 2,
        "timeout_keep_alive": network.keep_alive,
        "proxy_headers": False,
        "server_header": False,
        "ssl_keyfile": network.keyfile,
        "ssl_certfile": network.certfile,
    }


def lan_names(network: Network) -> list[str]:
    """Addresses under which other machines may reach this one."""
    if network.server_name:
        return []
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))  # a documentation address: no packet is sent, the route is looked up
        return [probe.getsockname()[0]]
    return []


def loosened(network: Network) -> list[str]:
    """One line that lists what flags allow beyond the policy."""
    found = {
        "--no-auth": network.open_to_all,
        "--cors-allow-origins": bool(network.cors_origins or network.cors_pattern),
        "--allowed-hosts": bool(network.allowed_hosts),
        "--trusted-proxies": bool(network.trusted_proxies),
        "--allow-remote-downloads": network.remote_downloads,
        "--max-megapixels": network.max_megapixels is not None,
    }
    names = [name for name, given in found.items() if given]
    return [f"Loosened by flags: {', '.join(names)}"] if names else []
