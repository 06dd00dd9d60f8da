"""What programs ask by headers of the routes that draw: `Idempotency-Key` and `Prefer: respond-async`."""

import json
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends
from starlette.requests import Request as HTTPRequest
from starlette.responses import JSONResponse

from modules.api.bodies import Body
from modules.core.errors import InputError
from modules.jobs.keys import FIELD, Key, make_key
from modules.jobs.store import Job


@dataclass(frozen=True, kw_only=True)
class Asked:
    """`wait`: the answer comes with the pictures; otherwise at once, with the job's id."""

    route: str
    root: str
    key: str | None
    wait: bool

    def named(self, body: Body, hours: float) -> Key | None:
        """The key of that body, if one was sent."""
        if self.key is None:
            return None
        return make_key(self.key, self.route, json.dumps(body.model_dump(mode="json"), sort_keys=True), hours)


def asked_of(request: HTTPRequest) -> Asked:
    """What the headers say; raises InputError for two keys."""
    keys = request.headers.getlist(FIELD)
    if len(keys) > 1:
        raise InputError(FIELD, f"{FIELD} is sent {len(keys)} times. Send one.")
    wishes = ",".join(request.headers.getlist("prefer")).lower().split(",")
    wait = not any(wish.partition(";")[0].strip() == "respond-async" for wish in wishes)
    return Asked(
        route=request.scope["route"].path,
        root=request.scope.get("root_path", ""),
        key=keys[0] if keys else None,
        wait=wait,
    )


Headers = Annotated[Asked, Depends(asked_of)]


def accepted(job: Job, asked: Asked) -> JSONResponse:
    """202: the job is stored, and where it is told how far it is."""
    status = f"{asked.root}/atelier/jobs/{job.id}"
    headers = {"Location": status, "Preference-Applied": "respond-async"}
    return JSONResponse({"job": job.id, "state": job.state, "status_url": status}, 202, headers)
