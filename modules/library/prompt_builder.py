"""The words of the prompt builder, from a YAML file that the user may have: category -> words, or category -> group -> words."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from modules.core.paths import Paths
from modules.library.walk import Stamp, stamp_of

SHIPPED = Path(__file__).with_suffix(".yaml")
MOST_BYTES = 2**20
MOST_WORDS = 5000
LONGEST = 500
"""Characters of a word, or of a name."""


class Broken(ValueError):
    """What is wrong with the file, and in which line."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(f"line {line}: {message}")


@dataclass(frozen=True)
class Group:
    """Words that stand together; `name` is "" where a category has no groups."""

    name: str
    words: tuple[str, ...]


@dataclass(frozen=True)
class Category:
    """A category and its groups."""

    name: str
    groups: tuple[Group, ...]


@dataclass(frozen=True, kw_only=True)
class Builder:
    """What there is to choose from; `trouble` says in a sentence why the user's own file is not read, "" if it is."""

    categories: tuple[Category, ...]
    own: bool = False
    trouble: str = ""


class PromptBuilder:
    """Reads `prompt-builder.yaml` of the data folder, without one the shipped words; again when it changes. Never raises."""

    def __init__(self, paths: Paths) -> None:
        self._file = paths.prompt_builder
        self._lock = threading.Lock()
        self._known: tuple[Stamp | None, Builder] | None = None

    def look(self) -> Builder:
        """The words as they are now."""
        with self._lock:
            stamp = self._stamp()
            if self._known is None or self._known[0] != stamp:
                self._known = stamp, self._read(stamp)
            return self._known[1]

    def _stamp(self) -> Stamp | None:
        try:
            return stamp_of(self._file.stat())
        except OSError:
            return None

    def _read(self, stamp: Stamp | None) -> Builder:
        if stamp is None:
            return Builder(categories=shipped())
        try:
            if stamp.size > MOST_BYTES:
                raise ValueError(f"it is larger than {MOST_BYTES // 2**20} MB")
            return Builder(categories=parsed(self._file.read_bytes().decode("utf-8-sig")), own=True)
        except UnicodeDecodeError:
            why = "it is not UTF-8"
        except OSError as error:
            why = error.strerror or "the file cannot be read"
        except (ValueError, RecursionError) as error:
            why = str(error) or "it is nested without end"
        return Builder(
            categories=shipped(),
            trouble=f'"{self._file.name}" is not read, {why}. Mend it or take it away; the words that came with the program are shown.',
        )


def shipped() -> tuple[Category, ...]:
    """The words that came with the program."""
    return parsed(SHIPPED.read_text("utf-8"))


def parsed(text: str) -> tuple[Category, ...]:
    """The categories of a file; raises Broken."""
    try:
        node = yaml.compose(text, yaml.CSafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise Broken(mark.line + 1 if mark else 1, error.problem or "it is no YAML") from error
    except yaml.YAMLError as error:
        raise Broken(1, " ".join(str(error).split())[:200]) from error
    if node is None:
        raise Broken(1, "it holds no categories")
    left = [MOST_WORDS]
    return tuple(
        Category(name, tuple(_groups(value, left)))
        for name, value in _pairs(node, "categories such as subject: [a cat]")
    )


def _groups(node: Any, left: list[int]) -> Iterator[Group]:
    if isinstance(node, yaml.MappingNode):
        for name, value in _pairs(node, "groups"):
            yield Group(name, _words(value, left))
    elif not _is_empty(node):
        yield Group("", _words(node, left))


def _pairs(node: Any, what: str) -> Iterator[tuple[str, Any]]:
    if not isinstance(node, yaml.MappingNode):
        raise Broken(_line(node), f"here should be {what}")
    for key, value in node.value:
        yield _text(key, "a name"), value


def _words(node: Any, left: list[int]) -> tuple[str, ...]:
    if _is_empty(node):
        return ()
    if not isinstance(node, yaml.SequenceNode):
        raise Broken(_line(node), "here should be a list of words, such as [a cat, a dog]")
    left[0] -= len(node.value)
    if left[0] < 0:
        raise Broken(_line(node), f"there are more than {MOST_WORDS} words")
    return tuple(_text(word, "a word: quote it if it has : or { in it") for word in node.value)


def _text(node: Any, what: str) -> str:
    text = node.value.strip() if isinstance(node, yaml.ScalarNode) else ""
    if not 1 <= len(text) <= LONGEST:
        raise Broken(_line(node), f"here should be {what}")
    return text


def _is_empty(node: Any) -> bool:
    return isinstance(node, yaml.ScalarNode) and node.tag == "tag:yaml.org,2002:null"


def _line(node: Any) -> int:
    return node.start_mark.line + 1
