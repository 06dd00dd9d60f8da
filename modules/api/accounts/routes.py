"""The pages /login and /account, and what they and programs ask: who am I, passwords, API tokens, accounts."""

import html
import json
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response

from modules.api.accounts.accounts import Accounts
from modules.api.accounts.store import Account
from modules.api.bodies import Body
from modules.api.callers import ADDRESS, Caller
from modules.api.errors import answer_to
from modules.api.guard import Door
from modules.core.errors import AtelierError, Forbidden, InputError, LoginNeeded, NotFound, TooManyTries, short
from modules.core.validation import Text
from modules.jobs.desk import disown
from modules.jobs.service import JobService

PAGES = Path(__file__).with_name("pages")
FILES = {"page.css": "text/css", "account.js": "text/javascript"}
CONTENT = (
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self' data:; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
PAGE_HEADERS = {
    "Content-Security-Policy": CONTENT,
    "Cache-Control": "no-store",
    "Referrer-Policy": "same-origin",  # without a referrer a browser sends forms with "Origin: null"
}
MAX_FORM = 20_000


class PasswordBody(Body):
    """`POST /atelier/me/password`."""

    old: Text
    new: Text


class LabelBody(Body):
    """`POST /atelier/me/tokens`."""

    label: Text


class NewAccountBody(Body):
    """`POST /atelier/users`; without a password one is made up and told once."""

    name: Text
    password: Text | None = None
    admin: bool = False


class AccountBody(Body):
    """`POST /atelier/users/NAME`: what is to change."""

    password: Text | None = None
    admin: bool | None = None


def build_accounts(door: Door, service: JobService) -> APIRouter:
    """All of them; those that need accounts answer 403 where nobody logs in."""
    router = APIRouter()
    _add_pages(router, door)
    _add_own(router, door)
    _add_administration(router, door, service)
    return router


# -- pages --


def _add_pages(router: APIRouter, door: Door) -> None:
    @router.get("/login", include_in_schema=False)
    def login_page(request: Request, next: str = "/", once: str = "") -> Response:
        return login_form(request, next, once=once[:200])

    @router.post("/login", include_in_schema=False)
    async def log_in(request: Request) -> Response:
        said = await _form(request)
        target = local(said.get("next", "/"))
        try:
            secret = await _accounts(door).apart(_session, _accounts(door), said, request.scope[ADDRESS])
        except (LoginNeeded, TooManyTries) as error:
            if "application/json" in request.headers.get("content-type", ""):
                return answer_to(error)
            return login_form(request, target, error)
        if "application/json" in request.headers.get("content-type", ""):
            answer: Response = JSONResponse({"next": target})
        else:
            answer = RedirectResponse(f"{request.scope.get('root_path', '')}{target}", 303)
        return with_cookie(answer, door, secret)

    @router.post("/logout", include_in_schema=False)
    def log_out(request: Request) -> Response:
        if secret := request.cookies.get(door.cookie):
            _accounts(door).log_out(secret)
        answer = RedirectResponse(f"{request.scope.get('root_path', '')}/login", 303)
        answer.headers["Clear-Site-Data"] = '"storage"'  # what the page remembers is not the next user's
        answer.delete_cookie(door.cookie, path="/", secure=door.secure, httponly=True, samesite="lax")
        return answer

    @router.get("/login/{name}", include_in_schema=False)
    def file(name: str) -> Response:
        if name not in FILES:
            raise NotFound(f"There is nothing at /login/{name[:40]}.")
        return Response((PAGES / name).read_bytes(), media_type=FILES[name], headers={"Cache-Control": "no-cache"})

    @router.get("/account", include_in_schema=False)
    def account_page(caller: Caller) -> Response:
        return HTMLResponse((PAGES / "account.html").read_text("utf-8"), headers=PAGE_HEADERS)


def _session(accounts: Accounts, said: dict[str, str], address: str) -> str:
    if said.get("once"):
        return accounts.redeem(said["once"], address)
    return accounts.log_in(said.get("username", ""), said.get("password", ""), address)


async def _form(request: Request) -> dict[str, str]:
    """The fields of a form, or of a JSON object; raises InputError."""
    data = await request.body()
    if len(data) > MAX_FORM:
        raise InputError("body", f"The form has {len(data)} bytes: at most {MAX_FORM} are read.")
    try:
        if "application/json" in request.headers.get("content-type", ""):
            found = json.loads(data)
            return {str(name): str(value) for name, value in found.items()}
        return dict(parse_qsl(data.decode(), keep_blank_values=True))
    except (ValueError, AttributeError, RecursionError) as error:
        raise InputError("body", "The form cannot be read. Load the page /login again.") from error


def login_form(request: Request, target: str, error: AtelierError | None = None, once: str = "") -> Response:
    """The page with its form; `once`: the secret of a link, which a press of its button uses up."""
    page = (PAGES / ("once.html" if once else "login.html")).read_text("utf-8")
    words = f'<p role="alert">{html.escape(error.message)}</p>' if error else ""
    fields = {"message": words, "next": html.escape(local(target)), "once": html.escape(once)}
    for name, value in fields.items():
        page = page.replace(f"{{{{{name}}}}}", value)
    headers = dict(PAGE_HEADERS)
    if error and error.wait:
        headers["Retry-After"] = str(round(error.wait) + 1)
    return HTMLResponse(page, error.status if error else 200, headers)


def local(target: str) -> str:
    """A path of this server, whatever was asked for."""
    plain = target.startswith("/") and not target.startswith(("//", "/\\")) and target.isprintable()
    return quote(target, safe="/?&=%:,;@+~!$'()*.-_") if plain and "\\" not in target else "/"


def with_cookie(answer: Response, door: Door, secret: str) -> Response:
    """The answer that begins a session."""
    age = door.network.policy.session
    answer.set_cookie(door.cookie, secret, max_age=age, path="/", secure=door.secure, httponly=True, samesite="lax")
    return answer


# -- one's own --


def _add_own(router: APIRouter, door: Door) -> None:
    @router.get("/atelier/me")
    def me(caller: Caller) -> dict[str, Any]:
        policy = door.network.policy
        return {"name": caller.name, "admin": caller.admin, "login": policy.login, "exposure": policy.exposure}

    @router.post("/atelier/me/password")
    def change_password(body: PasswordBody, caller: Caller, request: Request) -> Response:
        secret = _accounts(door).change_own(caller, body.old, body.new, request.scope[ADDRESS])
        return with_cookie(JSONResponse({}), door, secret)

    @router.get("/atelier/me/tokens")
    def tokens(caller: Caller) -> dict[str, Any]:
        found = _accounts(door).tokens(caller)
        return {"tokens": [{"id": t.id, "label": t.label, "made": t.made, "seen": t.seen} for t in found]}

    @router.post("/atelier/me/tokens")
    def make_token(body: LabelBody, caller: Caller) -> dict[str, Any]:
        number, value = _accounts(door).new_token(caller, body.label)
        return {"id": number, "label": body.label, "token": value}

    @router.delete("/atelier/me/tokens/{token_id}")
    def remove_token(token_id: int, caller: Caller) -> dict[str, Any]:
        if not 0 < token_id < 2**63:
            raise NotFound(f"There is no API token {short(str(token_id))} of yours.")
        _accounts(door).remove_token(caller, token_id)
        return {}


# -- administration --


def _add_administration(router: APIRouter, door: Door, service: JobService) -> None:
    @router.get("/atelier/users")
    def users() -> dict[str, Any]:
        return {"users": [told(account) for account in _accounts(door).accounts()]}

    @router.post("/atelier/users")
    def add(body: NewAccountBody) -> dict[str, Any]:
        password = _accounts(door).add(body.name, body.password, admin=body.admin)
        return {"name": body.name, "admin": body.admin, **({} if body.password else {"password": password})}

    @router.post("/atelier/users/{name}")
    def change(name: str, body: AccountBody) -> dict[str, Any]:
        accounts = _accounts(door)
        accounts.change(name, password=body.password, admin=body.admin)
        found = accounts.account(name)
        assert found
        return told(found)

    @router.delete("/atelier/users/{name}")
    def remove(name: str) -> dict[str, Any]:
        _accounts(door).remove(name)
        disown(service, name)
        return {}


def told(account: Account) -> dict[str, Any]:
    """An account as administrators see it."""
    return {"name": account.name, "admin": account.admin, "given": account.given, "made": account.made or None}


def _accounts(door: Door) -> Accounts:
    if door.accounts is None or not door.network.policy.login:
        raise Forbidden("Nobody logs in here: start with --auth, --listen or --share to have accounts.")
    return door.accounts
