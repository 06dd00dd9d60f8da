"""What is odd about a form's prompts, size and guidance: sentences that name the thing and what to do."""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from modules.api.prompting.brackets import masked, odd_brackets, quoted
from modules.api.prompting.check import FIELDS, CheckBody
from modules.api.prompting.names import odd_names
from modules.api.prompting.stock import Chosen, Stock
from modules.core.errors import short
from modules.core.settings import Settings
from modules.library.readers import CLIP
from modules.prompting.chunks import CHUNK
from modules.prompting.counting import count_clip, texts_of
from modules.prompting.prompt import read_negative, read_prompt
from modules.prompting.schedule import Timeline

MOST = 20
LARGE, SMALL = 2.0, 0.45
"""Areas, as parts of the native one, from which on pictures repeat things, or come to nothing."""

FAST = re.compile(r"turbo|lightning|lcm|hyper-?sd|schnell|distill|dmd2?(?![a-z])", re.IGNORECASE)
"""In the names of checkpoints and LoRAs that were distilled to few steps at low guidance."""


@dataclass(frozen=True, kw_only=True)
class Note:
    """`field`: of the form; of a prompt the letters from `start` to `end` are meant."""

    field: str
    text: str
    start: int = 0
    end: int = 0


def notes_on(
    body: CheckBody, chosen: Chosen, counts: Mapping[str, Mapping[str, Any]], stock: Stock, settings: Settings
) -> list[dict[str, Any]]:
    """All of them, mistakes before advice."""
    found: list[Note] = []
    for field in FIELDS:
        text = getattr(body, field)
        for start, end, words in odd_brackets(text, templates=body.dynamic_prompts):
            found.append(Note(field=field, text=words, start=start, end=end))
        for start, end, words in odd_names(masked(text), field, body.dynamic_prompts, chosen, stock):
            found.append(Note(field=field, text=words, start=start, end=end))
    found += [*_guidance(body, chosen), *_size(body, chosen), *_length(body, chosen, counts, stock, settings)]
    return [asdict(note) for note in found[:MOST]]


def _length(
    body: CheckBody, chosen: Chosen, counts: Mapping[str, Mapping[str, Any]], stock: Stock, settings: Settings
) -> Iterator[Note]:
    """Prompts of more than one chunk, or longer than their family was trained with."""
    for field in FIELDS:
        count, text = counts[field], getattr(body, field)
        label = "The prompt" if field == "prompt" else "The negative prompt"
        if chosen.reader.kind != CLIP:
            if count["tokens"] > count["room"]:
                words = f"{label} has {count['tokens']} tokens, and {short(chosen.name)} was trained with {count['room']}: what stands at its end may be passed over. Shorten it."
                yield Note(field=field, text=words)
        elif count["room"] > CHUNK and not re.search(r"\bBREAK\b", text):
            at = _chunk_end(text, field, body, stock, settings)
            rest = " ".join(text[at : at + 60].split())
            where = f" from {quoted(rest)} on" if rest else ""
            words = f"{label} has {count['tokens']} tokens: chunks of {CHUNK} are read one by one, so what follows{where} is read apart from the rest. Shorten it, or write BREAK where it may be parted."
            yield Note(field=field, text=words, start=at, end=min(at + len(rest), len(text)))


def _chunk_end(text: str, field: str, body: CheckBody, stock: Stock, settings: Settings) -> int:
    """Where the second chunk begins, by halving."""
    read = read_prompt if field == "prompt" else read_negative
    timeline, options = Timeline(steps=body.steps), settings.stable_diffusion

    def fits(length: int) -> bool:
        texts = texts_of(read(masked(text[:length], keep_tags=True), timeline))
        found = count_clip(
            texts, attention=options.emphasis != "None", backtrack=options.comma_padding_backtrack, words=stock.words()
        )
        return found.room == CHUNK

    ends = [match.end() for match in re.finditer(r"\S+", text)]
    low, high = 0, len(ends)
    while low < high:
        middle = (low + high) // 2
        if fits(ends[middle]):
            low = middle + 1
        else:
            high = middle
    return min(ends[low - 1] + 1, len(text)) if low else 0


def _size(body: CheckBody, chosen: Chosen) -> Iterator[Note]:
    defaults = chosen.defaults or {}
    native = [defaults.get("width"), defaults.get("height")]
    if not (body.width and body.height and all(isinstance(side, int) and side > 0 for side in native)):
        return
    part = body.width * body.height / (native[0] * native[1])
    if SMALL <= part <= LARGE:
        return
    wide = max(round(math.sqrt(native[0] * native[1] * body.width / body.height) / 64) * 64, 64)
    high = max(round(math.sqrt(native[0] * native[1] * body.height / body.width) / 64) * 64, 64)
    odd = "is likely to show things twice" if part > 1 else "is likely to come to nothing"
    more = ", and Hires. fix for more" if part > 1 else ""
    yield Note(
        field="width",
        text=f"{body.width} x {body.height} {odd}: {short(chosen.name)} was trained with {native[0]} x {native[1]}. Set {wide} x {high}{more}.",
    )


def _guidance(body: CheckBody, chosen: Chosen) -> Iterator[Note]:
    scale, native = body.cfg_scale, (chosen.defaults or {}).get("cfg_scale")
    if scale is None:
        return
    fast = FAST.search(chosen.name)
    tag = next((m for m in re.finditer(r"<(?:lora|lyco):([^:<>]+)", masked(body.prompt)) if FAST.search(m[1])), None)
    if (fast or native == 1) and scale > 2.5:
        text = (
            f"CFG Scale {scale:g} is too much for {short(chosen.name)}, which was distilled: colours burn. Set 1 to 2."
        )
        yield Note(field="cfg_scale", text=text)
    elif tag and scale > 2.5:
        text = f"CFG Scale {scale:g} is too much with the LoRA {short(tag[1])}, which is for few steps: colours burn. Set 1 to 2."
        yield Note(field="cfg_scale", text=text)
    elif isinstance(native, int | float) and native > 1 and scale > max(3 * native, 12):
        text = f"CFG Scale {scale:g} burns colours: {short(chosen.name)} is meant for about {native:g}. Lower it."
        yield Note(field="cfg_scale", text=text)
    if scale == 1 and body.negative_prompt.strip():
        text = "At CFG Scale 1 the negative prompt has no effect. Raise CFG Scale, or leave it empty: it costs nothing then."
        yield Note(field="negative_prompt", text=text, end=len(body.negative_prompt))
