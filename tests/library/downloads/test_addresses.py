"""Which addresses are asked, and which are not."""

import socket

import pytest

from modules.core.errors import InputError, RemoteError
from modules.library.downloads.addresses import parse_address, redirected, resolve
from modules.library.downloads.transport import Transport

BAD = {
    "": "must be a web address",
    "model.safetensors": "must begin with https://",
    "file:///etc/passwd": "must begin with https://",
    "ftp://host/a.safetensors": "must begin with https://",
    "javascript:alert(1)": "must begin with https://",
    "https://": "must begin with https://",
    "https:///a": "must begin with https://",
    "https://host/a b": "without spaces",
    "https://host/a\r\nX: y": "without spaces",
    "https://host:port/a": "no valid web address",
    "https://host:99999/a": "no valid web address",
    "https://[::1/a": "no valid web address",
    f"https://{'a' * 64}.com/": "no valid web address",
    "https://ann:secret@host/a": "user name or password",
    "https://" + "a" * 9000: "must be a web address",
}


@pytest.mark.parametrize("text", BAD)
def test_N16_what_is_no_address(text):
    with pytest.raises(InputError, match=BAD[text]) as caught:
        parse_address(text)
    assert "secret" not in caught.value.message
    assert len(caught.value.message) < 250


def test_parts():
    address = parse_address(" HTTPS://Bücher.example:443/ä/b%20c?x=1&token=t#there ")
    assert (address.origin, address.shown) == (
        "https://xn--bcher-kva.example",
        "https://xn--bcher-kva.example/%C3%A4/b%20c",
    )
    assert address.target == "/%C3%A4/b%20c?x=1&token=t"
    assert parse_address("http://[::1]:8080").origin == "http://[::1]:8080"


LOCAL = (
    *(
        "127.0.0.1",
        "127.1",
        "0x7f000001",
        "2130706433",
        "localhost",
        "0.0.0.0",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
    ),
    *(
        "169.254.169.254",
        "100.64.0.1",
        "224.0.0.1",
        "255.255.255.255",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[fe80::1]",
    ),
    *("[fd00::1]", "[::ffff:7f00:1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "[ff02::1]"),
)


@pytest.mark.parametrize("host", LOCAL)
def test_N16_machines_of_this_network_are_not_asked(host):
    with pytest.raises((InputError, RemoteError)) as caught:
        Transport(proxies={}).open(f"http://{host}/a.safetensors")
    assert "not on the public internet" in caught.value.message or "cannot be found" in caught.value.message


@pytest.mark.parametrize("host", ["93.184.215.14", "[2606:4700::1111]", "[64:ff9b::5db8:d70e]"])
def test_machines_of_the_internet_are(host):
    assert resolve(parse_address(f"https://{host}/a"), allow_local=False)


def test_N16_ports_of_other_services_are_not_asked():
    for port in (22, 25, 0, 110):
        with pytest.raises(InputError, match="not a web server's"):
            resolve(parse_address(f"http://93.184.215.14:{port}/a"), allow_local=False)


def test_N16_a_name_with_two_answers_is_not_asked(monkeypatch):
    """What is connected to is what was checked: the name is looked up once, and every answer has to be fit."""
    asked = []

    def answers(host, port, **_):
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (ip, port)) for ip in ("93.184.215.14", "127.0.0.1")]

    monkeypatch.setattr(socket, "getaddrinfo", answers)
    with pytest.raises(InputError, match="127.0.0.1, which is not on the public internet"):
        Transport(proxies={}).open("http://two.example/a")
    assert asked == ["two.example"]


def test_redirects():
    here = parse_address("https://a.example/x/y")
    assert redirected(here, "z").url == "https://a.example/x/z"
    assert redirected(here, "//b.example/z?s=1").url == "https://b.example/z?s=1"
    for location in ("http://a.example/", "file:///etc/passwd", "https://u:p@b.example/", "ftp://b/"):
        with pytest.raises(RemoteError):
            redirected(here, location)
