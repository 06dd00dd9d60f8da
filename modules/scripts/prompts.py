"""Prompts from file or textbox: one drawing a line, each a prompt or `--name value` pairs."""

import random
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from modules.core.errors import InputError, short
from modules.engine.scripts import EngineAPI, Script, Values
from modules.requests.axes import remade
from modules.requests.generation import MAX_SEED, GenerationRequest
from modules.requests.plot import MOST_PICTURES
from modules.requests.scripts import ScriptField

TITLE = "Prompts from file or textbox"


class NotFlags(Exception):
    """A line that is a prompt, although two dashes are in it; says why."""


@dataclass(frozen=True, kw_only=True)
class Line:
    """One line: request fields, and the checkpoint where it names one."""

    number: int
    values: dict[str, Any]
    checkpoint: str | None = None


class PromptsFromFile(Script):
    """A1111's prompts from file or textbox."""

    title = TITLE

    def fields(self, tab: str) -> tuple[ScriptField, ...]:
        """A1111's arguments in their order."""
        return (
            ScriptField(name="checkbox_iterate", label="Iterate seed every line", kind="switch", default=False),
            ScriptField(
                name="checkbox_iterate_batch", label="Use same random seed for all lines", kind="switch", default=False
            ),
            ScriptField(
                name="prompt_position",
                label="Insert prompts at the",
                kind="choice",
                default="start",
                choices=("start", "end"),
            ),
            ScriptField(
                name="prompt_txt",
                label="List of prompt inputs",
                kind="lines",
                default="",
                tooltip='One drawing a line: a prompt, or flags such as --prompt "a cat" --steps 30 --width 768.',
            ),
        )

    def run(self, request: GenerationRequest, values: Values, api: EngineAPI) -> None:
        """Draw line after line; every line is read before the first is drawn."""
        same = values["checkbox_iterate"] or values["checkbox_iterate_batch"]
        jobs: list[GenerationRequest] = []
        seed = api.seed
        for line in read_lines(values["prompt_txt"], api):
            if request.seed < 0 and not same and jobs:
                seed = random.Random(f"{api.seed} {line.number}").randrange(2**32)
            jobs.append(_made(remade(request, {"seed": seed}), line, values["prompt_position"]))
            if values["checkbox_iterate"]:
                seed = min(seed + request.count, MAX_SEED - request.count)
        pictures = sum(job.count for job in jobs)
        if not jobs or pictures > MOST_PICTURES:
            raise InputError(
                "script_args",
                f"{TITLE}: {len(jobs)} lines ask for {pictures} pictures: 1 to {MOST_PICTURES} are possible. Change the list.",
            )
        for job in jobs:
            api.options_of(job)
        api.expect(len(jobs))
        for job in jobs:
            api.draw(job)


def read_lines(text: str, api: EngineAPI) -> Iterator[Line]:
    """The lines that are not empty; raises InputError for a flag's wrong value. What only looks like flags is a prompt, and told of."""
    for number, line in enumerate(text.splitlines(), start=1):
        line = line.strip()
        if not line:
            continue
        try:
            yield _flags(number, line, api) if "--" in line else Line(number=number, values={"prompt": line})
        except NotFlags as reason:
            api.warn(f"Line {number} of the prompts is taken as a prompt: {reason}.")
            yield Line(number=number, values={"prompt": line})


def _flags(number: int, line: str, api: EngineAPI) -> Line:
    """Names of flags with their values; raises NotFlags for a line that is none of these."""
    try:
        words = shlex.split(line)
    except ValueError as error:
        raise NotFlags(f"{str(error)[:1].lower()}{str(error)[1:]}") from error
    values: dict[str, Any] = {}
    at = 0
    while at < len(words):
        name = words[at].removeprefix("--")
        if name == words[at] or name not in FLAGS:
            raise NotFlags(f"{short(words[at])} is no flag it can have")
        end = at + 1
        if name in ("prompt", "negative_prompt"):  # all words up to the next flag
            while end < len(words) and not words[end].startswith("--"):
                end += 1
        elif end < len(words):
            end += 1
        else:
            raise NotFlags(f"--{name} is without a value")
        field, read = FLAGS[name]
        values[field] = _value(number, name, " ".join(words[at + 1 : end]), read, api)
        at = end
    for field in IGNORED & values.keys():
        del values[field]
    checkpoint = values.pop("sd_model", None)
    return Line(number=number, values=values, checkpoint=checkpoint)


def _value(number: int, name: str, text: str, read: Callable[[str], Any] | None, api: EngineAPI) -> Any:
    if read is None:
        raise InputError("script_args", f"{TITLE}, line {number}: --{name} is not possible here; leave it out.")
    if name == "sampler_index":
        samplers = api.catalogue.samplers
        if not text.isdecimal() or len(text) > 6 or int(text) >= len(samplers):
            said = f"--sampler_index {short(text)}: it must be a number from 0 to {len(samplers) - 1}"
            raise InputError("script_args", f"{TITLE}, line {number}: {said}.")
        return samplers[int(text)].name
    if read is bool:
        if text.casefold() not in ("true", "false"):
            said = f"--{name} {short(text)}: it must be true or false"
            raise InputError("script_args", f"{TITLE}, line {number}: {said}.")
        return text.casefold() == "true"
    return read(text)


def _made(request: GenerationRequest, line: Line, position: str) -> GenerationRequest:
    """The request of a line, its prompts joined to those of the form. Values are checked as those of any request."""
    values = dict(line.values)
    for field in ("prompt", "negative_prompt"):
        own, given = getattr(request, field), values.get(field)
        if given and own:
            values[field] = f"{given} {own}" if position == "start" else f"{own} {given}"
    if values.get("seed") == -1:
        values["seed"] = random.Random(f"{request.seed} {line.number} own").randrange(2**32)
    if values.pop("do_not_save_samples", False):
        values["save_images"] = False
    if line.checkpoint:
        values["override_settings"] = {**request.override_settings, "sd_model_checkpoint": line.checkpoint}
    try:
        return remade(request, values)
    except InputError as error:
        raise InputError("script_args", f"{TITLE}, line {line.number}: {error.message}") from error


def _text(text: str) -> str:
    return text


# flag -> (request field, how its value is read); pydantic reads numbers
FLAGS: dict[str, tuple[str, Callable[[str], Any] | None]] = {
    **{name: (name, _text) for name in ("prompt", "negative_prompt", "seed", "subseed", "subseed_strength")},
    **{name: (name, _text) for name in ("seed_resize_from_h", "seed_resize_from_w", "sampler_name", "batch_size")},
    **{name: (name, _text) for name in ("n_iter", "steps", "cfg_scale", "width", "height", "sd_model")},
    "sampler_index": ("sampler_name", _text),
    **{name: (name, bool) for name in ("restore_faces", "tiling", "do_not_save_samples", "do_not_save_grid")},
    "prompt_for_display": ("prompt_for_display", _text),
    "styles": ("styles", _text),
    "outpath_samples": ("outpath_samples", None),
    "outpath_grids": ("outpath_grids", None),
}
IGNORED = {"do_not_save_grid", "prompt_for_display"}  # no grid is made of lines, and the whole prompt is shown
