"""Every error as an answer: A1111's `{error, detail, body, errors}` with one sentence in `detail`, and a hint."""

import logging
import math
from collections.abc import Iterable, Mapping

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from modules.core.errors import AtelierError, InputError, short
from modules.core.validation import finding

log = logging.getLogger(__name__)

JSON_WANTED = "The body must be a JSON object, sent with Content-Type: application/json."


class JobFailed(AtelierError):
    """A job that could not be done, as its waiting caller hears of it. `kind` is the class of the cause."""

    def __init__(self, kind: str, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.kind = kind
        self.field = field
        self.status = next((c.status for c in _tree(AtelierError) if c.__name__ == kind), 500)


def answer(
    status: int, error: str, detail: str, *, hint: str = "", headers: Mapping[str, str] | None = None
) -> JSONResponse:
    """The body of every error."""
    body = {"error": error, "detail": detail, "body": "", "errors": "", "hint": hint}
    return JSONResponse(body, status, headers)


def add_error_handlers(app: FastAPI) -> None:
    """Make `app` answer every error in the one shape."""
    app.add_exception_handler(AtelierError, _ours)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _unexpected)


def _tree(cls: type[AtelierError]) -> Iterable[type[AtelierError]]:
    yield cls
    for child in cls.__subclasses__():
        yield from _tree(child)


async def _ours(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, AtelierError)
    return answer_to(error)


def answer_to(error: AtelierError) -> JSONResponse:
    """The answer that says it."""
    field = getattr(error, "field", None)
    kind = error.kind if isinstance(error, JobFailed) else type(error).__name__
    headers = {"Retry-After": str(math.ceil(error.wait))} if error.wait and error.status in (429, 503) else None
    return answer(error.status, kind, error.message, hint=f"field: {field}" if field else "", headers=headers)


async def _invalid(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = first["loc"][1:]  # the first part says body, query or path
    if first["type"] == "json_invalid":
        position = f" at character {where[0]}" if where else ""
        found = InputError("body", f"The body is not valid JSON{position}: {first['ctx']['error']}.")
    elif not where:
        found = InputError("body", JSON_WANTED)
    else:
        found = finding({**first, "loc": where})
    return await _ours(request, found)


async def _http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    path = short(request.url.path)
    if error.status_code == 404:
        return answer(404, "NotFound", f"There is nothing at {path}.", hint="GET /openapi.json lists what there is.")
    if error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "another method")
        return answer(
            405,
            "MethodNotAllowed",
            f"{request.method} is not answered at {path}. Use {allowed}.",
            headers=error.headers,
        )
    if error.status_code == 400 and error.detail == "There was an error parsing the body":
        return answer(
            422,
            "InputError",
            "The body cannot be read as JSON: it is nested too deeply, holds a number of too many digits, or is not UTF-8.",
        )
    return answer(error.status_code, "HTTPException", str(error.detail), headers=error.headers)


async def _unexpected(request: Request, error: Exception) -> JSONResponse:
    """ServerErrorMiddleware raises `error` again once this is sent, and the server logs it."""
    return answer(
        500, "InternalError", "The server made a mistake. Its log says more; other requests are not affected."
    )
