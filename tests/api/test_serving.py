"""Sockets and certificates."""

import asyncio
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from modules.api.hosts import Hosts, machine_names
from modules.api.serving import address_here, bind, check_certificate, greeting, server_options
from modules.core.errors import InputError
from modules.core.network import Network


def made(folder: Path, name: str, *words: str) -> tuple[Path, Path]:
    """A certificate that signs itself, and its key."""
    if shutil.which("openssl") is None:
        pytest.skip("making a certificate takes openssl (Debian: apt install openssl)")
    own, key = folder / f"{name}.pem", folder / f"{name}.key"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    subject = ["-subj", "/CN=localhost", "-keyout", str(key), "-out", str(own)]
    subprocess.run([*command, *subject, *words], check=True, capture_output=True)
    return own, key


def expired(folder: Path) -> tuple[Path, Path]:
    """A certificate of January 2020, and its key."""
    own, key = made(folder, "old", "-days", "2")
    request, config = folder / "request.pem", folder / "ca.conf"
    words = ["-key", str(key), "-subj", "/CN=localhost", "-out", str(request)]
    subprocess.run(["openssl", "req", "-new", *words], check=True, capture_output=True)
    (folder / "index").touch()
    config.write_text(
        f"[ca]\ndefault_ca = d\n[d]\ndatabase = {folder / 'index'}\nnew_certs_dir = {folder}\n"
        "rand_serial = yes\ndefault_md = sha256\npolicy = p\n[p]\ncommonName = supplied\n"
    )
    times = ["-startdate", "20200101000000Z", "-enddate", "20200201000000Z"]
    files = ["-config", str(config), "-keyfile", str(key), "-in", str(request), "-out", str(own)]
    subprocess.run(["openssl", "ca", "-batch", "-selfsign", *times, *files], check=True, capture_output=True)
    return own, key


def test_N18_certificates_are_looked_at_before_the_start(tmp_path):
    good, other = made(tmp_path, "good", "-days", "2"), made(tmp_path, "other", "-days", "2")
    old = expired(tmp_path)
    check_certificate(Network(listen=True, certfile=good[0], keyfile=good[1]))
    check_certificate(Network(listen=True))
    nonsense = tmp_path / "nonsense"
    nonsense.write_text("no certificate")
    for cert, key, reason in (
        (good[0], other[1], "."),
        (tmp_path / "missing", good[1], "No such file"),
        (nonsense, good[1], "."),
        (good[0], nonsense, "."),
        (*old, "expired"),
    ):
        with pytest.raises(InputError, match=f"cannot be used: .*{reason}"):
            check_certificate(Network(listen=True, certfile=cert, keyfile=key))
    assert server_options(Network(certfile=good[0], keyfile=good[1]))["ssl_certfile"] == good[0]


def test_ports_and_addresses_that_cannot_be_used():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(InputError, match="Choose another with --port"):
            bind(Network(), taken.getsockname()[1])
    for address in ("203.0.113.7", "no such host"):
        with pytest.raises(InputError, match="--server-name"):
            bind(Network(server_name=address), 7860)
    with bind(Network(server_name="::1"), 0) as found:
        assert found.family == socket.AF_INET6


def test_small_answers_are_sent_at_once():
    async def accepted() -> int:
        found: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        def connected(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            found.set_result(writer.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            writer.close()

        listener = bind(Network(), 0)
        server = await asyncio.start_server(connected, sock=listener)
        async with server:
            _, writer = await asyncio.open_connection(*listener.getsockname())
            nodelay = await found
            writer.close()
            await writer.wait_closed()
        return nodelay

    assert asyncio.run(asyncio.wait_for(accepted(), 60)) != 0


def test_what_is_said_at_the_start():
    assert greeting(Network(), 7860, None) == ["Running on http://127.0.0.1:7860"]
    said = "\n".join(greeting(Network(listen=True, open_to_all=True, subpath="/x"), 7860, None))
    assert "Running on http://127.0.0.1:7860/x" in said
    assert "WARNING" in said
    assert "--no-auth" in said
    assert address_here(Network(server_name="fe80::1"), 1) == "http://[fe80::1]:1"


def test_names_of_this_machine():
    assert "127.0.0.1" in {*machine_names()}
    hosts = Hosts.of(Network(listen=True, allowed_hosts=("Workshop.example", "2001:db8::1")))
    for name in (socket.gethostname(), "workshop.example:7860", "[2001:db8::1]:7860", "localhost"):
        assert name in hosts
    assert socket.gethostname() not in Hosts.of(Network())
    hosts.add("later.example")
    assert "later.example" in hosts
