"""What is logged: one line a message, that no terminal obeys."""

import io
import logging

import pytest

from modules.core.logs import LONGEST, OneLine


@pytest.fixture
def logged():
    """Log to a stream of its own; gives a function that logs, and one that reads."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(OneLine())
    log = logging.Logger("page")
    log.addHandler(handler)
    return log, lambda: stream.getvalue()


@pytest.mark.parametrize("sign", ["\r\n", "\n", "\x1b[2J", "\x00", "\x9b2J", "\u2028", "\u202e"])
def test_N22_a_message_is_one_line_that_does_nothing(logged, sign):
    log, read = logged
    log.warning("the prompt %s is odd", f"a{sign}WARNING page: forged")
    assert read() == f"WARNING page: the prompt a{sign.encode('unicode_escape').decode()}WARNING page: forged is odd\n"


def test_N22_a_long_one_is_cut(logged):
    log, read = logged
    log.error("%s", "x" * 10**6)
    assert len(read()) < LONGEST + 100
    assert read().count("\n") == 1
    assert "more]" in read()


def test_N22_a_traceback_keeps_its_lines_and_no_other(logged):
    log, read = logged
    try:
        raise ValueError("one\r\x1b[2Jtwo")
    except ValueError:
        log.exception("it failed")
    lines = read().splitlines()
    assert lines[:2] == ["ERROR page: it failed", "Traceback (most recent call last):"]
    assert lines[-1] == "ValueError: one\\r\\x1b[2Jtwo"


def test_ordinary_text_stays_as_it_is(logged):
    log, read = logged
    log.info("Ein Bär, 画, 🎨")
    assert read() == "INFO page: Ein Bär, 画, 🎨\n"
