"""Passwords: kept as argon2 hashes (RFC 9106), compared in the same time whether the account is there or not."""

import secrets
import threading

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError

MEMORY, PASSES, LANES = 19_456, 2, 1  # KiB, and so on: what OWASP recommends at least
AT_ONCE = 2
WORD_LENGTH = 5
ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"


class Passwords:
    """Hashes and verifies, a few at a time: each takes memory and some time on purpose."""

    def __init__(self) -> None:
        self._hasher = PasswordHasher(time_cost=PASSES, memory_cost=MEMORY, parallelism=LANES)
        self._few = threading.BoundedSemaphore(AT_ONCE)
        self._nobodys = self.hashed(secrets.token_hex(16))

    def hashed(self, password: str) -> str:
        """As it is kept."""
        with self._few:
            return self._hasher.hash(password.encode(errors="surrogatepass"))

    def same(self, kept: str | None, password: str) -> bool:
        """Whether that hash is the password's; it takes as long without a hash."""
        with self._few:
            try:
                self._hasher.verify(kept or self._nobodys, password.encode(errors="surrogatepass"))
            except (Argon2Error, InvalidHashError):
                return False
        return kept is not None


def made_up(words: int = 4) -> str:
    """A password to be printed and typed: about five bits a letter."""
    return "-".join("".join(secrets.choice(ALPHABET) for _ in range(WORD_LENGTH)) for _ in range(words))
