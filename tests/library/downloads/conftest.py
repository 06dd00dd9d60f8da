"""A queue of downloads over a temporary folder and a local site."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from modules.core.paths import Paths
from modules.core.settings import SettingsFile
from modules.library.downloads.queue import Downloads
from modules.library.downloads.transport import Transport
from modules.library.hashes import HashCache
from tests.library.servers import Site, site
from tests.server import until


@pytest.fixture
def shop() -> Iterator[Site]:
    """One local site for all parts: Hugging Face, Civitai, files."""
    with site() as running:
        yield running


def make_downloads(data: Path, shop: Site, **options: Any) -> Downloads:
    """Not started. `options` go to Downloads, `allow_local` and `environment` aside; `settings` are options."""
    paths = Paths(data=data)
    settings = SettingsFile(paths.settings)
    chosen = {"huggingface_endpoint": shop.url, "civitai_endpoint": shop.url, **options.pop("settings", {})}
    settings.current = settings.current.changed(chosen)
    transport = Transport(allow_local=options.pop("allow_local", True), proxies={}, timeout=options.pop("timeout", 5.0))
    return Downloads(
        paths=paths,
        settings=settings,
        hashes=HashCache(paths.cache),
        environment=options.pop("environment", {}),
        transport=transport,
        **{"reserve": 0, "retry_wait": 0.01, **options},
    )


@pytest.fixture
def make(tmp_path: Path, shop: Site) -> Iterator[Callable[..., Downloads]]:
    """Makes and starts queues over `tmp_path`; all are closed at the end."""
    made: list[Downloads] = []

    def start(**options: Any) -> Downloads:
        found = make_downloads(tmp_path, shop, **options)
        found.start()
        made.append(found)
        return found

    yield start
    for downloads in made:
        downloads.close()


@pytest.fixture
def downloads(make) -> Downloads:
    """A running queue."""
    return make()


def ended(downloads: Downloads, download_id: str, *states: str) -> dict[str, Any]:
    """Wait until that download has one of the states (or is over)."""
    wanted = states or ("done", "failed", "cancelled", "paused")

    def found() -> dict[str, Any] | None:
        return next((r for r in downloads.all() if r["id"] == download_id and r["state"] in wanted), None)

    return until(found, 30, lambda: f"{downloads.all()}")


def left(folder: Path) -> list[str]:
    """The files below `folder`, by their paths."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
