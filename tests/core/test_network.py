"""Flags about who may reach the server."""

import pytest

from modules.core.errors import InputError
from modules.core.flags import parse_flags
from modules.core.network import parse_accounts


def network(*words: str):
    return parse_flags([*words]).network


def test_home_is_for_this_machine_alone():
    found = network()
    assert (found.address, found.exposure, found.policy.login, found.scheme) == ("127.0.0.1", "home", False, "http")


@pytest.mark.parametrize(
    ("words", "exposure", "address"),
    [
        (["--listen"], "lan", "0.0.0.0"),
        (["--server-name", "192.168.1.5"], "lan", "192.168.1.5"),
        (["--listen", "--server-name", "::"], "lan", "::"),
        (["--server-name", "127.0.0.1"], "home", "127.0.0.1"),
        (["--share"], "tunnel", "127.0.0.1"),
        (["--ngrok", "token"], "tunnel", "127.0.0.1"),
        (["--cloudflared"], "tunnel", "127.0.0.1"),
    ],
)
def test_N19_others_have_to_log_in(words, exposure, address):
    found = network(*words)
    assert (found.exposure, found.address) == (exposure, address)
    assert found.policy.login == (exposure != "home")


def test_login_at_home_for_a_shared_computer():
    assert network("--auth").policy.login
    assert network("--auth", "ann:secret").accounts[0].name == "ann"
    assert network("--gradio-auth", "ann:secret").policy.login


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--share", "--no-auth", "--i-know-this-is-open"], "--no-auth is refused with --share"),
        (["--listen", "--no-auth"], "add --i-know-this-is-open"),
        (["--listen", "--no-auth", "--i-know-this-is-open", "--auth", "a:b"], "contradicts"),
        (["--share", "--listen"], "exclude each other"),
        (["--share", "--cloudflared"], "exclude each other"),
        (["--allow-code"], "--allow-code is refused"),
        (["--cors-allow-origins", "*"], "every web site"),
        (["--cors-allow-origins", "evil.example"], "no origin"),
        (["--share", "--cors-allow-origins", "http://good.example"], "use https"),
        (["--cors-allow-origins-regex", ".*"], "takes every web site"),
        (["--cors-allow-origins-regex", "("], "no regular expression"),
        (["--tls-keyfile", "key.pem"], "belong together"),
        (["--share", "--tls-keyfile", "key.pem", "--tls-certfile", "cert.pem"], "brings its own https"),
        (["--subpath", "../x"], "no path"),
        (["--subpath", "a b"], "no path"),
        (["--timeout-keep-alive", "0"], "at least 1"),
        (["--max-megapixels", "0"], "1 to 256"),
        (["--gradio-auth", "ann"], "no password"),
        (["--gradio-auth", "a/b:secret"], "no name for an account"),
        (["--gradio-auth", "api:secret"], "no name for an account"),
        (["--gradio-auth", "ann:secret,Ann:other"], "twice"),
        (["--gradio-auth-path", "/nonexistent/file"], "cannot be read"),
    ],
)
def test_what_is_refused(words, sentence):
    with pytest.raises(InputError, match=sentence) as caught:
        network(*words)
    assert "secret" not in caught.value.message


def test_open_to_all_is_said_twice():
    assert not network("--listen", "--no-auth", "--i-know-this-is-open").policy.login


def test_N11_accounts_with_any_password(tmp_path):
    found = parse_accounts("--gradio-auth", "ann:pä:ss,é,bob: x ,Zoë Z:3")
    assert [(a.name, a.password, a.admin) for a in found] == [
        ("ann", "pä:ss,é", True),
        ("bob", " x ", False),
        ("Zoë Z", "3", False),
    ]
    file = tmp_path / "accounts"
    file.write_text("ann:one\n\nbob:two,carol:three\n", "utf-8")
    assert [a.name for a in network("--gradio-auth-path", str(file)).accounts] == ["ann", "bob", "carol"]


def test_passwords_are_not_shown():
    found = network("--gradio-auth", "ann:secret", "--api-auth", "robot:hidden", "--ngrok", "tunnelkey")
    assert not any(word in repr(found) for word in ("secret", "hidden", "tunnelkey"))


def test_the_api_through_a_tunnel_is_asked_for():
    assert not network("--share").policy.api
    assert network("--share", "--api").policy.api
    assert not network("--share", "--api").policy.api_passwords
    assert network("--share", "--api-auth", "a:b").policy.api_passwords
    assert network("--listen").policy.api


def test_loosening_is_by_flags():
    assert network("--max-megapixels", "64").policy.pixels == 64 * 2**20
    assert not network("--share").policy.downloads
    assert network("--share", "--allow-remote-downloads").policy.downloads


def test_subpath_is_trimmed():
    assert network("--subpath", "/a/b/").subpath == "/a/b"
