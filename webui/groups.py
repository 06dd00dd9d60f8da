"""Applying only some of a picture's settings: groups of them, by the infotext's keys and the form's fields. Knows nothing of gradio."""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from modules.core.errors import InputError
from modules.core.page_sections import UserInterface
from modules.images.infotext import format_infotext, parse_infotext
from modules.images.overrides import CHECKPOINT_KEYS
from webui.form import MODULES

PROMPT, NEGATIVE, NETWORKS, MODEL, REST = "prompt", "negative_prompt", "networks", "model", "rest"


@dataclass(frozen=True, kw_only=True)
class Group:
    """`keys` of the infotext and `fields` of the form; names that end in * begin so."""

    label: str
    keys: tuple[str, ...] = ()
    fields: tuple[str, ...] = ()


GROUPS: dict[str, Group] = {
    PROMPT: Group(label="Prompt", fields=("prompt",)),
    NEGATIVE: Group(label="Negative prompt", fields=("negative_prompt",)),
    NETWORKS: Group(label="Networks", keys=("Lora hashes", "TI hashes"), fields=()),
    "seed": Group(
        label="Seed",
        keys=("Seed", "Seed resize*", "Variation*"),
        fields=("seed", "seed_extra", "subseed*", "seed_resize*"),
    ),
    "size": Group(label="Size", keys=("Size",), fields=("width", "height")),
    "sampler": Group(label="Sampler", keys=("Sampler", "Schedule type"), fields=("sampler_name", "scheduler")),
    "steps": Group(label="Steps", keys=("Steps",), fields=("steps",)),
    "cfg": Group(
        label="CFG",
        keys=("CFG scale", "Distilled CFG Scale", "CFG Rescale phi", "Image CFG scale"),
        fields=("cfg_scale", "distilled_cfg_scale", "cfg_rescale", "image_cfg_scale"),
    ),
    MODEL: Group(
        label="Model",
        keys=("Model", "Model hash", "VAE", "VAE hash", "Module *", "Refiner*"),
        fields=(MODULES, "refiner_*"),
    ),
    "hires": Group(
        label="Hires. fix", keys=("Hires*", "Denoising strength"), fields=("enable_hr", "hr_*", "denoising_strength")
    ),
    REST: Group(label="Everything else"),
}

_NETWORK = re.compile(r"\s*<(?:lora|lyco|hypernet):[^<>]{1,500}>")
_PADDING = ("User", "Version", "App")  # keys that only tell: an infotext of fewer than three is none


@dataclass(frozen=True, kw_only=True)
class Sent:
    """What a page sends to a form: an infotext, the groups to be applied (all if None), and the prompt that is there. `pasted`: it comes
    from outside of the page."""

    infotext: str
    groups: tuple[str, ...] | None = None
    prompt: str = ""
    pasted: bool = False


def read_sent(text: Any) -> Sent:
    """A page's JSON; raises InputError."""
    try:
        found = json.loads(text)
        groups = found.get("groups")
        sent = Sent(
            infotext=str(found["infotext"]),
            groups=tuple(name for name in groups if name in GROUPS) if isinstance(groups, list) else None,
            prompt=str(found.get("prompt", "")),
            pasted=found.get("pasted") is True,
        )
    except (TypeError, ValueError, KeyError, AttributeError, RecursionError) as error:
        raise InputError(
            "infotext", "The picture's settings did not arrive. Reload the page and send them again."
        ) from error
    if not sent.infotext.strip():
        raise InputError("infotext", "This picture holds no settings that could be sent.")
    if sent.groups == ():
        raise InputError("infotext", "Nothing is chosen to be applied. Check at least one of the boxes.")
    return sent


def as_wanted(sent: Sent, settings: UserInterface) -> Sent:
    """The same without seed and size, where the settings keep these from going along and nobody has chosen them."""
    stays = {name for name, goes in (("seed", settings.send_seed), ("size", settings.send_size)) if not goes}
    if sent.pasted or sent.groups is not None or not stays:
        return sent
    return replace(sent, groups=tuple(name for name in GROUPS if name not in stays))


def limited(sent: Sent) -> str:
    """The infotext with the chosen groups alone. Networks come without the words around them if those are not chosen."""
    parsed = parse_infotext(sent.infotext)
    groups = GROUPS if sent.groups is None else sent.groups
    prompt = parsed.prompt if PROMPT in groups else sent.prompt
    if NETWORKS not in groups and PROMPT in groups:
        prompt = _NETWORK.sub("", prompt)
    elif NETWORKS in groups and PROMPT not in groups:
        prompt = " ".join(
            [prompt, *(tag for found in _NETWORK.findall(parsed.prompt) if (tag := found.strip()) not in prompt)]
        )
    fields: dict[str, Any] = {key: value for key, value in parsed.fields.items() if group_of_key(key) in groups}
    fields |= {key: "" for key in _PADDING if key not in fields}
    return format_infotext(prompt, parsed.negative_prompt if NEGATIVE in groups else "", fields)


def applied(sent: Sent, names: Iterable[str]) -> set[str]:
    """The form's fields that the chosen groups change."""
    groups = GROUPS if sent.groups is None else sent.groups
    found = {name for name in names if group_of_field(name) in groups}
    if NETWORKS in groups:
        found.add("prompt")
    if {MODEL, REST} & set(groups):
        found.add("override_settings")
    return found


def chosen_entries(sent: Sent, entries: Iterable[str], before: Iterable[str]) -> list[str]:
    """The entries of "Override settings": the infotext's for what is chosen, those that are there for the rest."""
    groups = GROUPS if sent.groups is None else sent.groups
    kept = [entry for entry in before if _group_of_entry(entry) not in groups]
    return [*(entry for entry in entries if _group_of_entry(entry) in groups), *kept]


def group_of_key(key: str) -> str:
    """Which group an infotext's key belongs to."""
    return _group(key, {name: group.keys for name, group in GROUPS.items()})


def group_of_field(field: str) -> str:
    """Which group a form's field belongs to."""
    return _group(field, {name: group.fields for name, group in GROUPS.items()})


def _group(name: str, patterns: Mapping[str, tuple[str, ...]]) -> str:
    for group, known in patterns.items():
        if any(name.startswith(one[:-1]) if one.endswith("*") else name == one for one in known):
            return group
    return REST


def _group_of_entry(entry: str) -> str:
    key = entry.partition(":")[0].strip()
    return MODEL if key in (*CHECKPOINT_KEYS, "VAE") else REST
