"""Settings > Presets: kept from what the page has now, applied to it, deleted, shared as one file."""

from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import APIRouter
from starlette.responses import Response

from modules.api.bodies import Body
from modules.core.errors import AtelierError, InputError, NotFound, short
from modules.jobs.service import JobService
from webui.detail_form import unpacked
from webui.form import remembered, starting_values, usable
from webui.presets import FIELDS, PROMPTS, Preset, Presets, networks_of, read_presets, text_of, with_networks
from webui.tabs.generation import GenerationTab


class Kept(Body):
    """`memory`: what the browser keeps of that tab's form; `prompts`: are they part of the preset?"""

    name: str
    tab: str = "txt2img"
    memory: str = ""
    prompts: bool = False


class Shared(Body):
    """A file that was uploaded."""

    file: str
    text: str


def build_preset_routes(service: JobService, tabs: Sequence[GenerationTab]) -> APIRouter:
    """The routes below /atelier/presets. What changes them answers with them all."""
    router = APIRouter(prefix="/atelier", include_in_schema=False)
    presets = Presets(service.paths.presets)
    known = {tab.name: tab for tab in tabs}

    def told(notes: Sequence[str] = ()) -> dict[str, Any]:
        found, wrong = presets.all()
        return {"presets": [one.model_dump(mode="json") for one in found], "notes": [*wrong, *notes]}

    @router.get("/presets")
    def listed() -> dict[str, Any]:
        return told()

    @router.get("/presets/file")
    def shared() -> Response:
        headers = {"Content-Disposition": 'attachment; filename="atelier-presets.json"'}
        return Response(text_of(presets.all()[0]), media_type="application/json", headers=headers)

    @router.post("/presets/file")
    def taken(body: Shared) -> dict[str, Any]:
        found, wrong = read_presets(body.text, body.file)
        presets.add(found)
        return told(wrong)

    @router.post("/presets/keep")
    def keep(body: Kept) -> dict[str, Any]:
        name = body.name.strip()
        if not name:
            raise InputError("name", "The preset has no name. Give it one.")
        values = present(service, _tab(known, body.tab), body.memory)
        presets.add({name: preset_of(service, name, values, prompts=body.prompts)})
        return told()

    @router.post("/presets/apply")
    def applied(body: Kept) -> dict[str, Any]:
        tab = _tab(known, body.tab)
        return touches(service, tab, presets.find(body.name), present(service, tab, body.memory))

    @router.post("/presets/delete")
    def delete(body: Kept) -> dict[str, Any]:
        presets.delete(body.name)
        return told()

    return router


def _tab(known: Mapping[str, GenerationTab], name: str) -> GenerationTab:
    if name not in known:
        raise NotFound(f"There is no tab {short(name)} that draws. Choose one of: {', '.join(known)}.")
    return known[name]


def present(service: JobService, tab: GenerationTab, memory: str) -> dict[str, Any]:
    """What the fields of that tab have now, and the checkpoint as `sd_model_checkpoint`."""
    wanted, touched = remembered(memory)
    checkpoint = wanted or service.settings.current.stable_diffusion.sd_model_checkpoint
    catalogue = service.catalogue
    values = starting_values(
        checkpoint, service.checkpoints, catalogue, tab.form, tab.defaults.values(catalogue)
    ) | usable(unpacked(touched), catalogue, tab.form)
    return {**values, "sd_model_checkpoint": checkpoint}


def preset_of(service: JobService, name: str, values: Mapping[str, Any], *, prompts: bool) -> Preset:
    """The preset of these values. Raises InputError."""
    checkpoint, family = str(values["sd_model_checkpoint"] or ""), ""
    try:
        path = service.checkpoints.find(checkpoint).path
        family = next((row.family for row in service.library.index.all() if str(row.path) == str(path)), "")
    except AtelierError:
        pass  # kept all the same: it may come back
    wanted = (*FIELDS, *PROMPTS) if prompts else FIELDS
    return Preset(
        name=name,
        family=family,
        checkpoint=checkpoint,
        networks=networks_of(values.get("prompt")),
        values={field: values[field] for field in wanted if field in values},
    )


def touches(service: JobService, tab: GenerationTab, preset: Preset, now: Mapping[str, Any]) -> dict[str, Any]:
    """`values` for the page's memory, and `notes`: sentences for what of the preset is not here."""
    found = usable(preset.values, service.catalogue, tab.form)
    notes = [
        f'The value of "{field}" in the preset {short(preset.name)} cannot be used here: it stays as it is.'
        for field in preset.values
        if field in tab.form.names and field not in found
    ]
    if "prompt" not in found:
        found["prompt"] = with_networks(str(now.get("prompt") or ""), preset.networks)
    if preset.checkpoint:
        try:
            found["sd_model_checkpoint"] = service.checkpoints.find(preset.checkpoint).name
        except AtelierError as error:
            notes.append(error.message)
    return {"values": found, "notes": notes}
