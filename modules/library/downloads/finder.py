"""From what a user asks for to a plan: an address, a site's file, an entry of the start set."""

import email.message
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from modules.core.errors import InputError, UnknownName, short
from modules.library.downloads.addresses import Address, parse_address
from modules.library.downloads.checks import is_page, page_error
from modules.library.downloads.civitai import Civitai
from modules.library.downloads.hub import Hub, guess_kind
from modules.library.downloads.names import SINGLE, clean_name, given_name, model_name
from modules.library.downloads.plan import Plan, RemoteFile
from modules.library.downloads.refusals import refusal
from modules.library.downloads.sites import Sites
from modules.library.downloads.starters import Starter, read_starters
from modules.library.downloads.tokens import CIVITAI, HUGGING_FACE, LABELS
from modules.library.downloads.transport import Answer
from modules.requests.preprocessors import WeightFile

_HUB_PAGE = re.compile(r"/([\w.-]+/[\w.-]+)(?:/(?:blob|resolve|raw|tree)/([^/]+)(?:/(.+))?)?/?", re.ASCII)
_CIVITAI_PAGE = re.compile(r"/(?:[a-z]{2}/)?models/(\d{1,15})(?:/[^/]*)?/?", re.ASCII)
_CIVITAI_FILE = re.compile(r"/api/download/models/(\d{1,15})/?", re.ASCII)
ALIASES = {
    HUGGING_FACE: ("https://huggingface.co", "https://hf.co", "https://www.huggingface.co"),
    CIVITAI: ("https://civitai.com", "https://www.civitai.com"),
}


class Finder:
    """Searches the sites and plans downloads. Every method may raise InputError and RemoteError, with their sentences."""

    def __init__(self, sites: Sites) -> None:
        self.sites = sites
        self.hub = Hub(sites)
        self.civitai = Civitai(sites)
        self.starters = read_starters()

    def search(self, site: str, words: str) -> list[dict[str, Any]]:
        """What that site has for these words; a web address is looked up as what it names."""
        ask: dict[str, Callable[[str], list[dict[str, Any]]]] = {
            HUGGING_FACE: self.hub.search,
            CIVITAI: self.civitai.search,
        }
        if site not in ask:
            raise UnknownName.among("site", site, LABELS)
        if not words.strip() or len(words) > 200:
            raise InputError("query", f"query is {short(words)}: it must be 1 to 200 characters to search for.")
        return ask[site](words)

    def starter(self, entry: str) -> Plan:
        """The download of that entry of the start set."""
        found = self.entry(entry)
        if found.url:
            return self.address(found.url, kind=found.kind, name=found.name)
        return self.hub.plan(found.repo, file=found.file, kind=found.kind, name=found.name, into=found.into)

    def weights(self, weight: WeightFile, kind: str) -> Plan:
        """The download of a file, or a folder, that a part of the program needs."""
        if weight.url:
            return self.address(weight.url, kind=kind, name=weight.file)
        return self.hub.plan(weight.repo, file=weight.path or None, kind=kind, name=weight.file)

    def address(self, url: str, *, kind: str | None = None, name: str | None = None) -> Plan:
        """The download of that address: a file of Hugging Face or Civitai by its page, or any other file by itself."""
        address = parse_address(url)
        if name is not None:
            name = given_name(name)
        for site, planned in ((HUGGING_FACE, self._hub_address), (CIVITAI, self._civitai_address)):
            if address.origin in (self.sites.origin(site), *ALIASES[site]):
                found = planned(address, kind, name)
                if found:
                    return found
        return self._plain(address, kind, name)

    def entry(self, entry: str) -> Starter:
        """That entry of the start set; raises UnknownName."""
        for starter in self.starters:
            if starter.id == entry:
                return starter
        raise UnknownName.among("entry", entry, [starter.id for starter in self.starters])

    def _hub_address(self, address: Address, kind: str | None, name: str | None) -> Plan | None:
        page = _HUB_PAGE.fullmatch(address.target.partition("?")[0])
        if not page or page[1].startswith(("api/", "models/", "datasets/", "spaces/")):
            return None
        file = unquote(page[3]) if page[3] else None
        return self.hub.plan(page[1], file=file, kind=kind, name=name, revision=unquote(page[2] or "main"))

    def _civitai_address(self, address: Address, kind: str | None, name: str | None) -> Plan | None:
        path, _, query = address.target.partition("?")
        if file := _CIVITAI_FILE.fullmatch(path):
            return self.civitai.plan(int(file[1]), kind=kind, name=name)
        page = _CIVITAI_PAGE.fullmatch(path)
        if not page:
            return None
        wanted = parse_qs(query).get("modelVersionId", [""])[0]
        if not wanted:
            versions = self.civitai.model(int(page[1]))["versions"]
            if not versions:
                raise InputError("url", f"The model at {address.shown} has no version that can be downloaded.")
            return self.civitai.plan(versions[0]["id"], kind=kind, name=name)
        if not (wanted.isascii() and wanted.isdigit() and len(wanted) <= 15):
            raise InputError(
                "url", f"modelVersionId is {short(wanted)} in that address: it must be a number. Copy it again."
            )
        return self.civitai.plan(int(wanted), kind=kind, name=name)

    def _plain(self, address: Address, kind: str | None, name: str | None) -> Plan:
        """Ask once, for the headers alone: that tells at once if it cannot be had, and what it is called."""
        with self.sites.transport.open(address.url) as answer:
            if answer.status != 200:
                raise refusal(answer, "", named=False)
            said = name or _said_name(answer, address)
            if is_page(b"", answer.header("Content-Type")):
                raise page_error(said)
            size = answer.length
        target = model_name(said, "name" if name else "url")
        return Plan(
            site="",
            title=f"{target} from {address.host}",
            kind=kind or guess_kind(target),
            name=target,
            files=(RemoteFile(url=address.url, path=target, size=size),),
            page=address.shown,
        )

    def known_kind(self, kind: str | None) -> str | None:
        """`kind`; raises UnknownName."""
        if kind is not None and kind not in SINGLE:
            raise UnknownName.among("kind", kind, SINGLE)
        return kind


def _said_name(answer: Answer, address: Address) -> str:
    """The name in Content-Disposition if it is a model's, else the last part of the address; both cleaned."""
    message = email.message.Message()
    message["Content-Disposition"] = answer.header("Content-Disposition") or "none"
    said = message.get_filename()
    names = [clean_name(said)] if isinstance(said, str) and said else []
    names += [clean_name(unquote(urlsplit(place.target).path)) for place in (address, answer.url)]
    for name in names:
        try:
            return model_name(name)
        except InputError:
            continue
    return names[0]
