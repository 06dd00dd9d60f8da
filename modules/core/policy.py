"""What is allowed where: on this machine alone, in a local network, through a tunnel."""

from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

Exposure = Literal["home", "lan", "tunnel"]

MB = 2**20
GB = 2**30
HOUR = 3600


@dataclass(frozen=True, kw_only=True)
class Policy:
    """One column of the table in docs/sharing.md. Sizes in bytes, times in seconds, pictures in pixels.

    `session`: how long a login lasts, from its last use if `idle`, else from its beginning. `uploads`: what is kept of pictures sent before their jobs, of all users together; `uploads_each`: of what each sends in an hour. `tries`: wrong passwords a minute that
    all visitors together may send. `reserve`: what stays free on the disk.
    """

    exposure: Exposure
    login: bool
    session: int
    idle: bool = False
    tries: int | None = None
    api: bool = True
    api_passwords: bool = True
    schema: Literal["all", "admin", "none"] = "all"
    downloads: bool = True
    paths: bool = True
    pickles: bool = True
    queued: int = 500
    queued_each: int = 500
    pixels: int = 16 * MB
    batch: int = 16
    n_iter: int = 100
    steps: int = 150
    body: int = 64 * MB
    prompt: int = 20_000
    uploads: int = 4096 * MB
    uploads_each: int = 4096 * MB
    reserve: int = GB


POLICIES = MappingProxyType(
    {
        "home": Policy(exposure="home", login=False, session=30 * 24 * HOUR),
        "lan": Policy(
            exposure="lan",
            login=True,
            session=12 * HOUR,
            idle=True,
            schema="admin",
            queued=200,
            queued_each=20,
            pixels=8 * MB,
            batch=8,
            n_iter=32,
            body=32 * MB,
            prompt=10_000,
            uploads=1024 * MB,
            uploads_each=256 * MB,
            reserve=2 * GB,
        ),
        "tunnel": Policy(
            exposure="tunnel",
            login=True,
            session=12 * HOUR,
            tries=20,
            api=False,
            api_passwords=False,
            schema="none",
            downloads=False,
            paths=False,
            pickles=False,
            queued=50,
            queued_each=5,
            pixels=4 * MB,
            batch=4,
            n_iter=8,
            steps=100,
            body=16 * MB,
            prompt=5000,
            uploads=256 * MB,
            uploads_each=64 * MB,
        ),
    }
)

HOME = POLICIES["home"]
