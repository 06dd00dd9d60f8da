"""https: certificates are checked, by name too, directly and through a proxy's tunnel."""

import contextlib
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from modules.core.errors import RemoteError
from modules.library.downloads.tokens import Token
from modules.library.downloads.transport import Transport
from tests.library.servers import Site

SUBJECT = ("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory) -> tuple[Path, Path]:
    """A certificate for the name localhost that signs itself, and its key."""
    if shutil.which("openssl") is None:
        pytest.skip("making a certificate takes openssl (Debian: apt install openssl)")
    folder = tmp_path_factory.mktemp("tls")
    own, key = folder / "own.pem", folder / "key.pem"
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-keyout",
        str(key),
        "-out",
        str(own),
    ]
    subprocess.run([*command, *SUBJECT], check=True, capture_output=True)
    return own, key


@pytest.fixture
def secure(certificate, monkeypatch) -> Iterator[Site]:
    """A site behind that certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    found = Site()
    found._server.socket = context.wrap_socket(found._server.socket, server_side=True, do_handshake_on_connect=False)
    monkeypatch.setattr(found._server, "handle_error", lambda *_: None)  # a client that hangs up is what is tested
    with found:
        found.file("/a", b"by https")
        yield found


@pytest.fixture
def trusted(certificate, monkeypatch) -> None:
    """This machine's authorities have signed it."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))


def test_a_certificate_of_nobody_is_refused(secure):
    with pytest.raises(RemoteError, match=r'The certificate of "localhost" is not valid: .*self.signed') as caught:
        Transport(allow_local=True, proxies={}).open(f"https://localhost:{secure.port}/a")
    assert not caught.value.temporary


def test_a_trusted_one_is_taken_for_its_own_name_alone(secure, trusted):
    transport = Transport(allow_local=True, proxies={})
    url = f"https://localhost:{secure.port}"
    token = Token(value="s3cret", origin=url)
    answer, body = transport.read(f"{url}/a", token=token)
    assert (answer.status, body) == (200, b"by https")
    assert secure.asked[0].headers["host"] == f"localhost:{secure.port}"
    assert len(secure.tokens()) == 1
    with pytest.raises(RemoteError, match=r'The certificate of "127.0.0.1" is not valid'):
        transport.open(f"https://127.0.0.1:{secure.port}/a")


def test_a_token_for_https_is_not_sent_by_http(secure, trusted):
    token = Token(value="s3cret", origin=f"https://localhost:{secure.port}")
    with Site() as plain:
        plain.file("/a", b"plain")
        Transport(allow_local=True, proxies={}).read(f"{plain.other}/a", token=token)
        assert plain.tokens() == []


@contextlib.contextmanager
def tunnel() -> Iterator[tuple[int, list[bytes]]]:
    """A proxy that knows CONNECT, for one connection: its port, and what it was asked."""
    asked: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def pipe(source: socket.socket, target: socket.socket) -> None:
            with contextlib.suppress(OSError):
                while data := source.recv(65536):
                    target.sendall(data)
                target.shutdown(socket.SHUT_WR)

        def serve() -> None:
            client, _ = listener.accept()
            request = client.recv(65536)
            asked.append(request)
            host, port = request.split()[1].decode().rsplit(":", 1)
            with client, socket.create_connection((host, int(port))) as server:
                client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
                back = threading.Thread(target=pipe, args=(server, client))
                back.start()
                pipe(client, server)
                back.join()

        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1], asked
        thread.join(10)


def test_through_a_tunnel(secure, trusted):
    """The proxy hears of the host, and neither of the path nor of the token."""
    url = f"https://localhost:{secure.port}"
    with tunnel() as (port, asked):
        transport = Transport(allow_local=True, proxies={"https": f"http://ann:pw@127.0.0.1:{port}"})
        assert transport.read(f"{url}/a", token=Token(value="s3cret", origin=url))[1] == b"by https"
    assert asked[0].startswith(f"CONNECT localhost:{secure.port} ".encode())
    assert b"Basic YW5uOnB3" in asked[0]
    assert b"s3cret" not in asked[0]
    assert len(secure.tokens()) == 1
    assert "proxy-authorization" not in secure.asked[0].headers
