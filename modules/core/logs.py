"""The log on standard error: a line a message, whatever other people's texts are in it."""

import logging
import re

LONGEST = 2048
"""Characters of a message; what is longer is cut."""
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


class OneLine(logging.Formatter):
    """Control characters, line breaks and what turns the direction of writing stand as their escapes. A traceback keeps its lines, escaped
    one by one."""

    def __init__(self) -> None:
        super().__init__("%(levelname)s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 (logging's own name)
        """The line of the message alone."""
        return escaped(super().formatMessage(record))

    def formatException(self, ei) -> str:  # noqa: ANN001, N802 (logging's own)
        """The traceback's lines."""
        return "\n".join(escaped(line) for line in super().formatException(ei).split("\n"))


def escaped(text: str) -> str:
    """At most LONGEST characters in one line that no terminal obeys."""
    if len(text) > LONGEST:
        text = f"{text[:LONGEST]} [… {len(text) - LONGEST} more]"
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def log_to_stderr() -> None:
    """What the program tells, from INFO on, to standard error."""
    handler = logging.StreamHandler()
    handler.setFormatter(OneLine())
    logging.basicConfig(level=logging.INFO, handlers=[handler])
