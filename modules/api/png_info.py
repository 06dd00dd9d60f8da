"""Our own route about the metadata of pictures, for the tab PNG Info: more than A1111's has place for."""

from typing import Any

from fastapi import APIRouter
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from modules.images.infotext import parse_infotext
from modules.images.metadata.read import Metadata, read_metadata

SHOWN = 200_000
"""More letters of one text are not sent to a page."""

FILE = {
    "requestBody": {
        "required": True,
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}


def build_png_info() -> APIRouter:
    """`POST /atelier/png-info`, whose body is a picture file."""
    router = APIRouter(prefix="/atelier")

    @router.post("/png-info", openapi_extra=FILE)
    async def png_info(request: Request) -> dict[str, Any]:
        data = await request.body()
        return await run_in_threadpool(lambda: told(read_metadata(data)))

    return router


def told(found: Metadata) -> dict[str, Any]:
    """What a page shows of it."""
    parsed = parse_infotext(found.infotext)
    return {
        "program": found.program,
        "infotext": found.infotext,
        "prompt": parsed.prompt,
        "negative_prompt": parsed.negative_prompt,
        "fields": parsed.fields,
        "unmapped": list(found.unmapped),
        "notes": list(found.notes),
        "chunks": {name: cut(text) for name, text in found.chunks.items()},
        "format": found.format,
        "width": found.width,
        "height": found.height,
    }


def cut(text: str) -> str:
    """As much of it as is shown."""
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}… ({len(text)} letters in all)"
