"""Logging in: by password, by a session's cookie, by an API token; and the accounts that there are."""

import asyncio
import base64
import binascii
import hashlib
import hmac
import logging
import secrets
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from modules.api.accounts.passwords import AT_ONCE, Passwords, made_up
from modules.api.accounts.store import Account, AccountStore, Token
from modules.api.accounts.throttle import Throttle
from modules.core.errors import Forbidden, InputError, LoginNeeded, NotFound, StorageError, short
from modules.core.network import NO_FLAGS, GivenAccount, Network, checked_name
from modules.core.user import User

log = logging.getLogger(__name__)

ADMIN = "admin"
LEAST, MOST = 8, 1000  # letters of a password
SEEN_EVERY = 60.0  # seconds between two notes that a session is used
MAX_KNOWN = 1000
TOKEN_SIGN = "atl_"
WRONG = "Name or password is wrong."
Found = TypeVar("Found")


@dataclass(frozen=True, kw_only=True)
class Caller:
    """Who asks, and by what: `alive` tells whether that still holds, for answers that go on for long."""

    user: User
    token: bool = False
    alive: Callable[[], bool] = lambda: True


class Accounts:
    """Those in the store, and those that the command line gives for this run. All methods may be called from any thread.

    `made`: the password that was made up because nobody had an account; `once`: the secret of the link that logs in one time.
    """

    def __init__(self, path: Path, network: Network = NO_FLAGS, clock: Callable[[], float] = time.time) -> None:
        self.policy = network.policy
        self.store = AccountStore(path)
        self.made: str | None = None
        self.once: str | None = None
        self._clock = clock
        self._lock = threading.RLock()
        self._passwords = Passwords()
        self._throttle = Throttle(self.policy.tries)
        self._given = self._hashed(network.accounts)
        self._programs = self._hashed(network.api_accounts)
        self._key = secrets.token_bytes(32)
        self._known: dict[bytes, tuple[str, bool]] = {}  # digests of names and passwords that were right
        self._noted: dict[str | int, float] = {}  # when sessions and tokens were last noted as used
        self._notes = ThreadPoolExecutor(1, "accounts")  # nobody waits for the disk to have them
        self._logins = ThreadPoolExecutor(AT_ONCE, "logins")
        if self.policy.login:
            self._begin()

    def close(self) -> None:
        """Close the store."""
        self._notes.shutdown()
        self._logins.shutdown(cancel_futures=True)
        self.store.close()

    def _hashed(self, accounts: tuple[GivenAccount, ...]) -> dict[str, Account]:
        return {
            a.name.casefold(): Account(name=a.name, admin=a.admin, hash=self._passwords.hashed(a.password), given=True)
            for a in accounts
        }

    def _begin(self) -> None:
        """Someone can log in; logins of what was given to an earlier run are over, through a tunnel all."""
        tunnel = self.policy.exposure == "tunnel"
        kept = [account.name for account in self.store.accounts() if account.name.casefold() not in self._given]
        self.store.end_sessions(unless=[] if tunnel else kept)
        if not any(account.admin for account in self.accounts()):
            self.made = made_up(6 if tunnel else 4)
            self._given |= self._hashed((GivenAccount(name=ADMIN, password=self.made, admin=True),))
        self.once = secrets.token_urlsafe(24)

    # -- logging in --

    async def apart(self, act: Callable[..., Found], *given: object) -> Found:
        """What that gives, which looks at passwords: in threads of its own, so that no other request waits behind those who log in."""
        return await asyncio.get_running_loop().run_in_executor(self._logins, act, *given)

    def log_in(self, name: str, password: str, address: str) -> str:
        """The secret of a new session. Raises LoginNeeded, TooManyTries."""
        return self._new_session(self._checked(name, password, address).name)

    def redeem(self, once: str, address: str) -> str:
        """The same by the link that is good for one time: an administrator's session."""
        self._throttle.begin("once", address)
        with self._lock:
            if self.once is None or not hmac.compare_digest(self.once.encode(), once.encode(errors="replace")):
                raise LoginNeeded(
                    "This link was used before, or is of an earlier start. Log in with name and password."
                )
            self.once = None
        self._throttle.succeeded("once", address)
        return self._new_session(next(account.name for account in self.accounts() if account.admin))

    def log_out(self, secret: str) -> None:
        """End that session."""
        self.store.end(_digest(secret))

    def _new_session(self, name: str) -> str:
        secret, now = secrets.token_urlsafe(32), self._clock()
        self.store.end_sessions(made_before=now - self.policy.session)
        self.store.begin(_digest(secret), name, now)
        return secret

    def _checked(self, name: str, password: str, address: str, programs: bool = False) -> Account:
        with self._throttle.turn(address):
            self._throttle.begin(name, address)
            given = self._programs.get(name.casefold()) if programs else None
            account = given or self.account(name)
            if not self._passwords.same(account.hash if account else None, password[: MOST + 1]) or account is None:
                raise LoginNeeded(WRONG)
            self._throttle.succeeded(name, address)
            return account

    # -- who asks --

    def by_session(self, secret: str) -> Caller | None:
        """Who has that session, if it is not over."""
        digest = _digest(secret)
        user = self._session_user(digest)
        return Caller(user=user, alive=lambda: self._session_user(digest) == user) if user else None

    def _session_user(self, digest: str) -> User | None:
        session, now = self.store.session(digest), self._clock()
        if session is None:
            return None
        seen = max(session.seen, self._noted.get(digest, 0.0))
        if now - (seen if self.policy.idle else session.made) > self.policy.session:
            return None
        account = self.account(session.name)
        if account is None:
            return None
        self._note(self.store.see, digest, session.seen, now)
        return User(name=account.name, admin=account.admin)

    def by_header(self, authorization: str, address: str) -> Caller | None:
        """Who sends that Authorization header: Bearer with a token, Basic with a token or a password. Raises LoginNeeded,
        TooManyTries."""
        kind, _, value = authorization.partition(" ")
        if kind.lower() == "bearer":
            return self._by_token(value.strip(), address)
        if kind.lower() != "basic":
            return None
        try:
            name, colon, password = base64.b64decode(value.strip(), validate=True).decode().partition(":")
        except (binascii.Error, ValueError):
            colon = name = password = ""
        if not colon:
            raise LoginNeeded("The Authorization header is not name:password in base64.")
        if password.startswith(TOKEN_SIGN):
            return self._by_token(password, address)
        return self._by_password(name, password, address)

    def _by_token(self, value: str, address: str) -> Caller:
        token = self.store.token(_digest(value)) if value.startswith(TOKEN_SIGN) else None
        account = self.account(token.name) if token else None
        if token is None or account is None:
            self._throttle.begin("token", address)
            raise LoginNeeded("The API token is not known here (any more). Make one on the page Account.")
        now = self._clock()
        self._note(self.store.use_token, token.id, token.seen or 0, now)
        return Caller(user=User(name=account.name, admin=account.admin), token=True)

    def _note(self, keep: Callable[[Any, float], None], key: str | int, seen: float, now: float) -> None:
        """Have it kept that a session or token is used, unless that was done a moment ago."""
        with self._lock:
            if now - max(seen, self._noted.get(key, 0)) <= SEEN_EVERY:
                return
            if len(self._noted) >= MAX_KNOWN:
                self._noted.clear()
            self._noted[key] = now
        self._notes.submit(_kept, keep, key, now)

    def _by_password(self, name: str, password: str, address: str) -> Caller:
        """A password is verified once: programs send it with every request."""
        if not self.policy.api_passwords:
            raise LoginNeeded("Passwords are not taken from programs here. Make an API token on the page Account.")
        digest = hmac.digest(self._key, f"{name.casefold()}:{password}".encode(errors="surrogatepass"), "sha256")
        known = self._known.get(digest)
        if known is None:
            with self._throttle.turn(address):  # many requests at once with the same password are one try
                known = self._known.get(digest) or self._verified(digest, name, password, address)
        found = self._programs.get(name.casefold()) if known[1] else self.account(known[0])
        if found is None:
            raise LoginNeeded(WRONG)
        return Caller(user=User(name=found.name, admin=found.admin))

    def _verified(self, digest: bytes, name: str, password: str, address: str) -> tuple[str, bool]:
        """Whose password that is, and whether it is a program's; remembered from now on."""
        account = self._checked(name, password, address, programs=True)
        found = account.name, name.casefold() in self._programs
        with self._lock:
            if len(self._known) >= MAX_KNOWN:
                self._known.clear()
            self._known[digest] = found
        return found

    # -- accounts --

    def accounts(self) -> list[Account]:
        """All of them; the command line's come first and hide others of their names."""
        stored = [account for account in self.store.accounts() if account.name.casefold() not in self._given]
        return [*self._given.values(), *stored]

    def account(self, name: str) -> Account | None:
        """That one."""
        return self._given.get(name.casefold()) or self.store.account(name)

    def add(self, name: str, password: str | None, *, admin: bool) -> str:
        """A new account; its password, made up if there is none. Raises InputError."""
        checked_name("name", name)
        if self.account(name) or name.casefold() in self._programs:
            raise InputError("name", f"name {short(name)} is taken. Choose another.")
        password = password or made_up()
        self.store.keep(name, self._passwords.hashed(_good(password)), admin)
        return password

    def change(self, name: str, *, password: str | None = None, admin: bool | None = None) -> None:
        """Give an account another password or role; its sessions end. Raises NotFound, InputError, Forbidden."""
        account = self._own(name)
        role = account.admin if admin is None else admin
        if account.admin and not role:
            self._keep_one_admin(account)
        hashed = self._passwords.hashed(_good(password)) if password is not None else account.hash
        self._forget(account)
        self.store.keep(account.name, hashed, role)

    def change_own(self, user: User, old: str, new: str, address: str) -> str:
        """The secret of a new session with another password; the old sessions end. An account that was made up stays from then on."""
        account = self._checked(user.name, old, address)
        if account.given and self.made is None:
            raise Forbidden(f"The password of {short(account.name)} stands on the command line: change it there.")
        hashed = self._passwords.hashed(_good(new, "new"))
        self._forget(account)
        if account.given:
            self._given.pop(account.name.casefold())
            self.made = None
        self.store.keep(account.name, hashed, account.admin)
        return self._new_session(account.name)

    def remove(self, name: str) -> None:
        """Forget an account. Raises NotFound, InputError, Forbidden."""
        account = self._own(name)
        if account.admin:
            self._keep_one_admin(account)
        self._forget(account)
        self.store.remove(account.name)

    def _own(self, name: str) -> Account:
        account = self.account(name)
        if account is None:
            raise NotFound(f"There is no account {short(name)}.")
        if account.given:
            raise Forbidden(f"The account {short(account.name)} is the command line's: change it there.")
        return account

    def _keep_one_admin(self, account: Account) -> None:
        if not any(other.admin and other.name != account.name for other in self.accounts()):
            raise InputError("admin", f"{short(account.name)} is the only administrator. Make another one first.")

    def _forget(self, account: Account) -> None:
        with self._lock:
            self._known = {key: value for key, value in self._known.items() if value[0] != account.name}

    # -- tokens --

    def new_token(self, user: User, label: str) -> tuple[int, str]:
        """An API token: its id, and itself, which is never told again. Raises InputError."""
        if not 0 < len(label) <= 100 or not label.isprintable():
            raise InputError("label", f"label is {short(label)}: name the token in 1 to 100 letters.")
        account = self.account(user.name)
        if account is None:
            raise Forbidden("Tokens belong to accounts: there is none on a machine where nobody logs in.")
        value = TOKEN_SIGN + secrets.token_urlsafe(32)
        return self.store.add_token(_digest(value), account.name, label), value

    def tokens(self, user: User) -> list[Token]:
        """Those of that user."""
        return self.store.tokens(user.name)

    def remove_token(self, user: User, token_id: int) -> None:
        """Forget one. Raises NotFound."""
        if not self.store.remove_token(token_id, user.name):
            raise NotFound(f"There is no API token {token_id} of yours.")


def _kept(keep: Callable[[Any, float], None], key: str | int, now: float) -> None:
    try:
        keep(key, now)
    except StorageError as error:
        log.warning("%s", error.message)


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode(errors="surrogatepass")).hexdigest()


def _good(password: str, field: str = "password") -> str:
    if not LEAST <= len(password) <= MOST:
        raise InputError(field, f"{field} has {len(password)} letters: it must have {LEAST} to {MOST}.")
    return password
