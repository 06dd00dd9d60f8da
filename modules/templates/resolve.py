"""Requests with templates in their prompts: which picture is drawn from which prompts."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from modules.core.errors import InputError
from modules.library.wildcards import WildcardSet
from modules.requests.generation import MAX_PROMPT, GenerationRequest
from modules.requests.tiled import read_regions, write_regions
from modules.templates.choosing import EVERY, RANDOM, Chooser, Odometer
from modules.templates.expand import Expander
from modules.templates.grammar import is_template

TEXTS = ("prompt", "negative_prompt", "hr_prompt", "hr_negative_prompt")
UNIT_TEXTS = ("ad_prompt", "ad_negative_prompt")
REGION_TEXTS = ("prompt", "negative_prompt")
NOTES = {"prompt": "Template", "negative_prompt": "Negative Template"}
"""What an infotext calls them, as the extension does."""

MOST_PICTURES = 1000

Place = tuple[str, int, str]
"""Where a text is: in the request, in its detail unit of that number, or in its region."""

Request = TypeVar("Request", bound=GenerationRequest)


@dataclass(frozen=True, kw_only=True)
class Resolved:
    """A request for each picture in turn, and sentences for the user. `notes` go into the infotexts."""

    requests: tuple[GenerationRequest, ...]
    warnings: tuple[str, ...]
    notes: Mapping[str, str]


def resolve(
    request: GenerationRequest, seed: int, job: str, look: Callable[[], WildcardSet], options: Mapping[str, Any]
) -> Resolved | None:
    """What each picture of the request is drawn from; None if no prompt is a template. Raises InputError for one that grows too long.

    `seed` is the first picture's; `look` is asked for the wildcards if there may be a template. Prompts follow the seed of their picture; unlinked from it they follow the `job`.
    """
    texts = dict(_texts(request)) if request.dynamic_prompts else {}
    if not any(is_template(text) for text in texts.values()):
        return None
    expander = Expander(look())
    dynamic = {place: text for place, text in texts.items() if expander.is_dynamic(text)}
    if not dynamic:
        return Resolved(requests=(), warnings=tuple(expander.warnings), notes={}) if expander.warnings else None
    span = max(request.count // request.dp_combinatorial_batches, 1) if request.dp_combinatorial else request.count
    squash = options["dp_ignore_whitespace"]
    odometer, found = Odometer(), []
    for position in range(request.count):
        if position % span == 0:
            odometer = Odometer()
        key = f"{job} {position}" if request.dp_unlink_seed else request.seed_of(seed, position)
        chosen = _chosen(request, dynamic, expander, key, position, odometer)
        found.append(_put(request, {place: _squashed(text) if squash else text for place, text in chosen.items()}))
        odometer.advance()
    notes = {NOTES[name]: text for (where, _, name), text in dynamic.items() if where == "" and name in NOTES}
    return Resolved(
        requests=tuple(found),
        warnings=tuple(expander.warnings),
        notes=notes if options["dp_write_raw_template"] else {},
    )


def with_combinations(request: Request, look: Callable[[], WildcardSet], most_pictures: int = MOST_PICTURES) -> Request:
    """The request with as many batches, of one picture each, as its templates have combinations; raises InputError for too many."""
    texts = dict(_texts(request))
    if not (request.dynamic_prompts and request.dp_combinatorial and any(map(is_template, texts.values()))):
        return request
    expander = Expander(look())
    dynamic = {place: text for place, text in texts.items() if expander.is_dynamic(text)}
    if not dynamic:
        return request
    limit = max(min(most_pictures, MOST_PICTURES) // request.dp_combinatorial_batches, 1)
    most = min(request.dp_max_generations or limit, limit)
    odometer, count = Odometer(), 1
    while count <= most:
        _chosen(request, dynamic, expander, 0, count, odometer)
        if not odometer.advance():
            break
        count += 1
    if count > most and most == limit != request.dp_max_generations:
        raise InputError(
            "dp_max_generations",
            f"The prompt has more than {most} combinations. Set Max generations, or take some of its variants out.",
        )
    pictures = min(count, most) * request.dp_combinatorial_batches
    return request.model_copy(update={"n_iter": pictures, "batch_size": 1})


def _chosen(
    request: GenerationRequest,
    texts: Mapping[Place, str],
    expander: Expander,
    seed: int | str,
    position: int,
    odometer: Odometer,
) -> dict[Place, str]:
    usual = EVERY if request.dp_combinatorial else RANDOM
    odometer.rewind()
    return {
        place: expander.expand(text, Chooser(seed, position, odometer, usual)).strip() for place, text in texts.items()
    }


def _texts(request: GenerationRequest) -> Iterator[tuple[Place, str]]:
    """Every prompt of a request, and where it is."""
    for name in TEXTS:
        yield ("", 0, name), getattr(request, name, "")
    for number, unit in enumerate(request.detail):
        yield from ((("detail", number, name), getattr(unit, name)) for name in UNIT_TEXTS)
    if request.tiled_diffusion:
        for number, region in enumerate(request.tiled_diffusion.places):
            yield from ((("region", number, name), getattr(region, name)) for name in REGION_TEXTS)


def _put(request: Request, texts: Mapping[Place, str]) -> Request:
    """The request with these texts at their places."""
    for (_, _, name), text in texts.items():
        if len(text) > MAX_PROMPT:
            raise InputError(
                name,
                f"{name} would be {len(text)} characters long once its template is filled in: at most {MAX_PROMPT} are possible. "
                "Take some of its wildcards out.",
            )
    changed: dict[str, Any] = {name: text for (where, _, name), text in texts.items() if where == ""}
    if units := _parted(texts, "detail"):
        changed["detail"] = tuple(
            unit.model_copy(update=units.get(number, {})) for number, unit in enumerate(request.detail)
        )
    if (parts := _parted(texts, "region")) and (tiled := request.tiled_diffusion):
        places = read_regions(tiled.regions)
        regions = tuple(
            region.model_copy(update={key: text.replace("|", " ") for key, text in parts.get(number, {}).items()})
            for number, region in enumerate(places)
        )
        changed["tiled_diffusion"] = tiled.model_copy(update={"regions": write_regions(regions)})
    return request.model_copy(update=changed)


def _parted(texts: Mapping[Place, str], wanted: str) -> dict[int, dict[str, str]]:
    found: dict[int, dict[str, str]] = {}
    for (where, number, name), text in texts.items():
        if where == wanted:
            found.setdefault(number, {})[name] = text
    return found


def _squashed(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()
