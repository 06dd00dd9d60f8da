"""Webhooks: the secrets that sign them, and the calls that still wait."""

from typing import Any

from fastapi import APIRouter

from modules.api.callers import Caller
from modules.jobs.service import JobService
from modules.library.downloads.addresses import parse_address


def build_webhooks(service: JobService) -> APIRouter:
    """The routes of docs/sharing.md."""
    router = APIRouter(prefix="/atelier")
    calls = service.store.calls

    @router.post("/me/webhook-secret")
    def own_secret(caller: Caller) -> dict[str, str]:
        """A new one for the caller's own `callback_url`s, told once."""
        return {"secret": calls.renew_secret(caller.name)}

    @router.post("/webhook-secret")
    def secret() -> dict[str, str]:
        """A new one for the address in the settings, told once."""
        return {"secret": calls.renew_secret("")}

    @router.get("/webhooks")
    def waiting(caller: Caller) -> dict[str, Any]:
        """The caller's calls that did not come through yet; an administrator's are everyone's."""
        found = calls.waiting(None if caller.admin else caller.name)
        return {
            "calls": [
                {
                    "id": call.id,
                    "job": call.job,
                    "event": f"job.{call.event}",
                    "url": parse_address(call.url).shown,
                    "tries": call.tries,
                    "due": call.due,
                    "trouble": call.trouble or None,
                }
                for call in found
            ]
        }

    return router
