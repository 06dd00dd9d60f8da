"""The grammar of prompt templates: which braces, bars and underscores of a prompt are which.

Braces nest. A pair is a variant if it holds a bar, a number of choices before `$$`, or nothing but a wildcard that is known; every
other brace, bar and underscore is plain text, so that prompts that were never meant as templates stay what they are.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache

from lark import Lark, Token, Tree
from lark.common import LexerConf
from lark.lexer import Lexer

GRAMMAR = r"""
start: sequence
sequence: (TEXT | WILDCARD | variant | setting | variable)*
variant: OPEN option ("|" option)* CLOSE
option: sequence
setting: SET sequence CLOSE
variable: GET (":" sequence)? CLOSE
%declare TEXT WILDCARD OPEN CLOSE SET GET
"""

MOST_NESTED = 30
"""Braces deeper than this are text."""

HEADER = (
    r"\s{0,9}(?P<count>(?P<least>[0-9]{1,6})(?P<range>-(?P<most>[0-9]{1,6})?)?|-(?P<upto>[0-9]{1,6})?)\s{0,9}\$\$"
    r"(?:(?P<separator>[^${}|]{0,100})\$\$)?"
)
NAME = r"[\w\-.]{1,100}"
PATH = r"(?:(?!__)[\w\-.*/+ ]|\$\{" + NAME + r"(?::[^{}]{0,100})?\}){1,200}?"
WILDCARD = r"__(?P<sampler>[~@!]?)(?P<path>" + PATH + r")(?:\((?P<arguments>[^(){}]{0,1000})\))?__"

_MARK = re.compile(r"\\[{}|$]|\$\{|[{}|]|" + WILDCARD)
_OPEN = re.compile(r"[~@!]?(?:" + HEADER + ")?")
_CHOICES = re.compile(HEADER)
_SET = re.compile(r"\s{0,9}" + NAME + r"\s{0,9}\??=!?")
_GET = re.compile(r"\s{0,9}" + NAME + r"\s{0,9}(?=[:}])")


@dataclass
class _Pair:
    """An open brace: where it stands and its opening ends, and what was found directly inside."""

    start: int
    end: int
    kind: str
    bars: list[int] = field(default_factory=list)
    wildcards: list[tuple[int, int]] = field(default_factory=list)


def is_template(text: str) -> bool:
    """May there be anything in it but text?"""
    return "{" in text or "__" in text


def parse(text: str, known: Callable[[str], bool]) -> Tree[Token]:
    """The tree of a template, in linear time; raises nothing on any text. `known` tells which wildcards there are: others are text."""
    return _parser().parse(_Source(text, known))  # type: ignore[arg-type]  # handed on to the lexer as it is


@dataclass(frozen=True)
class _Source:
    """A text with what its lexer needs to know of the world."""

    text: str
    known: Callable[[str], bool]


@lru_cache(maxsize=1)
def _parser() -> Lark:
    return Lark(GRAMMAR, parser="lalr", lexer=TemplateLexer, maybe_placeholders=False)


class TemplateLexer(Lexer):
    """Text to tokens: first the marks that mean something, then what stands between them."""

    def __init__(self, conf: LexerConf) -> None:
        pass

    def lex(self, lexer_state: _Source, parser_state: object = None) -> Iterator[Token]:
        """The tokens of a source; it comes as it was given, as lark does for lexers of this kind."""
        text, end = lexer_state.text, 0
        for start, stop, name in sorted(_marks(lexer_state)):
            if start > end:
                yield Token("TEXT", text[end:start])
            yield Token(name, text[start:stop])
            end = stop
        if end < len(text):
            yield Token("TEXT", text[end:])


def _marks(source: _Source) -> list[tuple[int, int, str]]:
    """(start, end, token's name) of every mark that means something."""
    text = source.text
    found: list[tuple[int, int, str]] = []
    opened: list[_Pair] = []
    position = 0
    while match := _MARK.search(text, position):
        mark, start = match[0], match.start()
        position = match.end()
        if mark.startswith("__"):
            if source.known(match["path"]):
                found.append((start, position, "WILDCARD"))
                if opened:
                    opened[-1].wildcards.append((start, position))
            else:
                position = start + 2  # its end may be another one's beginning
        elif mark in ("{", "${"):
            pair = _opened(text, start, position, mark)
            opened.append(pair)
            position = pair.end
        elif mark == "|" and opened:
            opened[-1].bars.append(start)
        elif mark == "}" and opened:
            found += _closed(text, opened.pop(), start, len(opened))
    return found


def _opened(text: str, start: int, end: int, mark: str) -> _Pair:
    pattern = _OPEN if mark == "{" else _SET if (setting := _SET.match(text, end)) else _GET
    match = pattern.match(text, end) if mark == "{" or not setting else setting
    kind = "variant" if mark == "{" else "text" if match is None else "setting" if pattern is _SET else "variable"
    return _Pair(start, match.end() if match else end, kind)


def _closed(text: str, pair: _Pair, end: int, outer: int) -> Iterator[tuple[int, int, str]]:
    """The marks of a pair of braces that ends there, if it means anything."""
    if outer >= MOST_NESTED or pair.kind == "text":
        return
    if pair.kind == "variant":
        head = text[pair.start + 1 : pair.end]
        alone = any((a, b) == (pair.end, end) for a, b in pair.wildcards[:1])
        if not (pair.bars or "$$" in head or alone):
            return
        yield pair.start, pair.end, "OPEN"
        yield from ((bar, bar + 1, "VBAR") for bar in pair.bars)
    elif pair.kind == "setting":
        yield pair.start, pair.end, "SET"
    else:
        yield pair.start, pair.end, "GET"
        if text[pair.end] == ":":
            yield pair.end, pair.end + 1, "COLON"
    yield end, end + 1, "CLOSE"


@dataclass(frozen=True, kw_only=True)
class Head:
    """How a variant chooses: `sampler` is "", ~ (random), @ (in turn) or ! (every combination); so many of its options, joined."""

    sampler: str = ""
    least: int = 1
    most: int | None = 1
    separator: str = ","
    counted: bool = False


def read_head(token: str) -> Head:
    """What a variant's opening, `{2$$ and $$`, says. `most` is None for as many as there are."""
    sampler = token[1:2] if token[1:2] in ("~", "@", "!") else ""
    choices = _CHOICES.search(token)
    if not choices:
        return Head(sampler=sampler)
    least, most = choices["least"], choices["most"] or choices["upto"]
    if least and not choices["range"]:
        most = least
    separator = choices["separator"]
    return Head(
        sampler=sampler,
        least=int(least or 1),
        most=int(most) if most else None,
        separator="," if separator is None else separator,
        counted=True,
    )
