"""The routes below `/atelier/prompts` that help while prompts are written."""

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter
from pydantic import Field

from modules.api.bodies import Body
from modules.api.prompting.check import CheckBody, counted
from modules.api.prompting.completion import complete
from modules.api.prompting.notes import notes_on
from modules.api.prompting.stock import Stock
from modules.core.validation import Text
from modules.jobs.service import JobService
from modules.library.prompt_builder import PromptBuilder
from modules.library.tag_lists import TagLists
from modules.requests.generation import MAX_PROMPT

LOOKED_AT = 300
"""Letters before the cursor."""


class CompleteBody(Body):
    """`POST /atelier/prompts/complete`: the text up to the cursor, and whether it is a negative prompt."""

    before: Text = Field("", max_length=MAX_PROMPT)
    negative: bool = False


def build_prompting(service: JobService) -> APIRouter:
    """All of them."""
    router = APIRouter(prefix="/atelier/prompts")
    stock, tags, builder = Stock(service), TagLists(service.paths), PromptBuilder(service.paths)

    @router.post("/check")
    def check(body: CheckBody) -> dict[str, Any]:
        """How many tokens the prompts come to, and what is odd about the form."""
        settings = service.settings.current
        chosen = stock.checkpoint(body.checkpoint or settings.stable_diffusion.sd_model_checkpoint)
        counts = counted(body, chosen, stock, settings)
        notes = notes_on(body, chosen, counts, stock, settings) if settings.prompt_editing.prompt_notes else []
        return {"counts": counts, "notes": notes}

    @router.post("/complete")
    def completions(body: CompleteBody) -> dict[str, Any]:
        """What the word at the cursor may become; nothing if the settings switch it off."""
        settings = service.settings.current
        if not settings.prompt_completion.tac_active:
            return {"length": 0, "completions": []}
        return complete(body.before[-LOOKED_AT:], body.negative, stock, tags.look(), settings)

    @router.get("/builder")
    def words() -> dict[str, Any]:
        """The words of the prompt builder by category."""
        return asdict(builder.look())

    return router
