"""Who calls a route, as the guard found: `Caller` is a parameter of every route that has to do with a user's own things."""

from typing import Annotated

from fastapi import Depends
from starlette.requests import HTTPConnection

from modules.api.accounts.accounts import Caller as Admitted
from modules.core.errors import LoginNeeded
from modules.core.user import User

CALLER, ADDRESS = "atelier.caller", "atelier.address"
"""Where a scope tells who asks, and from where."""

NOBODY = "Log in first: on the page /login, or with an API token or HTTP Basic."


def caller_of(connection: HTTPConnection) -> User:
    """Who asks; raises LoginNeeded."""
    admitted: Admitted | None = connection.scope.get(CALLER)
    if admitted is None:
        raise LoginNeeded(NOBODY)
    return admitted.user


Caller = Annotated[User, Depends(caller_of)]
