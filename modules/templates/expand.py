"""A template to a prompt: its choices made, its wildcards and variables filled in."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from lark import Token, Tree

from modules.core.errors import nearest
from modules.library.wildcards import Value, WildcardSet, weighted
from modules.templates.choosing import Chooser
from modules.templates.grammar import WILDCARD, is_template, parse, read_head

MOST_DEEP = 60
MOST_PARTS = 10_000
MOST_CHARACTERS = 100_000
MOST_CHOSEN = 1000
MAX_WARNINGS = 10

_WILDCARD = re.compile(WILDCARD)
_VARIABLE = re.compile(r"\$\{([^:{}]+)(?::([^{}]*))?\}")
_PLAIN = re.compile(r"[\w\-/*.]*\w[\w\-/*.]*")

Variables = dict[str, Tree[Token] | str]


@dataclass
class Work:
    """What one text has taken so far, and which wildcards are being filled in."""

    chooser: Chooser
    parts: int = 0
    characters: int = 0
    depth: int = 0

    @property
    def spent(self) -> bool:
        """Is it more than any sensible template takes?"""
        return self.parts > MOST_PARTS or self.characters > MOST_CHARACTERS or self.depth > MOST_DEEP


@dataclass
class Expander:
    """Fills templates in from these wildcards. `warnings` collects sentences for the user, each once."""

    wildcards: WildcardSet
    warnings: dict[str, None] = field(default_factory=dict)
    _trees: dict[str, Tree[Token]] = field(default_factory=dict)
    _known: dict[str, bool] = field(default_factory=dict)

    def expand(self, text: str, chooser: Chooser) -> str:
        """The prompt that a template comes to, in bounded time; raises nothing on any text."""
        return self._sequence(self._tree(text), {}, Work(chooser))

    def is_dynamic(self, text: str) -> bool:
        """Is there anything in it to be chosen or filled in?"""
        return is_template(text) and any(
            not isinstance(child, Token) or child.type != "TEXT" for child in self._tree(text).children
        )

    def _tree(self, text: str) -> Tree[Token]:
        if text not in self._trees:
            self._trees[text] = _only(parse(text, self._is_known))
        return self._trees[text]

    def _is_known(self, path: str) -> bool:
        if path not in self._known:
            pattern = _VARIABLE.sub("*", path)
            self._known[path] = bool(self.wildcards.names(pattern))
            if not self._known[path] and len(self.warnings) < MAX_WARNINGS and _PLAIN.fullmatch(path):
                near = nearest(path, self.wildcards.names())
                self.warnings[f"There is no wildcard __{path}__: it stays as text. {near}"] = None
        return self._known[path]

    def _sequence(self, tree: Tree[Token], variables: Variables, work: Work) -> str:
        found: list[str] = []
        for child in tree.children:
            work.parts += 1
            if isinstance(child, Token) and child.type == "TEXT":
                work.characters += len(child)
                found.append(str(child))
                continue
            work.depth += 1
            if isinstance(child, Token):
                found.append(self._wildcard(child, variables, work))
            elif not work.spent:
                found.append(getattr(self, f"_{child.data}")(child, variables, work))
            work.depth -= 1
        return "".join(found)

    def _wildcard(self, token: Token, variables: Variables, work: Work) -> str:
        match = _WILDCARD.fullmatch(token)
        assert match is not None
        path = _VARIABLE.sub(lambda found: self._plain(found[1].strip(), found[2], variables), match["path"])
        values = self.wildcards.values(path)
        if work.spent:
            self.warnings[f"The wildcard __{path}__ leads on without end: somewhere it stays as text."] = None
            return str(token)
        if not values:
            return str(token)
        place = work.chooser.one(match["sampler"], len(values), self.wildcards.weights(path))
        return self._text(values[place][1], {**variables, **_arguments(match["arguments"])}, work)

    def _text(self, text: str, variables: Variables, work: Work) -> str:
        """What one value of a wildcard comes to."""
        if is_template(text):
            return self._sequence(self._tree(text), variables, work)
        work.characters += len(text)
        return text

    def _variant(self, tree: Tree[Token], variables: Variables, work: Work) -> str:
        head = read_head(str(tree.children[0]))
        options = [_only(option) for option in tree.children[1:-1] if isinstance(option, Tree)]
        sampler = head.sampler
        if len(options) == 1 and (token := _lone_wildcard(options[0])) is not None:
            return self._several(token, sampler, head.least, head.most, head.separator, variables, work)
        if len(options) == 1:
            return self._sequence(_weighed(options[0])[1], variables, work) if head.least or not head.counted else ""
        weighed = [_weighed(option) for option in options]
        count = _count(work.chooser, sampler, head.least, head.most, len(options))
        places = work.chooser.several(sampler, [weight for weight, _ in weighed], count)
        return head.separator.join(self._sequence(weighed[place][1], variables, work) for place in places)

    def _several(
        self,
        token: Token,
        sampler: str,
        least: int,
        most: int | None,
        separator: str,
        variables: Variables,
        work: Work,
    ) -> str:
        """Several values of one wildcard, none twice."""
        match = _WILDCARD.fullmatch(token)
        assert match is not None
        path = _VARIABLE.sub(lambda found: self._plain(found[1].strip(), found[2], variables), match["path"])
        values: Sequence[Value] = self.wildcards.values(path)
        if not values:
            return str(token)
        sampler, inner = sampler or match["sampler"], {**variables, **_arguments(match["arguments"])}
        count = _count(work.chooser, sampler, least, most, len(values))
        places = work.chooser.several(sampler, [weight for weight, _ in values], count)
        return separator.join(self._text(values[place][1], inner, work) for place in places)

    def _setting(self, tree: Tree[Token], variables: Variables, work: Work) -> str:
        """`${name=value}`: chosen anew at each use, with `=!` now, with `?=` only if it has no value yet."""
        token, value = str(tree.children[0]), _only_tree(tree.children[1])
        now = token.endswith("!")
        name = token.removesuffix("!").removesuffix("=").removesuffix("?").removeprefix("${").strip()
        if "?=" in token and name in variables:
            return ""
        variables[name] = self._sequence(value, variables, work) if now else value
        return ""

    def _variable(self, tree: Tree[Token], variables: Variables, work: Work) -> str:
        name = str(tree.children[0]).removeprefix("${").strip()
        value = variables.get(name)
        if value is None and len(tree.children) > 2:
            value = next(child for child in tree.children[1:] if isinstance(child, Tree))
        if value is None:
            self.warnings[f"The prompt has no value for ${{{name}}}: it stays as text. Set it by ${{{name}=...}}."] = (
                None
            )
            return f"${{{name}}}"
        return value if isinstance(value, str) else self._sequence(value, variables, work)

    def _plain(self, name: str, default: str | None, variables: Variables) -> str:
        """A variable in a wildcard's name: only plain text counts."""
        value = variables.get(name, default)
        if isinstance(value, Tree):
            value = "".join(str(child) for child in value.children if isinstance(child, Token))
        return name if value is None else value.strip()


def _only(tree: Tree[Token]) -> Tree[Token]:
    """The sequence that a tree is made of."""
    return _only_tree(tree.children[0]) if tree.children else tree


def _only_tree(child: Tree[Token] | Token) -> Tree[Token]:
    assert isinstance(child, Tree)
    return child


def _lone_wildcard(tree: Tree[Token]) -> Token | None:
    """The wildcard that is all there is, white space aside."""
    parts = [child for child in tree.children if not (isinstance(child, Token) and not child.strip())]
    only = parts[0] if len(parts) == 1 else None
    return only if isinstance(only, Token) and only.type == "WILDCARD" else None


def _weighed(tree: Tree[Token]) -> tuple[float, Tree[Token]]:
    """An option's weight, and the option without it."""
    first = tree.children[0] if tree.children else None
    if not isinstance(first, Token) or first.type != "TEXT":
        return 1.0, tree
    weight, rest = weighted(str(first))
    return weight, Tree(tree.data, [Token("TEXT", rest), *tree.children[1:]])


def _count(chooser: Chooser, sampler: str, least: int, most: int | None, there: int) -> int:
    """How many of those that are there."""
    most = there if most is None else most
    least, most = sorted((min(least, there, MOST_CHOSEN), min(most, there, MOST_CHOSEN)))
    return chooser.number(sampler, least, most)


def _arguments(text: str | None) -> Variables:
    """The variables that a wildcard is given: `name=value, name=value`."""
    pairs = (pair.partition("=") for pair in (text or "").split(","))
    return {name.strip(): value.strip() for name, equals, value in pairs if equals}
