"""Styles and templates in prompts, filled in before anything is drawn: pictures with the same prompts are drawn together."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from modules.engine.context import Context
from modules.engine.toolbox import Toolbox
from modules.library.styles import with_styles
from modules.requests.events import Done, Order, Warned
from modules.requests.generation import GenerationRequest
from modules.templates.resolve import Resolved, resolve

Recipe = Callable[[Order, Toolbox, Context], Done]


def with_templates(recipe: Recipe) -> Recipe:
    """The recipe for orders that have styles, and whose prompts may be templates."""

    def drawn(order: Order, tools: Toolbox, context: Context) -> Done:
        styles, request = order.request.styles, with_styles(order.request, tools.styles)
        order = replace(order, request=request)
        found = resolve(request, order.seed, order.job, lambda: tools.wildcards.look(named(order)), order.options)
        for warning in found.warnings if found else ():
            context.emit(Warned(message=warning))
        if found is None or not found.requests:
            ended = recipe(order, tools, context)
        else:
            ended = _drawn(order, found, tools, context, recipe)
        return replace(ended, info={**ended.info, "styles": list(styles)}) if styles else ended

    return drawn


def named(order: Order) -> str:
    """The folders with wildcards that the job's settings name."""
    return order.options["wildcard_dir"]


def _drawn(order: Order, found: Resolved, tools: Toolbox, context: Context, recipe: Recipe) -> Done:
    every, ended = frozenset(range(len(found.requests))), Done()
    groups = list(_groups(order.request, found))
    for number, (request, positions) in enumerate(groups):
        if number and context.ending:
            ended = replace(ended, stopped=True)
            break
        if positions <= order.done and number < len(groups) - 1:
            continue
        notes = {**order.notes, **found.notes}
        ended = recipe(
            replace(order, request=request, notes=notes, done=order.done | (every - positions)), tools, context
        )
        if ended.stopped:
            break
    prompts = [request.prompt for request in found.requests]
    negatives = [request.negative_prompt for request in found.requests]
    texts = {"prompt": prompts[0], "negative_prompt": negatives[0]}
    return replace(ended, info={**ended.info, **texts, "all_prompts": prompts, "all_negative_prompts": negatives})


def _groups(request: GenerationRequest, found: Resolved) -> Iterator[tuple[GenerationRequest, frozenset[int]]]:
    """Requests with the positions they draw: whole batches where each has one set of prompts, else picture by picture."""
    size, requests = request.batch_size, found.requests
    begun: Sequence[Any] = getattr(request, "init_images", ())
    batches = [requests[start : start + size] for start in range(0, len(requests), size)]
    if any(one != batch[0] for batch in batches for one in batch):
        size = 1
        if len(begun) > 1:  # one for each place in a batch
            for place, alone in enumerate(requests):
                own = {"batch_size": 1, "n_iter": len(requests), "init_images": (begun[place % request.batch_size],)}
                yield alone.model_copy(update=own), frozenset((place,))
            return
    start = 0
    for end in range(size, len(requests) + size, size):
        if end >= len(requests) or requests[end] != requests[start]:
            one = requests[start].model_copy(update={"batch_size": size, "n_iter": len(requests) // size})
            yield one, frozenset(range(start, min(end, len(requests))))
            start = end
