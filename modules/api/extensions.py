"""What an extension's `ui.py` is given: `register(api)`; and the list of extensions as A1111's clients read it."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from fastapi import APIRouter, FastAPI

from modules.api.callers import Caller
from modules.api.power import Power
from modules.core.paths import ROOT
from modules.jobs.service import JobService
from modules.plugins.extensions import Extension, load_each

BRACES = "The name of its folder has a brace in it, which would mean something in an address. Rename it."


class UIExtensionAPI:
    """How an extension adds to the web process. `router`: routes below /extensions/NAME, which administrators alone may call."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.router = APIRouter(prefix=f"/extensions/{name}", include_in_schema=False)


def add_extensions(app: FastAPI, extensions: Sequence[Extension]) -> list[Extension]:
    """Load their `ui.py` and add their routes; those that failed, of which nothing is added."""
    failed = [replace(one, trouble=BRACES) for one in extensions if "ui" in one.sides and set(one.name) & set("{}")]
    for extension in extensions:
        if any(one.name == extension.name for one in failed):
            continue
        api = UIExtensionAPI(extension.name)
        failing = load_each([extension], "ui", lambda _, api=api: api)
        if not failing:
            app.include_router(api.router)
        failed += failing
    return failed


def items(extensions: Sequence[Extension]) -> list[dict[str, Any]]:
    """A1111's list; what git knows of them is not asked."""
    bare = {"remote": "", "branch": "", "commit_hash": "", "version": "", "commit_date": 0}
    return [{"name": one.name, **bare, "enabled": one.trouble is None} for one in extensions]


def build_extensions(service: JobService, power: Power, extensions: Sequence[Extension]) -> APIRouter:
    """What the tab Extensions shows and does. `extensions`: as this start took them."""
    router = APIRouter(prefix="/atelier/extensions")

    @router.get("")
    def listed() -> dict[str, Any]:
        """`wanted`: whether the next start will try it."""
        wish = service.settings.current.extensions
        found = [
            {
                "name": one.name,
                "bundled": one.folder.parent == ROOT / "extensions",
                "sides": one.sides,
                "trouble": one.trouble,
                "wanted": one.name not in wish.disabled_extensions,
            }
            for one in extensions
        ]
        return {"extensions": found, "all_off": wish.disable_all_extensions != "none"}

    @router.post("/restart")
    def restart(caller: Caller) -> dict[str, Any]:
        """The whole program again: jobs are stored, and the one in work is taken up."""
        service.desk(caller).check_code()
        power.ask("restart")
        return {}

    return router
