"""Paths of the server's computer in answers."""

from pathlib import Path

from modules.core.user import User


def told_path(path: Path, user: User) -> str:
    """The whole path for administrators, as A1111's clients have it; the file's name for others."""
    return str(path) if user.admin else path.name
