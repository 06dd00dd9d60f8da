"""Who asks."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class User:
    """A person or program by name. `admin`: sees what everyone has, stops it, and changes what all share."""

    name: str
    admin: bool = False


OWNER = User(name="", admin=True)
"""Whoever sits at the machine, where nobody has to log in."""

RESERVED = ("", "api")
"""Names of jobs that were submitted without a login: by the page, and by programs."""
