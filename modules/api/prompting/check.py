"""What a prompt comes to, told while it is typed: its tokens."""

from dataclasses import asdict
from typing import Any

from pydantic import Field

from modules.api.bodies import Body
from modules.api.prompting.stock import Chosen, Stock
from modules.core.errors import InputError
from modules.core.settings import Settings
from modules.core.validation import Number, Text, Whole
from modules.library.readers import CLIP
from modules.library.styles import merged
from modules.prompting.comments import without_comments
from modules.prompting.counting import Count, count_clip, count_whole, texts_of
from modules.prompting.prompt import read_negative, read_prompt
from modules.prompting.schedule import Timeline
from modules.requests.generation import MAX_PROMPT
from modules.requests.txt2img import make_request
from modules.templates.resolve import resolve

FIELDS = ("prompt", "negative_prompt")
WEIGHS = ("t5xxl", "pile_t5xl")
"""Of the tokenizers without chunks, those whose families read brackets as weights."""


class CheckBody(Body):
    """`POST /atelier/prompts/check`: what stands in a form. `checkpoint`: by any of its names; without it the one of the settings."""

    prompt: Text = Field("", max_length=MAX_PROMPT)
    negative_prompt: Text = Field("", max_length=MAX_PROMPT)
    styles: list[Text] = Field([], max_length=1000)
    checkpoint: Text = Field("", max_length=1000)
    steps: Whole = Field(20, ge=1, le=1000)
    width: Whole | None = Field(None, ge=1, le=65_536)
    height: Whole | None = Field(None, ge=1, le=65_536)
    cfg_scale: Number | None = Field(None, ge=0, le=1000)
    dynamic_prompts: bool = True


def counted(body: CheckBody, chosen: Chosen, stock: Stock, settings: Settings) -> dict[str, dict[str, Any]]:
    """The tokens of both prompts: with the styles, of one of a template's variants, without tags of networks."""
    texts = {field: _styled(getattr(body, field), field, body, stock, settings) for field in FIELDS}
    texts, varies = _drawn(texts, body, stock, settings)
    timeline = Timeline(steps=body.steps, old=settings.compatibility.use_old_scheduling)
    read = {"prompt": read_prompt, "negative_prompt": read_negative}
    return {
        field: {
            **asdict(_count(texts_of(read[field](without_comments(text), timeline)), chosen, stock, settings)),
            "varies": varies,
        }
        for field, text in texts.items()
    }


def _count(texts: list[str], chosen: Chosen, stock: Stock, settings: Settings) -> Count:
    reader, options = chosen.reader, settings.stable_diffusion
    brackets = options.emphasis != "None"
    tokenizer = stock.tokenizer(reader.kind) if reader.kind != CLIP else None
    if tokenizer:
        weighs = brackets and reader.kind in WEIGHS
        return count_whole(texts, tokenizer, reader.most, lower=reader.lower, brackets=weighs)
    found = count_clip(texts, attention=brackets, backtrack=options.comma_padding_backtrack, words=stock.words())
    return found if reader.kind == CLIP else Count(tokens=found.tokens, room=reader.most, exact=False)


def _styled(text: str, field: str, body: CheckBody, stock: Stock, settings: Settings) -> str:
    if body.styles and settings.prompt_editing.include_styles_into_token_counters:
        known = stock.styles()
        for name in body.styles:
            if name in known and len(text) <= MAX_PROMPT:
                text = merged(getattr(known[name], field), text)
    return text


def _drawn(texts: dict[str, str], body: CheckBody, stock: Stock, settings: Settings) -> tuple[dict[str, str], bool]:
    """The texts with their templates filled in for the first seed, and whether there were any."""
    if not body.dynamic_prompts:
        return texts, False
    try:
        found = resolve(make_request(texts), 0, "", stock.wildcards, settings.flat())
    except InputError:  # it grows too long: a press of Generate says so
        return texts, False
    if not found or not found.requests:
        return texts, False
    return {field: getattr(found.requests[0], field) for field in texts}, True
