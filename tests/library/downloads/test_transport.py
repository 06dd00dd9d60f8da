"""Requests to local servers: where redirects may lead, and who sees a token."""

import logging

import pytest

from modules.core.errors import InputError, RemoteError
from modules.library.downloads.tokens import Token
from modules.library.downloads.transport import Transport
from tests.library.servers import Served, site


@pytest.fixture
def shop():
    with site() as running:
        yield running


@pytest.fixture
def transport():
    return Transport(allow_local=True, proxies={}, timeout=5)


def test_N16_a_token_goes_to_its_own_host_alone(shop, transport):
    """Not to another host, another port, nor on a redirect there; but it does on one within the host, and back."""
    with site() as stranger:
        token = Token(value="s3cret", origin=shop.url)
        shop.served["/start"] = Served(redirect="/second", token="s3cret")
        shop.served["/second"] = Served(redirect=f"{shop.other}/third", token="s3cret")
        shop.served["/third"] = Served(redirect=f"{stranger.url}/fourth")
        stranger.served["/fourth"] = Served(redirect=f"{shop.url}/end")
        shop.file("/end", b"done", token="s3cret")
        answer, body = transport.read(f"{shop.url}/start", token=token)
        assert (answer.status, body) == (200, b"done")
        assert shop.tokens() == [("127.0.0.1", "/start"), ("127.0.0.1", "/second"), ("127.0.0.1", "/end")]
        assert stranger.tokens() == []
        assert transport.read(f"{stranger.url}/fourth", token=token)[1] == b"done"
        assert stranger.tokens() == []


def test_N16_a_redirect_into_this_network_is_not_followed(shop, monkeypatch):
    """The first host is taken for one of the internet; what it sends on to is not."""
    import ipaddress

    import modules.library.downloads.addresses as addresses

    local = {ipaddress.ip_address("127.0.0.1")}
    monkeypatch.setattr(addresses, "is_public", lambda ip: ip in local)
    strict = Transport(proxies={}, timeout=5)
    shop.file("/a", b"fine")
    assert strict.read(f"{shop.url}/a")[1] == b"fine"
    for target in ("http://169.254.169.254/latest/meta-data", "http://[::1]:8080/", "http://10.0.0.1/"):
        shop.served["/go"] = Served(redirect=target)
        with pytest.raises(InputError, match="not on the public internet"):
            strict.open(f"{shop.url}/go")


def test_redirects_end(shop, transport):
    shop.served["/round"] = Served(redirect="/round")
    with pytest.raises(RemoteError, match="sends on more than 8 times"):
        transport.open(f"{shop.url}/round")
    assert len(shop.asked) == 8


def test_a_large_or_slow_answer_is_given_up(shop, transport):
    shop.file("/large", b"x" * 100_000)
    with pytest.raises(RemoteError, match="too large, or comes too slowly"):
        transport.read(f"{shop.url}/large", limit=50_000)
    shop.file("/slow", b"x" * 2**20, pause=0.05)
    with pytest.raises(RemoteError, match="too large, or comes too slowly"):
        transport.read(f"{shop.url}/slow", seconds=0.2)
    shop.file("/cut", b"x" * 1000, cuts=[10])
    with pytest.raises(RemoteError, match="broke off"):
        transport.read(f"{shop.url}/cut")


def test_through_a_proxy(shop):
    """Plain http is asked of the proxy by its whole address; hosts of no_proxy are asked themselves."""
    through = Transport(proxies={"http": f"http://ann:pw@127.0.0.1:{shop.port}", "no": ".direct.example"}, timeout=5)
    shop.file("/a", b"by proxy")
    assert through.read("http://93.184.215.14/a")[1] == b"by proxy"
    assert shop.asked[0].path == "http://93.184.215.14/a"
    assert shop.asked[0].host == "93.184.215.14"
    assert shop.asked[0].headers["proxy-authorization"] == "Basic YW5uOnB3"
    with pytest.raises(InputError, match="not on the public internet"):
        through.open("http://127.0.0.1:8080/a")
    with pytest.raises(RemoteError, match="cannot be found"):
        through.open("http://a.direct.example/a")
    with pytest.raises(RemoteError, match="socks5 proxy"):
        Transport(proxies={"all": "socks5://127.0.0.1:1"}).open("http://93.184.215.14/a")


def test_https_goes_through_a_tunnel(shop):
    through = Transport(proxies={"https": f"127.0.0.1:{shop.port}"}, timeout=5)
    with pytest.raises(RemoteError, match="cannot be reached"):
        through.open("https://93.184.215.14/a")  # this proxy knows no CONNECT, and was asked for one


def test_what_does_not_speak_http(transport):
    import socket
    import threading

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]

        def talk() -> None:
            connection, _ = listener.accept()
            connection.recv(1000)
            connection.sendall(b"220 mail ready\r\n\r\n")
            connection.close()

        thread = threading.Thread(target=talk)
        thread.start()
        with pytest.raises(RemoteError, match="it does not speak HTTP"):
            transport.open(f"http://127.0.0.1:{port}/")
        thread.join()
    with pytest.raises(RemoteError, match="cannot be reached"):
        transport.open(f"https://127.0.0.1:{port}/")


def test_nothing_is_logged_of_tokens(shop, transport, caplog):
    caplog.set_level(logging.DEBUG)
    shop.file("/a", b"a", statuses=[500])
    token = Token(value="s3cret", origin=shop.url)
    transport.read(f"{shop.url}/a", token=token)
    assert "s3cret" not in caplog.text
    assert "s3cret" not in repr(token)
