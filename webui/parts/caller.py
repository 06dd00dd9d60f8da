"""Who presses a button: gradio's handlers learn it by their request, and everything they call from here."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import gradio as gr

from modules.api.callers import caller_of
from modules.core.errors import LoginNeeded
from modules.core.user import OWNER, User
from modules.jobs.desk import Desk
from modules.jobs.service import JobService

_CALLER: ContextVar[User | None] = ContextVar("caller", default=None)


@contextmanager
def called_by(request: gr.Request | None) -> Iterator[None]:
    """Within it, `desk_of` is that of whoever sent the request."""
    token = _CALLER.set(caller_of(request.request) if request and request.request else None)
    try:
        yield
    finally:
        _CALLER.reset(token)


def desk_of(service: JobService) -> Desk:
    """The desk of who presses; raises LoginNeeded where somebody has to be logged in and nobody is."""
    user = _CALLER.get()
    if user is None and service.policy.login:
        raise LoginNeeded("You are not logged in any more. Load the page again.")
    return service.desk(user or OWNER)
