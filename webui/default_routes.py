"""Settings > Defaults, as A1111's: which fields of the page differ from what it begins with, and how they become what it begins with."""

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from fastapi import APIRouter

from modules.api.bodies import Body
from modules.core.errors import InputError, NotFound, StorageError, short
from modules.core.files import storage_sentence, write_atomic
from modules.core.paths import Paths
from modules.jobs.service import JobService
from webui.control_form import CONTROL
from webui.defaults import OWN, key_of, read_told
from webui.detail_form import unpacked
from webui.form import MODULES, remembered, starting_values, usable
from webui.tabs.generation import GenerationTab

ELSEWHERE = ("override_settings", MODULES, CONTROL)
"""Fields that are settings themselves, or hold the browser's own pictures."""


class Memories(Body):
    """What the browser keeps of each tab's form, as its page sends it: tab -> JSON."""

    memories: dict[str, str] = {}


def build_default_routes(service: JobService, tabs: Sequence[GenerationTab]) -> APIRouter:
    """`view`, `apply` and `undo`; each answers with what there is to see then."""
    router = APIRouter(prefix="/atelier", include_in_schema=False)
    actions: dict[str, Callable[[Memories], object]] = {
        "view": lambda _: None,
        "apply": lambda body: store(service.paths, list(changes(service, tabs, body))),
        "undo": lambda _: undo(service.paths),
    }

    @router.post("/defaults/{action}")
    def defaults(action: str, body: Memories) -> dict[str, Any]:
        if action not in actions:
            raise NotFound(f"defaults/{short(action)} is no route. There are: {', '.join(actions)}.")
        actions[action](body)
        return told(service, tabs, body)

    return router


def told(service: JobService, tabs: Sequence[GenerationTab], body: Memories) -> dict[str, Any]:
    """`changes` that can be applied, what is `stored`, whether there is an `undo`, and the `trouble` with the file."""
    trouble = ""
    try:
        read_told(service.paths.ui_config)
    except InputError as error:
        trouble = error.message
    stored = [
        {"tab": tab.name, "label": tab.defaults.labels[name], "value": value}
        for tab in tabs
        for name, value in tab.defaults.values(service.catalogue).items()
    ]
    can_undo = service.paths.ui_config_before.exists()
    return {"changes": list(changes(service, tabs, body)), "stored": stored, "undo": can_undo, "trouble": trouble}


def changes(service: JobService, tabs: Sequence[GenerationTab], body: Memories) -> Iterator[dict[str, Any]]:
    """The fields whose values differ from what they begin with: {tab, key, label, before, value}."""
    catalogue = service.catalogue
    for tab in tabs:
        checkpoint, touched = remembered(body.memories.get(tab.name, ""))
        begins = starting_values(
            checkpoint or service.settings.current.stable_diffusion.sd_model_checkpoint,
            service.checkpoints,
            catalogue,
            tab.form,
            tab.defaults.values(catalogue),
        )
        for name, value in usable(unpacked(touched), catalogue, tab.form).items():
            label = tab.defaults.labels.get(name)
            if label is not None and name not in ELSEWHERE and value != begins.get(name):
                key = key_of(tab.name, label)
                yield {"tab": tab.name, "key": key, "label": label, "before": begins.get(name), "value": value}


def store(paths: Paths, found: Sequence[dict[str, Any]]) -> None:
    """Write these values into the file beside what it holds, and keep the file as it was. Raises InputError, StorageError."""
    if not found:
        raise InputError("defaults", "Nothing differs from what the page begins with: there is nothing to store.")
    before = read_told(paths.ui_config)
    own = before.get(OWN)
    keys = [*(own if isinstance(own, list) else []), *(change["key"] for change in found)]
    after = before | {change["key"]: change["value"] for change in found} | {OWN: list(dict.fromkeys(keys))}
    _write(paths, paths.ui_config_before, before)
    _write(paths, paths.ui_config, after)


def undo(paths: Paths) -> None:
    """The file as it was before `store`. Raises InputError if there is nothing to undo, StorageError."""
    if not paths.ui_config_before.exists():
        raise InputError("defaults", "There is nothing to undo: no defaults were stored from this page.")
    _write(paths, paths.ui_config, read_told(paths.ui_config_before))
    paths.ui_config_before.unlink(missing_ok=True)


def _write(paths: Paths, file: Any, values: dict[str, Any]) -> None:
    try:
        write_atomic(file, json.dumps(values, indent=4, ensure_ascii=False).encode())
    except OSError as error:
        raise StorageError(storage_sentence(error, paths.data)) from error
