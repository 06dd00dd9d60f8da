"""Access tokens of other sites: from the environment, or kept in a file that only this user may read."""

import contextlib
import json
import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from modules.core.errors import InputError, UnknownName
from modules.core.files import write_atomic

HUGGING_FACE, CIVITAI = "huggingface", "civitai"
LABELS = {HUGGING_FACE: "Hugging Face", CIVITAI: "Civitai"}
VARIABLES = {HUGGING_FACE: ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"), CIVITAI: ("CIVITAI_API_KEY", "CIVITAI_API_TOKEN")}
MAX_LENGTH = 500


@dataclass(frozen=True, kw_only=True)
class Token:
    """A secret, and the one origin (scheme, host, port) that it is sent to."""

    value: str = field(repr=False)
    origin: str


class Tokens:
    """One token a site. A token belongs to the address that the site had when it was given: it goes nowhere else, even if
    the setting is changed later."""

    def __init__(self, path: Path, environment: Mapping[str, str], origins: Mapping[str, str]) -> None:
        """`origins`: the address that the environment's token of each site is for."""
        self._path = path
        self._lock = threading.Lock()
        self._given: dict[str, Token] = {}
        for site, names in VARIABLES.items():
            value = next((environment[name].strip() for name in names if environment.get(name, "").strip()), "")
            if value and is_token(value):
                self._given[site] = Token(value=value, origin=origins[site])
        self._kept = self._read()

    def get(self, site: str, origin: str) -> Token | None:
        """The token of that site if it is for that origin; one that was kept comes before the environment's."""
        for token in (self._kept.get(site), self._given.get(site)):
            if token is not None and token.origin == origin:
                return token
        return None

    def keep(self, site: str, value: str, origin: str) -> None:
        """Keep a token for that site at that origin; "" forgets it. Raises InputError, which does not tell it, StorageError."""
        if site not in LABELS:
            raise UnknownName.among("site", site, LABELS)
        value = value.strip()
        if value and not is_token(value):
            raise InputError("token", "token must be letters, digits and signs without spaces. Copy it again.")
        with self._lock:
            kept = {name: token for name, token in self._kept.items() if name != site}
            if value:
                kept[site] = Token(value=value, origin=origin)
            text = json.dumps({name: {"token": token.value, "origin": token.origin} for name, token in kept.items()})
            write_atomic(self._path, text.encode(), private=True)
            self._kept = kept

    def state(self, site: str, origin: str) -> str | None:
        """Where the site's token comes from, "kept" or "environment"; None without one. Never the token."""
        token = self.get(site, origin)
        return None if token is None else "kept" if token is self._kept.get(site) else "environment"

    def _read(self) -> dict[str, Token]:
        try:
            stored = json.loads(self._path.read_text("utf-8"))
            found = {
                site: Token(value=stored[site]["token"], origin=stored[site]["origin"])
                for site in LABELS
                if site in stored and is_token(stored[site]["token"]) and isinstance(stored[site]["origin"], str)
            }
        except (OSError, ValueError, TypeError, KeyError, RecursionError):
            return {}
        if os.name != "nt":
            with contextlib.suppress(OSError):
                self._path.chmod(0o600)  # another program may have copied it here
        return found


def is_token(value: object) -> bool:
    """Whether that may stand in a header: visible ASCII."""
    return isinstance(value, str) and 0 < len(value) <= MAX_LENGTH and all("!" <= c <= "~" for c in value)
