"""The form's values: to a request, from defaults and from infotext. Knows nothing of gradio."""

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from modules.core.errors import AtelierError, InputError, UnknownName, short
from modules.core.settings import Settings
from modules.images.infotext import Infotext, disregarded, parse_infotext, to_request_values
from modules.images.overrides import CHECKPOINT, CHECKPOINT_KEYS, from_entries, modules_of, overrides, to_entries
from modules.library.checkpoints import Checkpoints, page_defaults
from modules.requests.catalogue import Catalogue
from modules.requests.guidance import ENABLED, TECHNIQUES, flat_names, flattened, gathered, label_of
from modules.requests.img2img import Img2ImgRequest
from modules.requests.txt2img import Txt2ImgRequest, make_request
from webui import hires_form, seed_form
from webui.control_form import CONTROL, text_of
from webui.control_form import LABEL as CONTROL_LABEL
from webui.control_form import START as NO_CONTROL
from webui.control_form import check as check_control
from webui.detail_form import UNIT_CHECKS, UNIT_LABELS, UNIT_STARTS, UNITS, gathered_units, page_name, told_units

MODULES = "forge_additional_modules"  # a setting that the page has a field for
LABELS = {
    "prompt": "Prompt",
    "negative_prompt": "Negative prompt",
    "styles": "Styles",
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
    "distilled_cfg_scale": "Distilled CFG Scale",
    "seed": "Seed",
    **seed_form.LABELS,
    "override_settings": "Override settings",
    "tiling": "Tiling",
    "restore_faces": "Restore faces",
    "cfg_rescale": "CFG rescale",
    "dynamic_prompts": "Dynamic Prompts enabled",
    "dp_combinatorial": "Combinatorial generation",
    "dp_max_generations": "Max generations (0 = all combinations)",
    "dp_combinatorial_batches": "Combinatorial batches",
    "dp_fixed_seed": "Fixed seed",
    "dp_unlink_seed": "Unlink seed from prompt",
    **UNIT_LABELS,
    CONTROL: CONTROL_LABEL,
    **{name: label_of(name) for name, *_ in flat_names()},
    MODULES: "VAE / Text Encoder",
    "sd_model_checkpoint": "Stable Diffusion checkpoint",
}
REFINER = {"refiner_checkpoint": "None", "refiner_switch_at": 0.8}  # what its fields start from: without it
FIELDS = tuple(name for name in LABELS if name != "sd_model_checkpoint")
AS_SET = ("tiling", "restore_faces")
"""Boxes that only say yes: unticked, the setting decides."""

FLAT = {name: (field, part) for name, field, part in flat_names()}  # of the techniques' values, in which field each is

DrawRequest = Txt2ImgRequest | Img2ImgRequest


@dataclass(frozen=True, kw_only=True)
class Form:
    """A tab's fields, and how a request is made of their values (raises InputError).

    `starts`: what fields begin with that are not as the request has them. `checks`: of such fields, the value as it may be shown (raises InputError).
    `read`: an infotext's values for this form.
    """

    names: tuple[str, ...]
    make: Callable[[dict[str, Any]], DrawRequest]
    starts: Mapping[str, Any] = field(default_factory=dict)
    checks: Mapping[str, Callable[[Any], Any]] = field(default_factory=dict)
    read: Callable[[Infotext], dict[str, Any]] = to_request_values


STARTS: dict[str, Any] = {seed_form.SHOW: False, CONTROL: NO_CONTROL}
CHECKS: dict[str, Callable[[Any], Any]] = {seed_form.SHOW: seed_form.check_box, CONTROL: check_control}

TXT2IMG = Form(
    names=(*FIELDS, *hires_form.NAMES),
    make=hires_form.make,
    starts={**UNIT_STARTS, **hires_form.STARTS, **STARTS},
    checks={**UNIT_CHECKS, **hires_form.CHECKS, **CHECKS},
    read=hires_form.read,
)


def to_request(values: Mapping[str, Any], checkpoint: str | None, form: Form = TXT2IMG) -> DrawRequest:
    """The request for one press of Generate; raises InputError naming the first wrong value."""
    names = (*form.names, "script_name", "script_args")
    given = {name: values[name] for name in names if name in values and name not in (*FLAT, *UNITS, MODULES)}
    if isinstance(given.get("seed"), str):
        given["seed"] = given["seed"].strip() or -1
    given = seed_form.counting(given)
    given |= {name: None for name in AS_SET if given.get(name) is False}
    override: dict[str, Any] = {CHECKPOINT: checkpoint} if checkpoint else {}
    if MODULES in values:
        override[MODULES] = [*checked_modules(values[MODULES])]
    override.update(from_entries(values.get("override_settings", [])))
    return _made({**given, **gathered(values), **gathered_units(values), "override_settings": override}, form)


def checked_modules(value: Any) -> tuple[str, ...]:
    """The names of files as the setting holds them; raises InputError."""
    return Settings().changed({MODULES: value or []}).stable_diffusion.forge_additional_modules


def _made(values: dict[str, Any], form: Form) -> DrawRequest:
    """The form's request; errors call the techniques' values as the page does."""
    try:
        return form.make(values)
    except InputError as error:
        field, _, part = error.field.partition(".")
        name = next((name for name, where in FLAT.items() if where == (field, part)), page_name(error.field))
        if name is None:
            raise
        raise InputError(name, error.message.replace(error.field, name, 1)) from error


def shown(name: str, value: Any) -> Any:
    """A request's value as its component shows it: seeds as text, because JavaScript's numbers cannot hold them all."""
    if name in ("seed", "subseed"):
        return str(value)
    if name in ("seed_resize_from_w", "seed_resize_from_h"):
        return max(value, 0)  # -1 is what the API calls none
    return bool(value) if name in AS_SET else value


def checked(name: str, value: Any, catalogue: Catalogue, form: Form = TXT2IMG) -> Any:
    """A value for that field as the page may show it; raises InputError."""
    if name in form.checks:
        return form.checks[name](value)
    if name in FLAT:
        field, part = FLAT[name]
        enabled = next(flat for flat, where in FLAT.items() if where == (field, ENABLED))
        request = to_request({enabled: True, name: value}, None, form)
        return flattened(request)[name] if part != ENABLED else getattr(request, field) is not None
    if name == MODULES:
        return [*checked_modules(value)]
    found = getattr(to_request({name: value}, None, form), name)
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


def usable(values: Mapping[str, Any], catalogue: Catalogue, form: Form = TXT2IMG) -> dict[str, Any]:
    """Those of `values` that a field of the form can take. They come from files and browsers: anything may be in them."""
    found = {}
    for name in form.names:
        if name in values:
            try:
                found[name] = checked(name, values[name], catalogue, form)
            except AtelierError:
                continue
    return found


def plain_values(catalogue: Catalogue, form: Form = TXT2IMG) -> dict[str, Any]:
    """What every field starts from where no checkpoint, file or user says anything: the request's defaults."""
    plain = form.make({})
    known = {name for name in form.names if name not in (*FLAT, *form.starts, MODULES)}
    parts = flattened(make_request({field: {} for field in TECHNIQUES}))
    values = {name: shown(name, getattr(plain, name)) for name in form.names if name in known} | dict(form.starts)
    values.update({name: value if FLAT[name][1] != ENABLED else False for name, value in parts.items()})
    values.update(REFINER)
    if catalogue.samplers and plain.sampler_name not in (s.name for s in catalogue.samplers):
        values["sampler_name"] = catalogue.samplers[0].name
    return values


def starting_values(
    checkpoint: str | None,
    checkpoints: Checkpoints,
    catalogue: Catalogue,
    form: Form = TXT2IMG,
    given: Mapping[str, Any] = MappingProxyType({}),
) -> dict[str, Any]:
    """What every field starts from: the user's own default of `given`, the checkpoint's, else the request's."""
    values = plain_values(catalogue, form)
    try:
        own = page_defaults(checkpoints.find(checkpoint or ""))
    except AtelierError:
        own = {}
    return {
        **values,
        **usable(own, catalogue, form),
        **given,
        "override_settings": [],
        MODULES: [],
    }  # a file changes no settings


def remembered(text: Any) -> tuple[str | None, dict[str, Any]]:
    """The checkpoint and the touched values that a browser kept: `{"checkpoint": name, "touched": {field: value}}`."""
    try:
        stored = json.loads(text)
        checkpoint, touched = stored["checkpoint"], stored["touched"]
    except (TypeError, ValueError, KeyError):
        return None, {}
    return checkpoint if isinstance(checkpoint, str) else None, touched if isinstance(touched, dict) else {}


def from_infotext(
    text: str, catalogue: Catalogue, form: Form = TXT2IMG, skip: Collection[str] = ()
) -> tuple[dict[str, Any], list[InputError]]:
    """The values that an infotext holds, ready to show, and what is wrong with the others. Techniques that it does not tell
    of were off. `skip`: keys that are passed over."""
    parsed = parse_infotext(text)
    if not parsed.fields:
        raise InputError(
            "prompt",
            "The prompt holds no generation parameters. Paste a picture's infotext into it, then press ↙️ again.",
        )
    parsed = disregarded(parsed, skip)
    values = {
        "refiner_checkpoint": None,
        MODULES: modules_of(parsed.fields),
        **form.read(parsed),
    }  # one that it does not tell of was none
    for key, name in (("Prompt", "prompt"), ("Negative prompt", "negative_prompt")):
        if key in skip:
            values.pop(name, None)
    if "sampler_name" in values:
        try:
            sampler, schedule = catalogue.sampler_and_schedule(values["sampler_name"], values.get("scheduler"))
            values.update(sampler_name=sampler.name, scheduler=schedule.label)
        except InputError:
            pass  # found again below, and told
    found: dict[str, Any] = {**dict.fromkeys(AS_SET, False), "cfg_rescale": 0.0}
    found[seed_form.SHOW] = seed_form.ticked(values)
    found.update({name: False for name, (_, part) in FLAT.items() if part == ENABLED})
    values[CONTROL] = text_of(values.pop(CONTROL, ()))
    told, wrong = told_units(values.pop("detail", ()))
    found.update(told)
    for technique in TECHNIQUES:
        parts = values.pop(technique, None)
        if parts is not None:
            try:
                found.update(flattened(_made({technique: parts}, form)))
            except InputError as error:
                wrong.append(error)
    for name, value in values.items():
        if name not in form.names:
            continue
        try:
            found[name] = checked(name, value, catalogue, form)
        except InputError as error:
            wrong.append(error)
    return found, wrong


def overriding(
    text: str, settings: Settings, checkpoint: str | None, checkpoints: Checkpoints
) -> tuple[list[str], str | None]:
    """The entries of "Override settings" for that infotext, and a sentence if its checkpoint is not here.

    `settings` and `checkpoint` are those of now. What the form has a field of its own for has no entry.
    """
    parsed, asked = parse_infotext(text), settings.infotext
    options = overrides(
        parsed.fields, settings, f"{parsed.prompt}\n{parsed.negative_prompt}", asked.infotext_skip_pasting
    )
    entries = to_entries({option: value for option, value in options.items() if option not in FIELDS})
    if asked.disable_weights_auto_swap:
        return entries, None
    fields = disregarded(parsed, asked.infotext_skip_pasting).fields
    said = {key: fields[key] for key in CHECKPOINT_KEYS if fields.get(key)}
    for key, name in said.items():
        found = checkpoints.told(name, said.get("Model hash", ""))
        if found is not None:
            return entries if found.name == checkpoint else [f"{key}: {name}", *entries], None
    if not said:
        return entries, None
    return entries, (
        f"The checkpoint {short(' '.join(reversed(said.values())))} is not here: "
        f"{short(checkpoint or 'the first one')} is used instead."
    )
