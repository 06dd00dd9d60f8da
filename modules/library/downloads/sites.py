"""What the sites have in common: their addresses, tokens and answers."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from modules.core.settings import SettingsFile
from modules.library.downloads.addresses import parse_address
from modules.library.downloads.refusals import refusal
from modules.library.downloads.tokens import CIVITAI, HUGGING_FACE, Token, Tokens
from modules.library.downloads.transport import Transport, read_json

VARIABLE = "HF_ENDPOINT"
DEFAULTS = {HUGGING_FACE: "https://huggingface.co", CIVITAI: "https://civitai.com"}


def default_endpoint(site: str, environment: Mapping[str, str]) -> str:
    """The site's address where no setting says otherwise, without a slash at its end; raises InputError for one that is none."""
    given = environment.get(VARIABLE, "").strip() if site == HUGGING_FACE else ""
    return parse_address(given, VARIABLE).url.rstrip("/") if given else DEFAULTS[site]


class Sites:
    """The sites as the settings say, and a way to ask them."""

    def __init__(
        self, *, settings: SettingsFile, transport: Transport, tokens: Tokens, environment: Mapping[str, str]
    ) -> None:
        self.transport = transport
        self.tokens = tokens
        self._settings = settings
        self._environment = environment

    def endpoint(self, site: str) -> str:
        """The site's address, without a slash at its end; raises InputError for one that is none."""
        option = {HUGGING_FACE: "huggingface_endpoint", CIVITAI: "civitai_endpoint"}[site]
        given = getattr(self._settings.current.downloads, option).strip()
        return parse_address(given, option).url.rstrip("/") if given else default_endpoint(site, self._environment)

    def origin(self, site: str) -> str:
        """Scheme, host and port of the site."""
        return parse_address(self.endpoint(site)).origin

    def token(self, site: str) -> Token | None:
        """The site's token, if there is one for its address; "" is no site and has none."""
        return self.tokens.get(site, self.origin(site)) if site in DEFAULTS else None

    def ask(self, site: str, path: str, query: Mapping[str, Any] | None = None) -> Any:
        """The JSON that the site answers at `path`; raises RemoteError."""
        url = self.endpoint(site) + path + (f"?{urlencode(query, doseq=True)}" if query else "")
        token = self.token(site)
        answer, body = self.transport.read(url, token=token)
        if answer.status != 200:
            raise refusal(answer, site, named=token is not None)
        return read_json(body, answer.url)
