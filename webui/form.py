"""The form's values: to a request, from defaults and from infotext. Knows nothing of gradio."""

import json
from collections.abc import Mapping
from typing import Any

from modules.core.errors import AtelierError, InputError, UnknownName, short
from modules.core.settings import Settings
from modules.images.infotext import parse_infotext, to_request_values
from modules.images.overrides import CHECKPOINT, CHECKPOINT_KEYS, from_entries, overrides, to_entries
from modules.library.checkpoints import Checkpoints, page_defaults
from modules.requests.catalogue import Catalogue
from modules.requests.guidance import ENABLED, TECHNIQUES, flat_names, flattened, gathered, label_of
from modules.requests.txt2img import Txt2ImgRequest, make_request

LABELS = {
    "prompt": "Prompt",
    "negative_prompt": "Negative prompt",
    "sampler_name": "Sampling method",
    "scheduler": "Schedule type",
    "steps": "Sampling steps",
    "width": "Width",
    "height": "Height",
    "n_iter": "Batch count",
    "batch_size": "Batch size",
    "refiner_checkpoint": "Checkpoint",
    "refiner_switch_at": "Switch at",
    "cfg_scale": "CFG Scale",
    "seed": "Seed",
    "override_settings": "Override settings",
    "tiling": "Tiling",
    "cfg_rescale": "CFG rescale",
    **{name: label_of(name) for name, *_ in flat_names()},
    "sd_model_checkpoint": "Stable Diffusion checkpoint",
}
REFINER = {"refiner_checkpoint": "None", "refiner_switch_at": 0.8}  # what its fields start from: without it
FIELDS = tuple(name for name in LABELS if name != "sd_model_checkpoint")
FLAT = {name: (field, part) for name, field, part in flat_names()}  # of the techniques' values, in which field each is


def to_request(values: Mapping[str, Any], checkpoint: str | None) -> Txt2ImgRequest:
    """The request for one press of Generate; raises InputError naming the first wrong value."""
    given = {name: values[name] for name in FIELDS if name in values and name not in FLAT}
    if isinstance(given.get("seed"), str):
        given["seed"] = given["seed"].strip() or -1
    if given.get("tiling") is False:
        given["tiling"] = None  # as the setting says
    override = {CHECKPOINT: checkpoint} if checkpoint else {}
    override.update(from_entries(values.get("override_settings", [])))
    return _made({**given, **gathered(values), "override_settings": override})


def _made(values: dict[str, Any]) -> Txt2ImgRequest:
    """`make_request`, whose errors call the techniques' values as the page does."""
    try:
        return make_request(values)
    except InputError as error:
        field, _, part = error.field.partition(".")
        name = next((name for name, where in FLAT.items() if where == (field, part)), None)
        if name is None:
            raise
        raise InputError(name, error.message.replace(error.field, name, 1)) from error


def shown(name: str, value: Any) -> Any:
    """A request's value as its component shows it: seeds as text, because JavaScript's numbers cannot hold them all."""
    return str(value) if name == "seed" else bool(value) if name == "tiling" else value


def checked(name: str, value: Any, catalogue: Catalogue) -> Any:
    """A value for that field as the page may show it; raises InputError."""
    if name in FLAT:
        field, part = FLAT[name]
        enabled = next(flat for flat, where in FLAT.items() if where == (field, ENABLED))
        request = to_request({enabled: True, name: value}, None)
        return flattened(request)[name] if part != ENABLED else getattr(request, field) is not None
    found = getattr(to_request({name: value}, None), name)
    if name == "override_settings":
        return list(value)  # as entries
    if name == "sampler_name":
        return catalogue.sampler_and_schedule(found, None)[0].name
    if name == "scheduler":
        return schedule_label(found, catalogue)
    if name in REFINER and found is None:
        return REFINER[name]
    return shown(name, found)


def schedule_label(name: str, catalogue: Catalogue) -> str:
    """The label of the schedule that has this name, label or alias; raises UnknownName."""
    for entry in catalogue.schedules:
        if name.strip().casefold() in (key.casefold() for key in (entry.name, entry.label, *entry.aliases)):
            return entry.label
    raise UnknownName.among("scheduler", name, [entry.label for entry in catalogue.schedules])


def usable(values: Mapping[str, Any], catalogue: Catalogue) -> dict[str, Any]:
    """Those of `values` that a field of the form can take. They come from files and browsers: anything may be in them."""
    found = {}
    for name in FIELDS:
        if name in values:
            try:
                found[name] = checked(name, values[name], catalogue)
            except AtelierError:
                continue
    return found


def starting_values(checkpoint: str | None, checkpoints: Checkpoints, catalogue: Catalogue) -> dict[str, Any]:
    """What every field starts from: the checkpoint's own defaults, else the request's."""
    plain = make_request({})
    parts = flattened(make_request({field: {} for field in TECHNIQUES}))
    values = {name: shown(name, getattr(plain, name)) for name in FIELDS if name not in FLAT}
    values.update({name: value if FLAT[name][1] != ENABLED else False for name, value in parts.items()})
    values.update(REFINER)
    if catalogue.samplers and plain.sampler_name not in (s.name for s in catalogue.samplers):
        values["sampler_name"] = catalogue.samplers[0].name
    try:
        own = page_defaults(checkpoints.find(checkpoint or ""))
    except AtelierError:
        own = {}
    return {**values, **usable(own, catalogue), "override_settings": []}  # a file changes no settings


def remembered(text: Any) -> tuple[str | None, dict[str, Any]]:
    """The checkpoint and the touched values that a browser kept: `{"checkpoint": name, "touched": {field: value}}`."""
    try:
        stored = json.loads(text)
        checkpoint, touched = stored["checkpoint"], stored["touched"]
    except (TypeError, ValueError, KeyError):
        return None, {}
    return checkpoint if isinstance(checkpoint, str) else None, touched if isinstance(touched, dict) else {}


def from_infotext(text: str, catalogue: Catalogue) -> tuple[dict[str, Any], list[InputError]]:
    """The values that an infotext holds, ready to show, and what is wrong with the others. Techniques that it does not tell
    of were off."""
    parsed = parse_infotext(text)
    if not parsed.fields:
        raise InputError(
            "prompt",
            "The prompt holds no generation parameters. Paste a picture's infotext into it, then press ↙️ again.",
        )
    values = {"refiner_checkpoint": None, **to_request_values(parsed)}  # one that it does not tell of was none
    if "sampler_name" in values:
        try:
            sampler, schedule = catalogue.sampler_and_schedule(values["sampler_name"], values.get("scheduler"))
            values.update(sampler_name=sampler.name, scheduler=schedule.label)
        except InputError:
            pass  # found again below, and told
    found: dict[str, Any] = {"tiling": False, "cfg_rescale": 0.0}
    found.update({name: False for name, (_, part) in FLAT.items() if part == ENABLED})
    wrong: list[InputError] = []
    for field in TECHNIQUES:
        parts = values.pop(field, None)
        if parts is not None:
            try:
                found.update(flattened(_made({field: parts})))
            except InputError as error:
                wrong.append(error)
    for name, value in values.items():
        try:
            found[name] = checked(name, value, catalogue)
        except InputError as error:
            wrong.append(error)
    return found, wrong


def overriding(
    text: str, settings: Settings, checkpoint: str | None, checkpoints: Checkpoints
) -> tuple[list[str], str | None]:
    """The entries of "Override settings" for that infotext, and a sentence if its checkpoint is not here.

    `settings` and `checkpoint` are those of now. What the form has a field of its own for has no entry.
    """
    parsed = parse_infotext(text)
    options = overrides(parsed.fields, settings, f"{parsed.prompt}\n{parsed.negative_prompt}")
    entries = to_entries({option: value for option, value in options.items() if option not in FIELDS})
    said = {key: parsed.fields[key] for key in CHECKPOINT_KEYS if parsed.fields.get(key)}
    for key, name in said.items():
        found = _found(name, said.get("Model hash", ""), checkpoints)
        if found is not None:
            return entries if found == checkpoint else [f"{key}: {name}", *entries], None
    if not said:
        return entries, None
    return entries, (
        f"The checkpoint {short(' '.join(reversed(said.values())))} is not here: "
        f"{short(checkpoint or 'the first one')} is used instead."
    )


def _found(name: str, said: str, checkpoints: Checkpoints) -> str | None:
    """The checkpoint of that name or hash, unless its hash is known not to be the one said (A1111's old ones are shorter)."""
    try:
        found = checkpoints.find(name)
    except AtelierError:
        return None
    differs = len(said) == 10 and found.short_hash not in (None, said.lower())
    return None if differs else found.name
