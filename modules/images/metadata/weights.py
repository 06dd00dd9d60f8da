"""Other programs' ways to weigh words, written in A1111's: (words:1.2)."""

import re
from collections.abc import Iterable, Iterator

Run = tuple[str, float]
"""Words and their weight."""

LONGEST = 100_000
"""Longer prompts, which nothing draws, stay as they are."""

_NUMBERED = re.compile(r"(-?\d{1,4}(?:\.\d{0,9})?|-?\.\d{1,9})::")
_SUFFIX = re.compile(r"\+{1,50}|-{1,50}(?![\w-])|\d{1,4}(?:\.\d{0,9})?|\.\d{1,9}")


def weighted(runs: Iterable[Run]) -> str:
    """Runs as A1111's text; neighbours of one weight become one, and brackets among the words stay what they are: letters."""
    merged: list[list] = []
    for text, weight in runs:
        if merged and abs(merged[-1][1] - weight) < 1e-9:
            merged[-1][0] += text
        elif text:
            merged.append([text, weight])
    return "".join(_written(text, weight) for text, weight in merged)


def _written(text: str, weight: float) -> str:
    inner = text.strip()
    escaped = re.sub(r"([()\[\]])", r"\\\1", inner)
    if abs(weight - 1) > 1e-9 and inner.strip(","):
        escaped = f"({escaped}:{weight:.4f}".rstrip("0").rstrip(".") + ")"
    head = text[: len(text) - len(text.lstrip())]
    return head + escaped + (text[len(text.rstrip()) :] if inner else "")


def from_braces(prompt: str) -> str:
    """NovelAI's: {words} 1.05, [words] 1/1.05, 1.3::words:: a weight by its number."""
    return weighted(_braced(prompt)) if len(prompt) <= LONGEST else prompt


def _braced(prompt: str) -> Iterator[Run]:
    level, number, words, position = 0, 1.0, "", 0
    while position < len(prompt):
        letter = prompt[position]
        numbered = _NUMBERED.match(prompt, position) if letter in "-.0123456789" else None
        after = position and prompt[position - 1].isalnum()
        if numbered and not after:
            yield words, number * 1.05**level
            number, words, position = float(numbered[1]), "", numbered.end()
        elif prompt.startswith("::", position):
            yield words, number * 1.05**level
            number, words, position = 1.0, "", position + 2
        elif letter in "{}[]":
            yield words, number * 1.05**level
            level = max(-100, min(100, level + (1 if letter in "{]" else -1)))
            words, position = "", position + 1
        else:
            words, position = words + letter, position + 1
    yield words, number * 1.05**level


def from_suffixes(prompt: str) -> str:
    """InvokeAI's: word+ (1.1 for each), word-, (some words)1.2, (some words)++."""
    return weighted(_suffixed(prompt, 1.0, 0)) if len(prompt) <= LONGEST else prompt


def _suffixed(prompt: str, weight: float, depth: int) -> Iterator[Run]:
    position = 0
    while position < len(prompt):
        start = _bracket(prompt, position)
        if start is None or depth > 20:
            yield from _words(prompt[position:], weight)
            return
        yield from _words(prompt[position:start], weight)
        end = _closing(prompt, start)
        if end is None:
            yield prompt[start:], weight
            return
        suffix = _SUFFIX.match(prompt, end + 1)
        yield from _suffixed(prompt[start + 1 : end], weight * (_factor(suffix[0]) if suffix else 1), depth + 1)
        position = suffix.end() if suffix else end + 1


def _words(text: str, weight: float) -> Iterator[Run]:
    for part in re.split(r"([\s,]+)", text.replace("\\(", "(").replace("\\)", ")")):
        word = part.rstrip("+") if part.endswith("+") else part.rstrip("-")
        suffix = part[len(word) :]
        marked = word and suffix and len(suffix) <= 50
        yield (word, weight * _factor(suffix)) if marked else (part, weight)


def _factor(suffix: str) -> float:
    if suffix[0] in "+-":
        return (1.1 if suffix[0] == "+" else 0.9) ** len(suffix)
    return float(suffix)


def _bracket(text: str, position: int) -> int | None:
    """Where the next bracket opens that is not escaped."""
    found = re.compile(r"(?<!\\)\(").search(text, position)
    return found.start() if found else None


def _closing(text: str, start: int) -> int | None:
    level = 0
    for found in re.compile(r"(?<!\\)[()]").finditer(text, start):
        level += 1 if found[0] == "(" else -1
        if level == 0:
            return found.start()
    return None
