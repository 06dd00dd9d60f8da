"""Extra-network tags such as `<lora:name:0.8>`: taken out of the prompt, kept as data."""

import re
from dataclasses import dataclass

_TAG = re.compile(r"<(\w+):([^>]+)>")


@dataclass(frozen=True, kw_only=True)
class Tag:
    """`<kind:argument:argument:name=argument>`; what the arguments mean is up to the kind."""

    kind: str
    arguments: tuple[str, ...]
    named: tuple[tuple[str, str], ...] = ()


def take_tags(text: str) -> tuple[str, tuple[Tag, ...]]:
    """The prompt without its tags, and the tags in order. Linear in the length of the text."""
    end = text.rfind(">") + 1  # so that the search for a closing bracket always finds one
    tags = tuple(_tag(match[1], match[2]) for match in _TAG.finditer(text, 0, end))
    return _TAG.sub("", text[:end]) + text[end:], tags


def _tag(kind: str, content: str) -> Tag:
    items = content.split(":")
    named = dict(item.split("=") for item in items if item.count("=") == 1)
    return Tag(kind=kind, arguments=tuple(i for i in items if i.count("=") != 1), named=tuple(named.items()))
