"""Tunnels, with a stand-in for their programs that prints what those print."""

import json
import stat
from pathlib import Path

import pytest

from modules.api.serving import greeting
from modules.api.tunnels import open_tunnel
from modules.core.errors import InputError, RemoteError
from modules.core.flags import parse_flags
from modules.core.network import Network


def program(folder: Path, name: str, *lines: str) -> dict[str, str]:
    """An environment in which that program prints these lines and then runs on."""
    folder.mkdir(exist_ok=True)
    path = folder / name
    said = "\n".join(f"echo '{line}'" for line in lines)
    path.write_text(f'#!/bin/sh\necho "$@" > {folder}/words\necho "$NGROK_AUTHTOKEN" > {folder}/token\n{said}\n')
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return {"PATH": f"{folder}:/bin:/usr/bin"}


def no_share(port: int) -> str:
    raise AssertionError("nobody asked for it")


def test_cloudflared(tmp_path):
    lines = ("INF Requesting new quick Tunnel", "INF |  https://blue-red-fox.trycloudflare.com  |")
    with_program = program(tmp_path / "bin", "cloudflared", *lines)
    tunnel = open_tunnel(Network(tunnel="cloudflared"), 7777, with_program, no_share)
    tunnel.close()
    assert (tunnel.address, tunnel.host) == (
        "https://blue-red-fox.trycloudflare.com",
        "blue-red-fox.trycloudflare.com",
    )
    assert "http://127.0.0.1:7777" in (tmp_path / "bin" / "words").read_text()


def test_ngrok_and_its_token(tmp_path):
    with_program = program(tmp_path / "bin", "ngrok", 't=1 lvl=info msg="started tunnel" url=https://a.ngrok-free.app')
    tunnel = open_tunnel(Network(tunnel="ngrok", ngrok_token="hidden"), 7777, with_program, no_share)
    tunnel.close()
    assert tunnel.host == "a.ngrok-free.app"
    assert (tmp_path / "bin" / "token").read_text().strip() == "hidden"
    assert "hidden" not in (tmp_path / "bin" / "words").read_text()


def test_ngrok_options_of_a1111(tmp_path):
    options = {"domain": "fox.ngrok.app", "compression": True, "oauth_allow_emails": ["a@b.c", "d@e.f"]}
    network = parse_flags(["--ngrok", "hidden", "--ngrok-options", json.dumps(options)]).network
    with_program = program(tmp_path / "bin", "ngrok", "url=https://fox.ngrok.app")
    open_tunnel(network, 7777, with_program, no_share).close()
    words = (tmp_path / "bin" / "words").read_text().split()
    assert words[-4:] == [
        "--domain=fox.ngrok.app",
        "--compression=true",
        "--oauth-allow-email=a@b.c",
        "--oauth-allow-email=d@e.f",
    ]


@pytest.mark.parametrize(
    "text",
    ["x", "[]", '{"nope": 1}', '{"basic_auth": "a:b"}', '{"authtoken": "t"}', '{"domain": {}}', '{"domain": "a\\nb"}'],
)
def test_ngrok_options_that_are_none(text):
    with pytest.raises(InputError, match=r"^--ngrok-options .*\.$"):
        parse_flags(["--ngrok", "t", "--ngrok-options", text])
    with pytest.raises(InputError, match="goes with --ngrok TOKEN"):
        parse_flags(["--ngrok-options", '{"domain": "a"}'])


def test_programs_that_are_not_there_or_fail(tmp_path):
    with pytest.raises(InputError, match="not installed. Get it at https://"):
        open_tunnel(Network(tunnel="cloudflared"), 7777, {"PATH": str(tmp_path)}, no_share)
    with_program = program(tmp_path / "bin", "cloudflared", "ERR no network")
    with pytest.raises(RemoteError, match="It said: ERR no network"):
        open_tunnel(Network(tunnel="cloudflared"), 7777, with_program, no_share)


def test_share_is_gradio_s():
    tunnel = open_tunnel(Network(tunnel="share"), 7777, {}, lambda port: f"https://{port}.gradio.live")
    assert tunnel.host == "7777.gradio.live"
    tunnel.close()
    assert greeting(Network(tunnel="share"), 7777, None, tunnel.address)[0] == "Running on https://7777.gradio.live"
