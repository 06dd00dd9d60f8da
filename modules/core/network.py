"""The flags that say who may reach the server, and as whom."""

import argparse
import re
from dataclasses import dataclass, field, replace
from pathlib import Path

from modules.core.errors import InputError, short
from modules.core.ngrok import ngrok_words
from modules.core.policy import GB, MB, POLICIES, Exposure, Policy

LOOPBACK = ("127.0.0.1", "localhost", "::1")
TUNNELS = ("share", "ngrok", "cloudflared")


@dataclass(frozen=True, kw_only=True)
class GivenAccount:
    """A name and a password of the command line."""

    name: str
    password: str = field(repr=False)
    admin: bool


@dataclass(frozen=True, kw_only=True)
class Network:
    """What those flags said. `tunnel`: a name in TUNNELS; `ngrok_token` is that of --ngrok, `ngrok_words` what its program is
    told besides; `open_to_all`: nobody has to log in."""

    listen: bool = False
    server_name: str | None = None
    tunnel: str | None = None
    ngrok_token: str = field(default="", repr=False)
    ngrok_words: tuple[str, ...] = ()
    auth: bool = False
    open_to_all: bool = False
    accounts: tuple[GivenAccount, ...] = ()
    api_accounts: tuple[GivenAccount, ...] = ()
    api: bool = False
    allowed_hosts: tuple[str, ...] = ()
    trusted_proxies: tuple[str, ...] = ()
    cors_origins: tuple[str, ...] = ()
    cors_pattern: str | None = None
    keyfile: Path | None = None
    certfile: Path | None = None
    subpath: str = ""
    keep_alive: int = 30
    remote_downloads: bool = False
    max_megapixels: int | None = None
    disk_reserve: float | None = None

    @property
    def address(self) -> str:
        """What the server listens on."""
        return self.server_name or ("0.0.0.0" if self.listen else "127.0.0.1")

    @property
    def exposure(self) -> Exposure:
        """How far others can reach the server."""
        if self.tunnel:
            return "tunnel"
        return "home" if self.address in LOOPBACK else "lan"

    @property
    def scheme(self) -> str:
        """http, or https with a certificate."""
        return "https" if self.certfile else "http"

    @property
    def policy(self) -> Policy:
        """The policy for that exposure, less what flags loosen."""
        found = POLICIES[self.exposure]
        login = (found.login or self.auth or bool(self.accounts)) and not self.open_to_all
        found = replace(found, login=login, downloads=found.downloads or self.remote_downloads)
        if self.exposure == "tunnel" and (self.api or self.api_accounts):
            found = replace(found, api=True, api_passwords=bool(self.api_accounts))
        if self.max_megapixels:
            found = replace(found, pixels=self.max_megapixels * MB)
        if self.disk_reserve is not None:
            found = replace(found, reserve=round(self.disk_reserve * GB))
        return found


def add_network_flags(p: argparse.ArgumentParser) -> None:
    """All of them, in A1111's names where it has them."""
    p.add_argument("--listen", action="store_true", help="let other machines reach the server; they have to log in")
    p.add_argument("--server-name", metavar="HOST", help="the address to listen on instead of 127.0.0.1 or 0.0.0.0")
    p.add_argument("--share", action="store_true", help="a public address through gradio's tunnel, with login")
    p.add_argument("--ngrok", metavar="TOKEN", help="a public address through ngrok, with login; its access token")
    p.add_argument(
        "--ngrok-options", metavar="JSON", help='what ngrok is told besides, such as {"domain": "name.ngrok.app"}'
    )
    p.add_argument("--cloudflared", action="store_true", help="a public address through cloudflared, with login")
    p.add_argument(
        "--auth", nargs="?", const="", metavar="NAME:PASSWORD,...", help="login on this machine too, which others share"
    )
    p.add_argument("--gradio-auth", metavar="NAME:PASSWORD,...", help="accounts; the first is an administrator's")
    p.add_argument("--gradio-auth-path", type=Path, metavar="FILE", help="such accounts from a file")
    p.add_argument("--api-auth", metavar="NAME:PASSWORD,...", help="accounts for programs, by HTTP Basic alone")
    p.add_argument("--no-auth", action="store_true", help="nobody has to log in; wants --i-know-this-is-open")
    p.add_argument("--i-know-this-is-open", action="store_true", help="see --no-auth")
    p.add_argument("--allowed-hosts", default="", metavar="NAME,...", help="more names that the server answers to")
    p.add_argument("--trusted-proxies", default="", metavar="IP,...", help="proxies whose X-Forwarded-For counts")
    p.add_argument("--cors-allow-origins", default="", metavar="ORIGIN,...", help="sites whose pages may ask this one")
    p.add_argument("--cors-allow-origins-regex", metavar="PATTERN", help="the same, as a regular expression")
    p.add_argument("--tls-keyfile", type=Path, metavar="FILE", help="serve https with this key")
    p.add_argument("--tls-certfile", type=Path, metavar="FILE", help="and this certificate, both in PEM format")
    p.add_argument("--disable-tls-verify", action="store_true", help="accepted for A1111's sake; nothing is verified")
    p.add_argument("--subpath", default="", metavar="PATH", help="serve below this path, behind a reverse proxy")
    p.add_argument("--timeout-keep-alive", type=int, default=30, metavar="N", help="seconds that idle connections last")
    p.add_argument("--allow-remote-downloads", action="store_true", help="let administrators fetch models by --share")
    p.add_argument("--max-megapixels", type=int, metavar="N", help="the largest picture that may be asked for")
    p.add_argument("--disk-reserve", type=float, metavar="GB", help="what stays free on the disk (1; --listen: 2)")
    p.add_argument("--allow-code", action="store_true", help="refused: scripts that run what is typed are not here")


def network_of(given: argparse.Namespace) -> Network:
    """What the flags said; raises InputError for those that are wrong or contradict each other."""
    _check(given)
    origins = _words(given.cors_allow_origins)
    tunnel = next((name for name in TUNNELS if getattr(given, name)), None)
    _check_cors(origins, given.cors_allow_origins_regex, secure=tunnel is not None)
    accounts = [
        *parse_accounts("--auth", given.auth or ""),
        *parse_accounts("--gradio-auth", given.gradio_auth or ""),
        *_accounts_in(given.gradio_auth_path),
    ]
    return Network(
        listen=given.listen,
        server_name=given.server_name,
        tunnel=tunnel,
        ngrok_token=given.ngrok or "",
        ngrok_words=ngrok_words(given.ngrok_options),
        auth=given.auth is not None,
        open_to_all=given.no_auth,
        accounts=tuple(accounts),
        api_accounts=tuple(parse_accounts("--api-auth", given.api_auth or "")),
        api=given.api,
        allowed_hosts=_words(given.allowed_hosts),
        trusted_proxies=_words(given.trusted_proxies),
        cors_origins=origins,
        cors_pattern=given.cors_allow_origins_regex,
        keyfile=given.tls_keyfile,
        certfile=given.tls_certfile,
        subpath=_subpath(given.subpath),
        keep_alive=given.timeout_keep_alive,
        remote_downloads=given.allow_remote_downloads,
        max_megapixels=given.max_megapixels,
        disk_reserve=given.disk_reserve,
    )


def _check(given: argparse.Namespace) -> None:
    tunnels = [f"--{name}" for name in TUNNELS if getattr(given, name)]
    public = bool(tunnels)
    named = given.auth or given.gradio_auth or given.gradio_auth_path
    if given.allow_code:
        raise InputError("--allow-code", "--allow-code is refused: nothing here runs code that is typed into a page.")
    if len(tunnels) > 1:
        raise InputError(tunnels[1], f"{' and '.join(tunnels)} exclude each other: choose one tunnel.")
    if public and (given.listen or given.server_name):
        raise InputError(
            tunnels[0], f"{tunnels[0]} and --listen exclude each other: the tunnel needs no other machine."
        )
    if given.ngrok_options and not given.ngrok:
        raise InputError("--ngrok-options", "--ngrok-options goes with --ngrok TOKEN: give both, or leave it out.")
    if given.no_auth and public:
        raise InputError("--no-auth", f"--no-auth is refused with {tunnels[0]}: anyone could use the server.")
    if given.no_auth and not given.i_know_this_is_open:
        raise InputError("--no-auth", "--no-auth lets everyone in. If that is wanted, add --i-know-this-is-open.")
    if given.no_auth and (named or given.auth is not None):
        raise InputError("--no-auth", "--no-auth contradicts the flags that name accounts: leave out one of them.")
    if (given.tls_keyfile is None) != (given.tls_certfile is None):
        raise InputError("--tls-keyfile", "--tls-keyfile and --tls-certfile belong together: give both.")
    if public and given.tls_keyfile:
        raise InputError(
            "--tls-keyfile", f"--tls-keyfile is refused with {tunnels[0]}: the tunnel brings its own https."
        )
    if given.timeout_keep_alive < 1:
        raise InputError("--timeout-keep-alive", "--timeout-keep-alive must be at least 1 second.")
    if given.max_megapixels is not None and not 1 <= given.max_megapixels <= 256:
        raise InputError("--max-megapixels", f"--max-megapixels is {given.max_megapixels}: it must be 1 to 256.")

    if given.disk_reserve is not None and not 0 <= given.disk_reserve <= 10_000:
        raise InputError("--disk-reserve", f"--disk-reserve is {given.disk_reserve}: it must be 0 to 10000 GB.")


def _check_cors(origins: tuple[str, ...], pattern: str | None, *, secure: bool) -> None:
    flag = "--cors-allow-origins"
    for origin in origins:
        if "*" in origin:
            raise InputError(flag, f"{flag} {short(origin)} is refused: it would let every web site act as you.")
        if not re.fullmatch(r"https?://[^/\s?#@]+", origin):
            raise InputError(
                flag, f"{flag} {short(origin)} is no origin: write it as https://host or https://host:port."
            )
        if secure and not origin.startswith("https://"):
            raise InputError(flag, f"{flag} {short(origin)} is refused through a tunnel: use https.")
    if pattern is None:
        return
    try:
        found = re.compile(pattern)
    except re.error as error:
        raise InputError(
            f"{flag}-regex", f"{flag}-regex {short(pattern)} is no regular expression: {error}."
        ) from error
    if any(found.fullmatch(stranger) for stranger in ("https://stranger.invalid", "http://stranger.invalid", "null")):
        raise InputError(f"{flag}-regex", f"{flag}-regex {short(pattern)} is refused: it takes every web site.")


def parse_accounts(flag: str, text: str) -> list[GivenAccount]:
    """`name:password,name:password`; what stands behind a comma and has no colon belongs to the password before. The first is an
    administrator's. Raises InputError, which tells no password."""
    entries: list[str] = []
    for part in text.split(","):
        if ":" not in part and entries:
            entries[-1] += f",{part}"
        elif part.strip():
            entries.append(part)
    found = []
    for number, entry in enumerate(entries):
        name, _, password = entry.lstrip().partition(":")
        found.append(GivenAccount(name=checked_name(flag, name), password=password, admin=number == 0))
        if not password:
            raise InputError(flag, f"{flag} has no password for {short(name)}: write NAME:PASSWORD.")
    names = [account.name.casefold() for account in found]
    if len({*names}) < len(names):
        raise InputError(flag, f"{flag} names an account twice: give each name once.")
    return found


def checked_name(field_name: str, name: str) -> str:
    """The name of an account; raises InputError."""
    good = name.strip() == name and 0 < len(name) <= 64 and name.isprintable() and not set(name) & set(':,/\\"<>()')
    if not good or name.casefold() == "api":
        raise InputError(
            field_name,
            f"{field_name} {short(name)} is no name for an account: use up to 64 letters, digits, spaces, -, _, . or @, and not api.",
        )
    return name


def _accounts_in(path: Path | None) -> list[GivenAccount]:
    if path is None:
        return []
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeError) as error:
        raise InputError(
            "--gradio-auth-path", f'--gradio-auth-path: "{path}" cannot be read. Check the file.'
        ) from error
    return parse_accounts("--gradio-auth-path", ",".join(line.strip() for line in lines if line.strip()))


def _words(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _subpath(text: str) -> str:
    path = text.strip("/")
    if path and not re.fullmatch(r"[A-Za-z0-9._~-]+(/[A-Za-z0-9._~-]+)*", path) or ".." in path.split("/"):
        raise InputError("--subpath", f"--subpath {short(text)} is no path: use letters, digits, -, _ and /.")
    return f"/{path}" if path else ""


NO_FLAGS = Network()
"""As the server is reached when no flag says otherwise: from this machine alone."""
