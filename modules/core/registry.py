"""A table of named entries that its owner fills and then freezes."""

from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar

from modules.core.errors import UnknownName

T = TypeVar("T")


class Registry(Generic[T]):
    """Names and aliases, without regard to case, to entries; insertion order is kept.

    `kind` is the word for an entry in messages, usually the API field that selects it ("sampler_name").
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._entries: dict[str, T] = {}
        self._names: dict[str, str] = {}
        self._frozen = False

    def add(self, name: str, entry: T, aliases: Iterable[str] = ()) -> T:
        """Add `entry` under its name and aliases, all or none of them."""
        if self._frozen:
            raise ValueError(f"{self.kind} registry is frozen; {name!r} came too late")
        keys = list(dict.fromkeys(key.casefold() for key in (name, *aliases)))
        taken = [key for key in keys if key in self._names]
        if taken:
            raise ValueError(f"{self.kind} {name!r}: {', '.join(taken)} already names {self._names[taken[0]]!r}")
        self._entries[name] = entry
        self._names.update(dict.fromkeys(keys, name))
        return entry

    def name_of(self, name: str) -> str:
        """The display name for a name or alias; raises UnknownName with the nearest choices."""
        found = self._names.get(name.strip().casefold())
        if found is None:
            raise UnknownName.among(self.kind, name, self._entries)
        return found

    def get(self, name: str) -> T:
        """The entry for a name or alias; raises UnknownName with the nearest choices."""
        return self._entries[self.name_of(name)]

    def freeze(self) -> "Registry[T]":
        """Refuse further entries."""
        self._frozen = True
        return self

    def __contains__(self, name: str) -> bool:
        return name.strip().casefold() in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def items(self) -> Iterable[tuple[str, T]]:
        """Pairs of display name and entry, in order of addition."""
        return self._entries.items()
