"""The grammar of prompt editing and alternation: which square brackets of a prompt are which.

Brackets nest; what is inside a pair decides what it is. Parentheses, square brackets that neither edit nor alternate,
brackets without a partner and everything around such a bracket are plain text (attention.py reads them later).
"""

import re
from collections.abc import Iterator
from functools import lru_cache

from lark import Lark, Token, Tree
from lark.common import LexerConf
from lark.exceptions import LarkError
from lark.lexer import Lexer

GRAMMAR = r"""
start: prompt
prompt: (TEXT | edit | alternation)*
edit: "[" prompt ":" (prompt ":")? WHEN "]"
alternation: "[" prompt ("|" prompt)+ "]"
%declare TEXT WHEN
"""

_MARK = re.compile(r"\\.|[\[\]():|\\]")  # an escaped character is none of the marks
_WHEN = re.compile(r"\s*[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?\s*")
_NAMES = {"[": "LSQB", "]": "RSQB", ":": "COLON", "|": "VBAR"}  # as lark names them


class NotReadable(LarkError):
    """A bar outside an alternation, or a backslash before a line break or the end: the prompt then is plain text."""


def parse(text: str) -> Tree[Token]:
    """The tree of a prompt, in linear time; raises LarkError for text that the language does not have."""
    return _parser().parse(text)


@lru_cache(maxsize=1)
def _parser() -> Lark:
    return Lark(GRAMMAR, parser="lalr", lexer=BracketLexer, maybe_placeholders=False)


class BracketLexer(Lexer):
    """Text to tokens: first the pairs of brackets that mean something, then what stands between their marks."""

    def __init__(self, conf: LexerConf) -> None:
        self._marks = {mark: Token(name, mark) for mark, name in _NAMES.items()}

    def lex(self, lexer_state: str, parser_state: object = None) -> Iterator[Token]:
        """The tokens of a text; it comes as a plain string, as lark does for lexers of this kind."""
        text = str(lexer_state)
        end = 0
        marks = _meaningful_marks(text)
        for position in sorted(marks):
            if position > end:
                yield Token("TEXT", text[end:position])
            end = position + 1
            yield self._marks[text[position]]
            if marks[position]:  # the colon before `when`
                end = text.index("]", position)
                yield Token("WHEN", text[position + 1 : end].strip())
        if end < len(text):
            yield Token("TEXT", text[end:])


def _meaningful_marks(text: str) -> dict[int, bool]:
    """The positions of the marks of edits and alternations; true for the colon before an edit's `when`."""
    found: dict[int, bool] = {}
    opened: list[int] = []  # where the open brackets stand
    inside: list[list[int] | None] = []  # the colons and bars directly inside each of them
    for match in _MARK.finditer(text):
        mark, position = match[0], match.start()
        if mark in "[(":
            opened.append(position)
            inside.append(None)
        elif mark in "])":
            if opened:
                start, marks = opened.pop(), inside.pop()
                if not _is_pair(text, start, marks, position):  # text, and only text may be open around it
                    _expect_no_bars(text, [*inside, marks])
                    opened.clear()
                    inside.clear()
                elif marks and text[start] == "[":
                    found.update(dict.fromkeys((start, *marks, position), False))
                    found[marks[-1]] = text[marks[-1]] == ":"
        elif mark in ":|":
            if opened:
                marks = inside[-1]
                if marks is None:
                    marks = inside[-1] = []
                marks.append(position)
            elif mark == "|":
                raise NotReadable("a bar outside brackets")
        elif mark == "\\":
            raise NotReadable("a backslash that escapes nothing")
    _expect_no_bars(text, inside)
    return found


def _is_pair(text: str, start: int, marks: list[int] | None, end: int) -> bool:
    """Do the brackets at `start` and `end`, with these marks between them, belong together?"""
    inside = "".join([text[position] for position in marks]) if marks else ""
    if text[start] == "(":
        return text[end] == ")" and inside in ("", ":")
    if text[end] != "]":
        return False
    if inside in (":", "::"):
        return bool(marks and _WHEN.fullmatch(text, marks[-1] + 1, end))
    return not inside.strip("|")


def _expect_no_bars(text: str, groups: list[list[int] | None]) -> None:
    if any(marks and any(text[position] == "|" for position in marks) for marks in groups):
        raise NotReadable("a bar outside an alternation")
