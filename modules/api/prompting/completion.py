"""What the word at the cursor of a prompt may become."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from modules.api.prompting.stock import Stock
from modules.core.paths import HYPERNETWORK, LORA
from modules.core.prompt_sections import PromptCompletion
from modules.core.settings import Settings
from modules.library.cards import TAGS
from modules.library.styles import PLACE
from modules.library.tag_lists import Tag, TagIndex

SHORTEST = 2
"""Letters of a word that is completed."""

NETWORKS = {"lora": LORA, "lyco": LORA, "hypernet": HYPERNETWORK}
_NETWORK = re.compile(r"<(?:(\w+):)?([^<>]*)$")
_WILDCARD = re.compile(r"__((?:(?!__)[^\s,|{}])*)$")
_WORD = re.compile(r"\S+$")


@dataclass(frozen=True, kw_only=True)
class Completion:
    """`text` is shown, `insert` written; `note` tells more; `count` and `category` are a tag's."""

    kind: str
    text: str
    insert: str
    note: str = ""
    count: int = 0
    category: int = 0


def complete(before: str, negative: bool, stock: Stock, tags: TagIndex, settings: Settings) -> dict[str, Any]:
    """Completions of the end of `before`, the text up to the cursor; `length` letters of it are replaced by the chosen one."""
    limit = settings.prompt_completion.tac_maxResults
    if match := _NETWORK.search(before):
        return _answer(before[match.start() :], _networks(match[1], match[2], stock, settings), limit)
    if (match := _WILDCARD.search(before)) and before[: match.start()].count("__") % 2 == 0:
        return _answer(match[0], _wildcards(match[1], stock), limit)
    phrase = re.split(r"[,\n()\[\]{}|:<>]", before)[-1].lstrip()
    last = _WORD.search(phrase)
    for part in dict.fromkeys((phrase, last[0] if last else "")):
        if len(part) >= SHORTEST and (found := [*_words(part, negative, stock, tags, settings)]):
            return _answer(part, found, limit)
    return _answer("", (), limit)


def _answer(replaced: str, found: Iterable[Completion], limit: int) -> dict[str, Any]:
    chosen = [asdict(one) for one, _ in zip(found, range(limit), strict=False)]
    return {"length": len(replaced) if chosen else 0, "completions": chosen}


def _networks(kind: str | None, text: str, stock: Stock, settings: Settings) -> Iterator[Completion]:
    """Tags of networks. Without a kind its own name may be what is typed."""
    kinds = [NETWORKS[kind]] if kind in NETWORKS else [LORA, HYPERNETWORK] if kind is None else []
    options = settings.extra_networks
    for found in kinds:
        name = kind or TAGS[found]
        wanted = "" if kind is None and TAGS[found].startswith(text.casefold()) else text
        for card in _matching(stock.cards(found), wanted, ("tag", "stem", "title")):
            weight = card.get("weight", options.extra_networks_default_multiplier)
            more = card.get("activation", "")
            separator = options.extra_networks_add_text_separator or " "
            yield Completion(
                kind=name,
                text=card["tag"],
                insert=f"<{name}:{card['tag']}:{weight:g}>{separator + more if more else ''}",
                note=card.get("family", ""),
            )


def _wildcards(text: str, stock: Stock) -> Iterator[Completion]:
    found = stock.wildcards()
    for one in _matching([{"name": name} for name in found.names("**")], text, ("name",)):
        name = one["name"]
        yield Completion(kind="wildcard", text=name, insert=f"__{name}__", note=f"{len(found.values(name))} values")


def _words(text: str, negative: bool, stock: Stock, tags: TagIndex, settings: Settings) -> Iterator[Completion]:
    """What is written without marks of its own: embeddings and styles, a few of each, then tags."""
    embeddings = [{"name": entry.path.stem, "vectors": entry.vectors} for entry in stock.embeddings()]
    for one, _ in zip(_matching(embeddings, text, ("name",)), range(4), strict=False):
        count = f"{one['vectors']} vector{'s' if one['vectors'] > 1 else ''}"
        yield Completion(kind="embedding", text=one["name"], insert=one["name"], note=count)
    styles = [
        {"name": name, "text": re.sub(r"^[\s,]+|[\s,]+$", "", words.replace(PLACE, ""))}
        for name, style in stock.styles().items()
        if (words := style.negative_prompt if negative else style.prompt).strip()
    ]
    for one, _ in zip(_matching(styles, text, ("name",)), range(4), strict=False):
        if one["text"]:
            yield Completion(kind="style", text=one["name"], insert=one["text"], note=one["text"][:60])
    for hit in tags.search(text, settings.prompt_completion.tac_maxResults):
        yield Completion(
            kind="tag",
            text=hit.tag.name,
            insert=written(hit.tag, settings.prompt_completion),
            note=hit.alias,
            count=hit.tag.count,
            category=hit.tag.category,
        )


def written(tag: Tag, options: PromptCompletion) -> str:
    """A tag as the settings have it written."""
    text = tag.name
    if options.tac_replaceUnderscores and any(letter.isalnum() for letter in text):  # not of a face such as ^_^
        text = text.replace("_", " ")
    if options.tac_escapeParentheses:
        text = re.sub(r"[()\[\]]", r"\\\g<0>", text)
    return f"{text}, " if options.tac_appendComma else text


def _matching(entries: Iterable[Mapping[str, Any]], text: str, names: tuple[str, ...]) -> Iterator[Mapping[str, Any]]:
    """Those with `text` in one of their names, first those that begin with it."""
    wanted = text.strip().casefold()
    later = []
    for entry in entries:
        told = [str(entry.get(name, "")).casefold() for name in names]
        if any(name.startswith(wanted) for name in told):
            yield entry
        elif any(wanted in name for name in told):
            later.append(entry)
    yield from later
