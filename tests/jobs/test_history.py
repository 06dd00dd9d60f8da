"""The prompt history in the database."""

import pytest

from modules.core.errors import NotFound, StorageError
from modules.jobs import history as module
from modules.jobs.history import PromptHistory
from modules.jobs.store import JobStore


@pytest.fixture
def history(tmp_path):
    found = PromptHistory(tmp_path / "jobs.sqlite3")
    yield found
    found.close()


def texts(history, user="ann", search=""):
    return [(pair.prompt, pair.negative_prompt) for pair in history.list(user, search)]


def test_every_pair_once_and_newest_first(history, tmp_path):
    for prompt, negative in (("a cat", ""), ("a dog", "blur"), ("a cat", ""), ("a cat", "blur"), (" ", "\n")):
        history.add("ann", prompt, negative)
    assert texts(history) == [("a cat", "blur"), ("a cat", ""), ("a dog", "blur")]
    assert [pair.times for pair in history.list("ann")] == [1, 2, 1]
    assert texts(history, search="CAT blur") == [("a cat", "blur")]
    assert texts(history, search="%") == []
    assert texts(history, "bob") == []
    assert texts(history, "Ann") == texts(history)
    pairs = texts(history)
    history.close()
    assert texts(PromptHistory(tmp_path / "jobs.sqlite3")) == pairs


def test_pinned_ones_stay(history, monkeypatch):
    monkeypatch.setattr(module, "KEPT", 3)
    monkeypatch.setattr(module, "PINNED", 1)
    history.add("ann", "first", "")
    history.pin("ann", history.list("ann")[0].id, True)
    for i in range(5):
        history.add("ann", f"number {i}", "")
    history.add("bob", "another's", "")
    assert [prompt for prompt, _ in texts(history)] == ["first", "number 4", "number 3", "number 2"]
    with pytest.raises(StorageError, match="Unpin one first"):
        history.pin("ann", history.list("ann")[1].id, True)
    history.clear("ann")
    assert texts(history) == [("first", "")]
    history.clear("ann", pinned=True)
    assert (texts(history), len(texts(history, "bob"))) == ([], 1)


def test_nobody_touches_anothers(history):
    history.add("ann", "mine", "")
    own = history.list("ann")[0].id
    for act in (
        lambda: history.delete("bob", own),
        lambda: history.pin("bob", own, True),
        lambda: history.delete("ann", own + 1),
    ):
        with pytest.raises(NotFound, match="not in your history"):
            act()
    history.delete("ann", own)
    assert texts(history) == []


def test_a_damaged_database_is_one_sentence(tmp_path):
    (tmp_path / "jobs.sqlite3").write_bytes(b"no database" * 100)
    with pytest.raises(StorageError, match="prompt history"):
        PromptHistory(tmp_path / "jobs.sqlite3").add("ann", "x", "")


def test_C8_it_outlives_damage_to_the_file_that_it_shares(tmp_path):
    path = tmp_path / "jobs.sqlite3"
    JobStore(path).close()
    history = PromptHistory(path)
    for number in range(300):
        history.add("ann", f"prompt {number} {'x' * 300}", "")
    history.close()
    data = bytearray(path.read_bytes())
    data[-3 * 4096 : -2 * 4096] = b"x" * 4096
    path.write_bytes(data)
    JobStore(path).close()
    history = PromptHistory(path)
    assert len(history.list("ann")) > 200
    history.close()
