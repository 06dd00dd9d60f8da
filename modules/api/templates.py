"""The styles and wildcards there are, and what prompts come to, without drawing anything."""

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import Field

from modules.api.bodies import Body
from modules.core.errors import NotFound, short
from modules.core.validation import Text, Whole
from modules.jobs.service import JobService
from modules.library.wildcards import WildcardSet
from modules.requests.generation import MAX_PROMPT, MAX_SEED
from modules.requests.txt2img import make_request
from modules.templates.resolve import resolve, with_combinations

MOST = 1000


class PromptsBody(Body):
    """`POST /atelier/prompts`: prompts, and the fields of a request that say how templates in them are filled in."""

    prompt: Text = ""
    negative_prompt: Text = ""
    seed: Whole = 0
    n_iter: Whole = 1
    dp_combinatorial: bool = False
    dp_max_generations: Whole = 0
    dp_combinatorial_batches: Whole = 1
    dp_fixed_seed: bool = False


class StyleBody(Body):
    """`POST /atelier/styles`."""

    name: Text
    prompt: Text = Field("", max_length=MAX_PROMPT)
    negative_prompt: Text = Field("", max_length=MAX_PROMPT)


def build_templates(service: JobService) -> APIRouter:
    """All of them."""
    router = APIRouter()

    def look() -> WildcardSet:
        return service.wildcards.look(service.settings.current.dynamic_prompts.wildcard_dir)

    @router.get("/sdapi/v1/prompt-styles")
    def prompt_styles() -> list[dict[str, Any]]:
        names = ("name", "prompt", "negative_prompt")
        return [{name: getattr(style, name) for name in names} for style in service.styles.all().values()]

    @router.post("/atelier/styles")
    def save_style(body: StyleBody) -> dict[str, Any]:
        """Add a style, or change the one of that name."""
        service.styles.save(body.name, body.prompt, body.negative_prompt)
        return {}

    @router.delete("/atelier/styles")
    def delete_style(name: Annotated[str, Query(max_length=500)]) -> dict[str, Any]:
        """Take a style out of its file."""
        service.styles.delete(name)
        return {}

    @router.get("/atelier/wildcards")
    def wildcards(
        search: Annotated[str, Query(max_length=200)] = "",
        offset: Annotated[int, Query(ge=0, le=10**9)] = 0,
        limit: Annotated[int, Query(ge=1, le=MOST)] = 100,
    ) -> dict[str, Any]:
        """The wildcards by name, and how many values each has."""
        found, wanted = look(), search.casefold()
        names = [name for name in found.names("**") if wanted in name.casefold()]
        entries = [{"name": name, "count": len(found.values(name))} for name in names[offset : offset + limit]]
        return {"total": len(names), "offset": offset, "wildcards": entries}

    @router.get("/atelier/wildcards/values")
    def values(
        name: Annotated[str, Query(max_length=500)],
        search: Annotated[str, Query(max_length=200)] = "",
        offset: Annotated[int, Query(ge=0, le=10**9)] = 0,
        limit: Annotated[int, Query(ge=1, le=MOST)] = 100,
    ) -> dict[str, Any]:
        """What the wildcard of that name, or those that a pattern means, may come to."""
        there, wanted = look().values(name), search.casefold()
        if not there:
            raise NotFound(
                f"There is no wildcard {short(name)}. Look for those there are, or put its file into models/wildcards."
            )
        texts = [text for _, text in there if wanted in text.casefold()]
        return {"total": len(texts), "offset": offset, "values": texts[offset : offset + limit]}

    @router.post("/atelier/prompts")
    def prompts(body: PromptsBody) -> dict[str, Any]:
        """The prompts of each picture that such a request would draw; a seed of -1 counts as 0."""
        request = with_combinations(make_request({**body.model_dump(exclude=set(body.model_extra or ()))}), look)
        seed = min(max(request.seed, 0), MAX_SEED)
        options = service.settings.current.flat()
        found = resolve(request, seed, "", look, options)
        drawn = found.requests if found and found.requests else [request] * request.count
        return {
            "prompts": [one.prompt for one in drawn],
            "negative_prompts": [one.negative_prompt for one in drawn],
            "seeds": [request.seed_of(seed, position) for position in range(request.count)],
            "warnings": list(found.warnings) if found else [],
        }

    return router
