"""Prompts to what guides the pictures, kept across jobs until something that shapes it changes."""

import weakref
from collections import Counter, OrderedDict
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from modules.core.errors import InputError
from modules.core.faults import fault
from modules.engine.plan import Plan
from modules.families.clip_prompts import TextOptions
from modules.families.model import LoadedModel
from modules.networks.extra_networks import Worn
from modules.prompting.prompt import Prompt, Spans
from modules.sampling.conditioning import Composed, Scheduled, pad_with_empty, pad_with_last

KEPT = 64  # schedules
MAX_PARTS = 100  # each is drawn at every step


@dataclass(frozen=True, kw_only=True)
class Guides:
    """What a job's pictures are guided by; `fields` is what the infotext says about it. `regions`: what parts of them are guided by,
    where the request has such; `cells`: pixels per latent."""

    cond: Composed
    uncond: Scheduled
    fields: Mapping[str, Any]
    regions: tuple["Guides", ...] = ()
    cells: int = 8


class Conditions:
    """Encodes prompts, each once: the last KEPT schedules of the model in use are kept.

    A kept one serves again for the same model, texts, tags (networks change the text encoder) and text options.
    """

    def __init__(self) -> None:
        self._model: weakref.ref[LoadedModel] | None = None
        self._kept: OrderedDict[Hashable, Tensor] = OrderedDict()

    def guides(self, model: LoadedModel, plan: Plan, worn: Worn | None = None) -> Guides:
        """The conditioning of the plan's prompt and negative prompt, padded as its options say, and of its regions'; raises InputError.

        `worn`: what the model wears.
        """
        worn = worn or Worn()
        regions = tuple(self._guides(model, plan, prompt, negative, worn) for prompt, negative in plan.regions)
        whole = self._guides(model, plan, plan.prompt, plan.negative, worn)
        return replace(whole, regions=regions, cells=model.downscale)

    def _guides(self, model: LoadedModel, plan: Plan, prompt: Prompt, negative: Prompt, worn: Worn) -> Guides:
        if len(prompt.parts) > MAX_PARTS:
            raise InputError(
                "prompt",
                f"The prompt has {len(prompt.parts)} parts joined by AND: at most {MAX_PARTS} can be drawn together.",
            )
        options = plan.options
        text = TextOptions(
            clip_skip=options["CLIP_stop_at_last_layers"],
            emphasis=options["emphasis"],
            comma_padding_backtrack=options["comma_padding_backtrack"],
            t5=options["sd3_enable_t5"],
        )
        tags = (plan.prompt.tags, worn.key)
        cond = Composed(tuple((self._encode(model, spans, text, tags), w) for spans, w in prompt.parts))
        uncond = self._encode(model, negative.parts[0][0], replace(text, negative=True), tags)
        fields: dict[str, Any] = {}
        if model.chunked and cond.length != uncond.length:
            if options["pad_cond_uncond_v0"]:
                uncond, fields = pad_with_last(cond, uncond), {"Pad conds v0": True}
            elif options["pad_cond_uncond"]:
                empty = self._tensors(model, [""], [1], text, tags)[0]
                (cond, uncond), fields = pad_with_empty(cond, uncond, empty), {"Pad conds": True}
        return Guides(cond=cond, uncond=uncond, fields={**fields, **worn.fields})

    def _encode(self, model: LoadedModel, spans: Spans, text: TextOptions, tags: Hashable) -> Scheduled:
        counts = Counter(span.text for span in spans)
        number = {t: i for i, t in enumerate(counts)}
        tensors = self._tensors(model, list(counts), list(counts.values()), text, tags)
        return Scheduled(tuple(span.end for span in spans), tuple(number[span.text] for span in spans), tensors)

    def _tensors(
        self, model: LoadedModel, texts: list[str], counts: list[int], text: TextOptions, tags: Hashable
    ) -> Tensor:
        if self._model is None or self._model() is not model:
            self._kept.clear()
            self._model = weakref.ref(model)
        key = (tuple(texts), tuple(counts), text, tags)
        if key not in self._kept:
            self._kept[key] = fault("conditioning", model.prompts.encode_together(texts, counts, text))
            if len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        return self._kept[key]
