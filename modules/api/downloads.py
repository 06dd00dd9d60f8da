"""Our own routes for getting models: the queue, searching the sites, the start set, tokens."""

from typing import Any

from fastapi import APIRouter

from modules.api.bodies import Body
from modules.core.errors import InputError, UnknownName
from modules.core.validation import Text, Whole
from modules.library.downloads.names import KINDS, SINGLE
from modules.library.downloads.plan import Plan
from modules.library.downloads.queue import Downloads
from modules.library.downloads.starters import Starter
from modules.library.downloads.tokens import LABELS

WAYS = ("url", "repo", "civitai_version", "entry")


class DownloadBody(Body):
    """`POST /atelier/downloads`: exactly one of `url`, `repo` (with `file`, or without for the diffusers folder),
    `civitai_version` (with `civitai_file`, or without for its main file) and `entry` (of the start set; `with_parts`: and what it
    needs besides, as far as that is not here)."""

    url: Text | None = None
    repo: Text | None = None
    file: Text | None = None
    revision: Text = "main"
    civitai_version: Whole | None = None
    civitai_file: Whole | None = None
    entry: Text | None = None
    with_parts: bool = False
    kind: Text | None = None
    name: Text | None = None

    def to_plans(self, downloads: Downloads) -> list[Plan]:
        """What is to be fetched, in that order; raises InputError, RemoteError."""
        main = self._plan(downloads)
        if not (self.entry and self.with_parts):
            return [main]
        finder = downloads.finder
        needed = [finder.entry(part) for part in finder.entry(self.entry).needs]
        return [main, *(finder.starter(part.id) for part in needed if not downloads.has(part.kind, part.saved_as))]

    def _plan(self, downloads: Downloads) -> Plan:
        finder, kind = downloads.finder, downloads.finder.known_kind(self.kind or None)
        given = [way for way in WAYS if getattr(self, way) not in (None, "")]
        if len(given) != 1:
            said = ", ".join(given) if given else "none of them"
            raise InputError("url", f"A download wants one of {', '.join(WAYS)}: {said} was given.")
        name = self.name or None
        if self.url:
            return finder.address(self.url, kind=kind, name=name)
        if self.repo:
            return finder.hub.plan(self.repo, file=self.file or None, kind=kind, name=name, revision=self.revision)
        if self.civitai_version is not None:
            checked_id("civitai_version", self.civitai_version)
            return finder.civitai.plan(self.civitai_version, file_id=self.civitai_file, kind=kind, name=name)
        return finder.starter(self.entry or "")


class TokenBody(Body):
    """`POST /atelier/tokens`: the token of a site, "" to forget it."""

    site: Text
    token: Text


def build_downloads(downloads: Downloads) -> APIRouter:
    """The routes below `/atelier`."""
    router = APIRouter()
    _add_queue(router, downloads)
    _add_finding(router, downloads)
    _add_tokens(router, downloads)
    return router


def _add_queue(router: APIRouter, downloads: Downloads) -> None:
    @router.get("/atelier/downloads")
    def all_downloads() -> dict[str, Any]:
        return {"downloads": downloads.all()}

    @router.post("/atelier/downloads")
    def add(body: DownloadBody) -> dict[str, Any]:
        main, *parts = body.to_plans(downloads)
        report = downloads.add(main)
        return {**report, "parts": [added for added in map(downloads.add_missing, parts) if added]}

    @router.post("/atelier/downloads/clear")
    def clear() -> dict[str, Any]:
        downloads.clear()
        return {"downloads": downloads.all()}

    @router.post("/atelier/downloads/{download_id}/{action}")
    def act(download_id: str, action: str) -> dict[str, Any]:
        return downloads.act(download_id, action)


def _add_finding(router: APIRouter, downloads: Downloads) -> None:
    @router.get("/atelier/catalogue")
    def catalogue() -> dict[str, Any]:
        """The start set; sizes are about right."""
        return {
            "kinds": [{"kind": kind, "label": label} for kind, label in KINDS.items() if kind in SINGLE],
            "sites": [{"site": site, "label": label} for site, label in LABELS.items()],
            "models": [entry_of(starter, downloads) for starter in downloads.finder.starters],
        }

    @router.get("/atelier/search")
    def search(site: str, query: str) -> dict[str, Any]:
        return {"found": downloads.finder.search(site, query)}

    @router.get("/atelier/search/huggingface")
    def repository(repo: str, revision: str = "main") -> dict[str, Any]:
        """The models in a repository."""
        return downloads.finder.hub.files(repo, revision)

    @router.get("/atelier/search/civitai/{model_id}")
    def civitai_model(model_id: int) -> dict[str, Any]:
        """A model's versions and files."""
        return downloads.finder.civitai.model(checked_id("model_id", model_id))

    @router.get("/atelier/search/civitai/by-hash/{digest}")
    def civitai_by_hash(digest: str) -> dict[str, Any]:
        """The version that has the file of that hash, as Civitai describes it."""
        return downloads.finder.civitai.by_hash(digest)


def _add_tokens(router: APIRouter, downloads: Downloads) -> None:
    def known() -> dict[str, Any]:
        sites = downloads.sites
        return {
            site: {
                "label": label,
                "host": sites.origin(site),
                "token": downloads.tokens.state(site, sites.origin(site)),
            }
            for site, label in LABELS.items()
        }

    @router.get("/atelier/tokens")
    def tokens() -> dict[str, Any]:
        """Where each site's token comes from; never the token."""
        return known()

    @router.post("/atelier/tokens")
    def keep(body: TokenBody) -> dict[str, Any]:
        if body.site not in LABELS:
            raise UnknownName.among("site", body.site, LABELS)
        downloads.tokens.keep(body.site, body.token, downloads.sites.origin(body.site))
        return known()


def entry_of(starter: Starter, downloads: Downloads) -> dict[str, Any]:
    """An entry of the start set, and whether a file of its name is here."""
    return {
        **starter.model_dump(exclude={"file", "url", "name", "repo", "into"}),
        "kind_label": KINDS[starter.kind],
        "here": downloads.has(starter.kind, starter.saved_as),
        "page": f"https://huggingface.co/{starter.repo}" if starter.repo else starter.url,
    }


def checked_id(field: str, number: int) -> int:
    """A number of Civitai's; raises InputError."""
    if not 0 < number < 10**15:
        raise InputError(field, f"{field} is {number}: it must be a whole number from 1 on.")
    return number
