"""What greets an administrator at the first start, as `/atelier/welcome`: the hardware, what is made of it, the checkpoints."""

import platform
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
from fastapi import APIRouter

from modules.api.bodies import Body
from modules.api.callers import Caller
from modules.core import repairs
from modules.core.errors import InputError
from modules.core.files import write_atomic
from modules.core.flags import Flags
from modules.core.paths import CHECKPOINT, ROOT
from modules.core.validation import Text
from modules.jobs.service import JobService
from modules.library.checkpoints import Checkpoints
from modules.library.takeover import roots_of, take_over
from modules.requests.catalogue import HardwareEntry

STARTER = ROOT / "models" / CHECKPOINT / "starter.safetensors"
CPUINFO = Path("/proc/cpuinfo")
GB = 2**30


class TakeOverBody(Body):
    """`folder`: of an A1111, Forge or ComfyUI, on the server's computer."""

    folder: Text = ""


def build_welcome(service: JobService, flags: Flags) -> APIRouter:
    """Read it, put it away, take over another program's folder."""
    router = APIRouter(prefix="/atelier/welcome")
    places = (service.paths.data, service.paths.settings.parent)

    @router.get("")
    def welcome(again: bool = False) -> dict[str, Any]:
        """Only `{"show": False, "repairs"}` where it was put away, unless it is asked for `again`. `repairs`: what was found damaged."""
        if service.paths.welcomed.exists() and not again:
            return {"show": False, "repairs": repairs.told(places)}
        found = service.catalogue.hardware if service.engine_ready else None
        return {
            "show": True,
            "repairs": repairs.told(places),
            "ready": service.engine_ready,
            "hardware": hardware(found),
            "uses": uses(found, flags) if found else [],
            "checkpoints": [{"name": one.name, "starter": one.path == STARTER} for one in service.checkpoints.list()],
            "folders": service.policy.paths,
            "downloads": service.policy.downloads,
        }

    @router.post("/dismiss")
    def dismiss() -> dict[str, Any]:
        write_atomic(service.paths.welcomed, b"")
        return {}

    @router.post("/repairs/forget")
    def forget_repairs() -> dict[str, Any]:
        repairs.forget(places)
        return {}

    @router.post("/take-over")
    def take(body: TakeOverBody, caller: Caller) -> dict[str, Any]:
        """One more line of the setting `take_over_roots`; `checkpoints`: how many are found there."""
        desk = service.desk(caller)
        desk.check_folders("folder")
        wanted = roots_of(body.folder)
        if len(wanted) != 1:
            raise InputError("folder", "Name one folder: that of an A1111, Forge or ComfyUI on the server's computer.")
        found = take_over(replace(service.paths, taken_over=()), wanted)
        known = service.settings.current.system.take_over_roots
        if wanted[0] not in roots_of(known):
            desk.change_options({"take_over_roots": f"{known.rstrip()}\n{wanted[0]}".strip()})
        folders = [folder for kind, folder in found.taken_over if kind == CHECKPOINT]
        return {"checkpoints": len(Checkpoints(folders, service.checkpoints.hashes).list())}

    return router


def hardware(found: HardwareEntry | None) -> list[str]:
    """A sentence each for the GPU, once the engine has told of it, and for the processor with the memory."""
    cores, memory = psutil.cpu_count() or 1, psutil.virtual_memory().total / GB
    told = [f"Processor: {processor()}, threads: {cores}, memory: {memory:.0f} GB"]
    if found:
        told.insert(0, f"GPU: {found.gpu}, memory: {found.memory / GB:.0f} GB" if found.gpu else "GPU: none is used")
    return told


def uses(found: HardwareEntry, flags: Flags) -> list[str]:
    """What computes and how precisely, and how a GPU's memory is used."""
    if not found.gpu:
        by = "OpenVINO" if found.openvino else "PyTorch"
        return [f"{by} computes on the processor in {found.precision}."]
    if "lowvram" in flags.memory:
        kept = "A model's layers come to the GPU one after another, as --lowvram says."
    elif "medvram" in flags.memory:
        kept = "A model's parts come to the GPU one at a time, as --medvram says."
    else:
        kept = "A model stays on the GPU whole if it fits; else its parts come there one at a time."
    return [f"PyTorch computes on the GPU in {found.precision}.", kept]


def processor() -> str:
    """Its name, as well as the system knows it."""
    try:
        lines = CPUINFO.read_text("utf-8", "replace").splitlines()
    except OSError:
        lines = []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return next(filter(None, (*named, platform.processor(), platform.machine())), "unknown")
