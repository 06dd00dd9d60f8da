"""Logging in without a server: passwords, throttling, sessions, tokens, roles."""

import asyncio
import base64
import stat
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from modules.api.accounts.accounts import Accounts
from modules.api.accounts.throttle import FREE, MAX_KEYS, Throttle
from modules.api.app import build_api
from modules.api.guard import Door
from modules.core.errors import Forbidden, InputError, LoginNeeded, NotFound, TooManyTries
from modules.core.flags import Flags
from modules.core.network import Network, parse_accounts
from modules.core.user import User
from tests.jobs.helpers import make_service, puppet_inline

HERE = "192.168.1.9"


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def named(text: str = "ann:first secret,bob:second secret", **values) -> Network:
    return Network(listen=True, accounts=tuple(parse_accounts("--auth", text)), **values)


def basic(name: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


@pytest.fixture
def accounts(tmp_path):
    found = Accounts(tmp_path / "accounts.sqlite3", named(), Clock())
    yield found
    found.close()


def test_logging_in(accounts):
    caller = accounts.by_session(accounts.log_in("ANN", "first secret", HERE))
    assert caller.user == User(name="ann", admin=True)
    assert accounts.by_session(accounts.log_in("bob", "second secret", HERE)).user == User(name="bob")
    for name, password in (("ann", "second secret"), ("nobody", "first secret"), ("", ""), ("ann", "\ud800")):
        with pytest.raises(LoginNeeded, match="Name or password is wrong"):
            accounts.log_in(name, password, name)
    assert accounts.by_session("nonsense") is None


def test_nothing_kept_tells_a_secret(accounts, tmp_path):
    secret = accounts.log_in("ann", "first secret", HERE)
    _, token = accounts.new_token(User(name="ann"), "robot")
    accounts.add("carol", "third secret", admin=False)
    kept = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    for word in (secret, token, "third secret", "first secret"):
        assert word.encode() not in kept
    assert b"$argon2id$" in kept
    assert stat.S_IMODE((tmp_path / "accounts.sqlite3").stat().st_mode) == 0o600


def test_N10_wrong_passwords_wait():
    clock = Clock()
    throttle = Throttle(clock=clock)
    for _ in range(5):
        throttle.begin("ann", HERE)
    waits = []
    for _ in range(4):
        with pytest.raises(TooManyTries, match="Try again in") as caught:
            throttle.begin("ann", HERE)
        waits.append(caught.value.wait or 0)
        clock.now += waits[-1]
        throttle.begin("Ann", HERE)
    assert waits == [5, 10, 20, 40]
    throttle.begin("ann", "other address")
    throttle.begin("bob", HERE)
    clock.now += 1000
    throttle.begin("ann", HERE)
    throttle.succeeded("ann", HERE)
    for _ in range(5):
        throttle.begin("ann", HERE)


def test_N10_names_by_turns_wait_too():
    throttle = Throttle(clock=Clock())
    for number in range(20):
        throttle.begin(f"name {number}", HERE)
    with pytest.raises(TooManyTries):
        throttle.begin("another", HERE)


def test_N10_through_a_tunnel_all_together():
    clock = Clock()
    throttle = Throttle(20, clock)
    for number in range(20):
        throttle.begin(f"name {number}", f"address {number}")
    with pytest.raises(TooManyTries):
        throttle.begin("fresh", "fresh")
    clock.now += 61
    throttle.begin("fresh", "fresh")


def test_throttle_does_not_grow():
    throttle = Throttle(clock=Clock())
    for number in range(MAX_KEYS + 5):
        throttle.begin("a", f"address {number}")
    assert len(throttle._tries) <= MAX_KEYS


def test_N10_the_right_password_works_after_the_wait(accounts):
    for _ in range(5):
        with pytest.raises(LoginNeeded):
            accounts.log_in("bob", "wrong", HERE)
    with pytest.raises(TooManyTries):
        accounts.log_in("bob", "second secret", HERE)
    accounts._throttle._clock = lambda: time.monotonic() + 6
    assert accounts.log_in("bob", "second secret", HERE)


def test_N11_unknown_names_take_as_long(accounts):
    """The same work is done: a hash of the same cost is verified."""
    seen = []
    verify = accounts._passwords._hasher.verify
    accounts._passwords._hasher = type(
        "Spy", (), {"verify": lambda self, kept, password: seen.append(kept.split("$")[3]) or verify(kept, password)}
    )()
    for name in ("ann", "nobody"):
        with pytest.raises(LoginNeeded):
            accounts.log_in(name, "wrong", name)
    assert seen[0] == seen[1] == "m=19456,t=2,p=1"


def test_N11_any_letters(tmp_path):
    accounts = Accounts(tmp_path / "a", named("ann:pä:ss,é"))
    assert accounts.log_in("ann", "pä:ss,é", HERE)
    assert accounts.by_header(basic("ann", "pä:ss,é"), HERE).user.name == "ann"
    accounts.close()


def test_N13_sessions_end(accounts):
    clock = accounts._clock
    secret = accounts.log_in("ann", "first secret", HERE)
    caller = accounts.by_session(secret)
    clock.now += 11 * 3600
    assert accounts.by_session(secret)  # which is a use
    clock.now += 11 * 3600
    assert caller.alive()
    clock.now += 13 * 3600
    assert not caller.alive()
    assert accounts.by_session(secret) is None
    again = accounts.log_in("ann", "first secret", HERE)
    accounts.log_out(again)
    assert accounts.by_session(again) is None


def test_N13_with_the_password_and_the_user(accounts):
    accounts.add("carol", "third secret", admin=False)
    secret, token = accounts.log_in("carol", "third secret", HERE), accounts.new_token(User(name="carol"), "x")[1]
    assert accounts.by_header(basic("carol", "third secret"), HERE)
    new = accounts.change_own(User(name="carol"), "third secret", "fourth secret", HERE)
    assert accounts.by_session(secret) is None
    assert accounts.by_session(new).user.name == "carol"
    with pytest.raises(LoginNeeded):
        accounts.by_header(basic("carol", "third secret"), HERE)
    accounts.change("carol", password="fifth secret")
    assert accounts.by_session(new) is None
    newer = accounts.log_in("carol", "fifth secret", HERE)
    accounts.remove("carol")
    assert accounts.by_session(newer) is None
    for header in (f"Bearer {token}", basic("carol", "fifth secret")):
        with pytest.raises(LoginNeeded):
            accounts.by_header(header, "elsewhere")


def test_L13_many_requests_at_once_are_one_try(accounts):
    """A program that begins with a dozen requests is nobody who guesses; wrong ones still are."""
    with ThreadPoolExecutor(12) as pool:
        asked = [pool.submit(accounts.by_header, basic("ann", "first secret"), HERE) for _ in range(12)]
        assert {one.result().user.name for one in asked} == {"ann"}
        wrong = [pool.submit(accounts.by_header, basic("ann", f"guess {i}"), HERE) for i in range(12)]
        errors = [type(one.exception()) for one in wrong]
    assert errors.count(LoginNeeded) == FREE and errors.count(TooManyTries) == 12 - FREE


def test_L13_right_logins_at_once_are_no_guesses(accounts, tmp_path):
    """Over the API, by the form and by Basic: each gets a session of its own user, and no other request waits for a password."""
    looked = set()
    same = accounts._passwords.same
    accounts._passwords.same = lambda kept, said: looked.add(threading.current_thread().name) or same(kept, said)
    service = make_service(tmp_path, puppet_inline())
    app = build_api(service, Flags(network=named()), door=Door(accounts=accounts, network=named()))
    people = {"ann": "first secret", "bob": "second secret"}

    def client(**values) -> httpx.AsyncClient:
        return httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://127.0.0.1:7860", **values)

    async def by_form(name: str) -> str:
        async with client() as own:
            sent = await own.post("/login", json={"username": name, "password": people[name]})
            assert sent.status_code == 200, sent.text
            return (await own.get("/atelier/me")).json()["name"]

    async def by_header(name: str) -> str:
        async with client(headers={"Authorization": basic(name, people[name])}) as own:
            return (await own.get("/atelier/me")).json().get("name")

    async def all_at_once() -> list[str]:
        return await asyncio.gather(*[way(name) for _ in range(20) for name in people for way in (by_form, by_header)])

    assert asyncio.run(all_at_once()) == [name for _ in range(20) for name in people for _ in range(2)]
    assert looked and {name.split("_")[0] for name in looked} == {"logins"}
    service.store.close()


def test_tokens(accounts):
    number, token = accounts.new_token(User(name="bob"), "robot")
    for header in (f"Bearer {token}", f"bearer  {token}", basic("bob", token)):
        assert accounts.by_header(header, HERE).user == User(name="bob")
    assert [(t.id, t.label) for t in accounts.tokens(User(name="bob"))] == [(number, "robot")]
    assert accounts.tokens(User(name="ann")) == []
    with pytest.raises(NotFound):
        accounts.remove_token(User(name="ann"), number)
    accounts.remove_token(User(name="bob"), number)
    with pytest.raises(LoginNeeded):
        accounts.by_header(f"Bearer {token}", HERE)
    assert accounts.by_header("Digest x", HERE) is None
    for header in ("Basic !!", "Basic YQ==", "Bearer x"):
        with pytest.raises(LoginNeeded):
            accounts.by_header(header, "elsewhere")
    with pytest.raises(InputError, match="label"):
        accounts.new_token(User(name="bob"), "")
    with pytest.raises(Forbidden):
        accounts.new_token(User(name=""), "x")


def test_programs_of_the_command_line(tmp_path):
    programs = tuple(parse_accounts("--api-auth", "robot:for programs,other:for others"))
    accounts = Accounts(tmp_path / "a", named(api_accounts=programs))
    for _ in range(2):  # the second time without verifying
        assert accounts.by_header(basic("robot", "for programs"), HERE).user == User(name="robot", admin=True)
        assert accounts.by_header(basic("other", "for others"), HERE).user == User(name="other")
    with pytest.raises(LoginNeeded):
        accounts.log_in("robot", "for programs", HERE)
    accounts.close()


def test_through_a_tunnel_programs_send_tokens(tmp_path):
    accounts = Accounts(tmp_path / "a", Network(tunnel="share", api=True))
    assert accounts.made
    with pytest.raises(LoginNeeded, match="API token"):
        accounts.by_header(basic("admin", accounts.made or ""), HERE)
    _, token = accounts.new_token(User(name="admin"), "x")
    assert accounts.by_header(f"Bearer {token}", HERE).token
    accounts.close()


def test_N19_a_password_is_made_up(tmp_path):
    path = tmp_path / "a"
    first = Accounts(path, Network(listen=True))
    assert first.made
    assert len(first.made.replace("-", "")) == 20
    secret = first.log_in("admin", first.made, HERE)
    assert first.by_session(secret).user.admin
    first.close()
    second = Accounts(path, Network(listen=True))
    assert second.made != first.made
    assert second.by_session(secret) is None
    kept = second.change_own(User(name="admin"), second.made or "", "a password of mine", HERE)
    assert second.by_session(kept)
    second.close()
    third = Accounts(path, Network(listen=True))
    assert third.made is None
    assert third.by_session(kept).user.admin
    third.close()
    tunnel = Accounts(path, Network(tunnel="share"))
    assert tunnel.by_session(kept) is None  # logins are new at each start
    tunnel.close()
    other = Accounts(tmp_path / "b", Network(tunnel="share"))
    assert other.made
    assert len(other.made.replace("-", "")) == 30  # about 148 bits
    other.close()


def test_the_link_is_good_once(accounts):
    once = accounts.once
    with pytest.raises(LoginNeeded):
        accounts.redeem("wrong", HERE)
    assert accounts.by_session(accounts.redeem(once, HERE)).user.admin
    with pytest.raises(LoginNeeded, match="used before"):
        accounts.redeem(once, HERE)


def test_roles(accounts):
    made = accounts.add("carol", None, admin=True)
    assert accounts.by_session(accounts.log_in("carol", made, HERE)).user.admin
    accounts.change("carol", admin=False)
    assert not accounts.by_session(accounts.log_in("carol", made, HERE)).user.admin
    for name, match in (("carol", "taken"), ("ANN", "taken"), ("a/b", "no name"), ("api", "no name"), ("", "no name")):
        with pytest.raises(InputError, match=match):
            accounts.add(name, "long enough", admin=False)
    with pytest.raises(InputError, match="8 to 1000"):
        accounts.add("dave", "short", admin=False)
    with pytest.raises(Forbidden, match="command line"):
        accounts.change("ann", admin=False)
    with pytest.raises(Forbidden, match="command line"):
        accounts.change_own(User(name="ann"), "first secret", "another secret", HERE)
    with pytest.raises(NotFound):
        accounts.remove("nobody")


def test_one_administrator_stays(tmp_path):
    accounts = Accounts(tmp_path / "a", Network(listen=True))
    accounts.change_own(User(name="admin"), accounts.made or "", "a password of mine", HERE)
    for act in (lambda: accounts.remove("admin"), lambda: accounts.change("admin", admin=False)):
        with pytest.raises(InputError, match="only administrator"):
            act()
    accounts.close()
