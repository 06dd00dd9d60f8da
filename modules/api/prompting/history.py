"""The routes of the prompt history: everyone sees and changes their own."""

import math
import time
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from pydantic import Field

from modules.api.bodies import Body
from modules.api.callers import Caller
from modules.core.validation import Number, Text
from modules.jobs.service import JobService
from modules.requests.generation import MAX_PROMPT

MOST = 200
Id = Annotated[int, Path(ge=1, lt=2**60)]


class PinBody(Body):
    """`POST /atelier/prompts/history/{id}/pin`."""

    pinned: bool = True


class PairBody(Body):
    """`POST /atelier/prompts/history`: a pair that was deleted, to be put back; `used`: its place in the list."""

    prompt: Text = Field("", max_length=MAX_PROMPT)
    negative_prompt: Text = Field("", max_length=MAX_PROMPT)
    used: Number | None = Field(None, ge=0)
    pinned: bool = False


def build_history(service: JobService) -> APIRouter:
    """All of them."""
    router = APIRouter(prefix="/atelier/prompts/history")
    history = service.prompts

    @router.get("")
    def pairs(
        caller: Caller,
        search: Annotated[str, Query(max_length=200)] = "",
        offset: Annotated[int, Query(ge=0, le=10**9)] = 0,
        limit: Annotated[int, Query(ge=1, le=MOST)] = 50,
    ) -> dict[str, Any]:
        """The pinned ones, then the others, newest first."""
        found = history.list(caller.name, search)
        return {
            "total": len(found),
            "offset": offset,
            "prompts": [asdict(one) for one in found[offset : offset + limit]],
        }

    @router.post("")
    def put_back(body: PairBody, caller: Caller) -> dict[str, Any]:
        """A pair that was deleted, at its old place."""
        now = time.time()
        used = min(body.used, now) if body.used is not None and math.isfinite(body.used) else now
        history.add(caller.name, body.prompt, body.negative_prompt, used=used, pinned=body.pinned)
        return {}

    @router.delete("")
    def clear(caller: Caller) -> dict[str, Any]:
        """All that are not pinned."""
        history.clear(caller.name)
        return {}

    @router.post("/{pair_id}/pin")
    def pin(pair_id: Id, body: PinBody, caller: Caller) -> dict[str, Any]:
        """Keep it whatever comes, or no longer."""
        history.pin(caller.name, pair_id, body.pinned)
        return {}

    @router.delete("/{pair_id}")
    def delete(pair_id: Id, caller: Caller) -> dict[str, Any]:
        """Forget it."""
        history.delete(caller.name, pair_id)
        return {}

    return router
