"""A1111's `--ngrok-options`: a JSON object of names as ngrok's library has them, as words for ngrok's program."""

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from modules.core.errors import InputError, short

FLAG = "--ngrok-options"
WORDS: Mapping[str, str] = MappingProxyType(
    {
        "domain": "--domain",
        "hostname": "--domain",
        "compression": "--compression",
        "circuit_breaker": "--circuit-breaker",
        "oauth_provider": "--oauth",
        "oauth_allow_emails": "--oauth-allow-email",
        "oauth_allow_domains": "--oauth-allow-domain",
        "oauth_scopes": "--oauth-scope",
        "ip_restriction_allow_cidrs": "--cidr-allow",
        "ip_restriction_deny_cidrs": "--cidr-deny",
        "request_header_add": "--request-header-add",
        "request_header_remove": "--request-header-remove",
        "response_header_add": "--response-header-add",
        "response_header_remove": "--response-header-remove",
    }
)
"""Option -> the program's flag, once for each of several values."""

ELSEWHERE: Mapping[str, str] = MappingProxyType(
    {
        "authtoken": "give it to --ngrok, which keeps it from other users of this machine",
        "authtoken_from_env": "leave it out, and give the token to --ngrok",
        "basic_auth": "leave it out: the server asks for a login of its own",
    }
)


def ngrok_words(text: str | None) -> tuple[str, ...]:
    """The words; raises InputError for what is no such object, and for an option that is not known."""
    if not text:
        return ()
    try:
        options = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(FLAG, f'{FLAG} {short(text)} is no JSON: write \'{{"domain": "name.ngrok.app"}}\'.') from error
    if not isinstance(options, dict):
        raise InputError(FLAG, f'{FLAG} {short(text)} is no JSON object: write \'{{"domain": "name.ngrok.app"}}\'.')
    found: list[str] = []
    for name, value in options.items():
        if name in ELSEWHERE:
            raise InputError(FLAG, f"{FLAG} holds {name}: {ELSEWHERE[name]}.")
        if name not in WORDS:
            raise InputError(
                FLAG, f"{FLAG} holds {short(name)}, which is not known here. It is one of {', '.join(WORDS)}."
            )
        found += [f"{WORDS[name]}={each}" for each in _values(name, value)]
    return tuple(found)


def _values(name: str, value: Any) -> list[str]:
    each = value if isinstance(value, list) else [value]
    if not each or not all(isinstance(one, str | float | int) and str(one).isprintable() and str(one) for one in each):
        raise InputError(
            FLAG,
            f"{FLAG} holds {short(value)} as {name}: it must be a text, a number, true or false, or a list of them.",
        )
    return [str(one).lower() if isinstance(one, bool) else str(one) for one in each]
