"""Brackets of a prompt that have no partner."""

import re
from collections.abc import Iterator

from modules.core.errors import short

CLOSES = {"(": ")", "[": "]", "{": "}"}
_OPENS = {close: open for open, close in CLOSES.items()}
_MARK = re.compile(r"\\.|[()\[\]{}]", re.DOTALL)
_COMMENT = re.compile(r"#[^\n]*")
_TAG = re.compile(r"<\w+:[^<>]*>")
_OPEN_TAG = re.compile(r"<(?:lora|lyco|hypernet):[^<>\n,]*(?=[<\n,]|$)")

Odd = tuple[int, int, str]
"""From which letter to which, and a sentence."""


def masked(text: str, *, keep_tags: bool = True) -> str:
    """The text with blanks for comments, and for tags of networks unless they are kept: letters keep their places."""

    def blank(match: re.Match[str]) -> str:
        return " " * len(match[0])

    found = _COMMENT.sub(blank, text)
    return found if keep_tags else _TAG.sub(blank, found)


def quoted(text: str, length: int = 24) -> str:
    """The beginning of a text, as it may stand in a sentence."""
    plain = "".join(letter if letter.isprintable() else "?" for letter in text)
    return f'"{plain}"' if len(plain) <= length else f'"{plain[:length].rstrip()}…"'


def odd_brackets(text: str, *, templates: bool = True) -> Iterator[Odd]:
    """Brackets that are opened or closed alone, the first of each kind; braces only where templates are read."""
    open_tag = _OPEN_TAG.search(masked(text))
    if open_tag:
        yield (*open_tag.span(), f"{short(open_tag[0])} is never closed: it is read as words. Put > behind it.")
    plain = masked(text, keep_tags=False)
    opened: dict[str, list[int]] = {open: [] for open in CLOSES}
    alone: dict[str, int] = {}
    for match in _MARK.finditer(plain):
        mark, at = match[0], match.start()
        if mark in opened:
            opened[mark].append(at)
        elif mark in _OPENS:
            if opened[_OPENS[mark]]:
                opened[_OPENS[mark]].pop()
            else:
                alone.setdefault(mark, at)
    for mark, places in opened.items():
        if places and (mark != "{" or templates):
            alone[mark] = places[0]
    for mark, at in sorted(alone.items(), key=lambda item: item[1]):
        if mark != "}" or templates:
            yield at, at + 1, _sentence(mark, plain, at)


def _sentence(mark: str, text: str, at: int) -> str:
    if mark in CLOSES:
        behind = text[at + 1 : at + 60].strip().split("\n")[0]
        where = f" before {quoted(behind)}" if behind else " at the end"
        does = {"(": "it weighs all that follows", "[": "it weakens all that follows", "{": "it is read as text"}[mark]
        return f"The {mark}{where} is never closed: {does}. Put {CLOSES[mark]} where it ends, or write \\{mark} for the sign."
    before = text[max(at - 60, 0) : at].strip().split("\n")[-1][-22:]
    where = f" behind {quoted(before)}" if before else " at the beginning"
    return f"The {mark}{where} closes nothing: it is read as text. Take it out, or write \\{mark} for the sign."
