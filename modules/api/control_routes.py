"""The ControlNet extension's routes."""

import base64
from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter
from starlette.concurrency import run_in_threadpool

from modules.api.bodies import Body
from modules.api.control import read_picture
from modules.api.errors import JobFailed
from modules.core.errors import InputError
from modules.core.validation import Number, Text, Whole
from modules.images.poses import draw_poses
from modules.jobs.service import JobService
from modules.requests.control import CONTROL_TYPES, NONE, DetectRequest
from modules.requests.events import Failed
from modules.requests.preprocessors import PreprocessorEntry

MAX_PICTURES, MAX_POSES = 64, 100
VERSION = 3
"""Of the API, as the extension counts."""

MODEL_WORDS = {
    "Segmentation": ("seg",),
    "IP-Adapter": ("ip-adapter", "ip_adapter"),
    "Instant-ID": ("instant_id", "instantid"),
    "InstructP2P": ("ip2p",),
    "NormalMap": ("normal",),
    "Recolor": ("recolor",),
    "T2I-Adapter": ("t2i_adapter", "t2i-adapter", "t2iadapter", "t2ia"),
    "SparseCtrl": ("sparsectrl",),
    "Reference": (),
    "Revision": (),
}
"""Words in names of models that belong to a control type, where they are not the type's own."""


class DetectBody(Body):
    """`POST /controlnet/detect`; pictures are in base64."""

    controlnet_module: Text = "none"
    controlnet_input_images: list[Text] = []
    controlnet_masks: list[Text | None] = []
    controlnet_processor_res: Whole = -1
    controlnet_threshold_a: Number = -1
    controlnet_threshold_b: Number = -1
    low_vram: bool = False


def build_control(service: JobService) -> APIRouter:
    """All of them, below `/controlnet`."""
    router = APIRouter(prefix="/controlnet")

    @router.get("/version")
    def version() -> dict[str, int]:
        return {"version": VERSION}

    @router.get("/settings")
    def settings() -> dict[str, int]:
        return {"control_net_unit_count": service.settings.current.controlnet.control_net_unit_count}

    @router.get("/model_list")
    def model_list(update: bool = True) -> dict[str, list[str]]:
        return {"model_list": service.controls.titles()}

    @router.get("/module_list")
    def module_list(alias_names: bool = False) -> dict[str, Any]:
        entries = service.catalogue.preprocessors
        names = {entry.name: entry.label if alias_names else entry.name for entry in entries}
        return {
            "module_list": list(names.values()),
            "module_detail": {names[entry.name]: detail_of(entry) for entry in entries},
        }

    @router.get("/control_types")
    def control_types() -> dict[str, Any]:
        entries, models = service.catalogue.preprocessors, service.controls.titles()
        return {"control_types": {kind: type_of(kind, entries, models) for kind in CONTROL_TYPES}}

    @router.post("/detect")
    async def detect(body: DetectBody) -> dict[str, Any]:
        request = await run_in_threadpool(detect_request, body, service)
        return await run_in_threadpool(detected, service, request)

    @router.post("/render_openpose_json")
    async def render_openpose_json(poses: list[dict[str, Any]]) -> dict[str, Any]:
        if len(poses) > MAX_POSES:
            raise InputError("poses", f"poses holds more than {MAX_POSES} pictures. Send fewer.")
        images = await run_in_threadpool(lambda: [draw_poses(pose, f"poses.{n}") for n, pose in enumerate(poses)])
        return {"images": [base64.b64encode(image).decode() for image in images], "info": "Success"}

    return router


def detail_of(entry: PreprocessorEntry) -> dict[str, Any]:
    """One preprocessor as the extension tells of it."""
    places = (entry.resolution, entry.threshold_a, entry.threshold_b)
    sliders = [slider.api if slider else None for slider in places]
    while sliders and sliders[-1] is None:
        sliders.pop()
    return {"model_free": entry.model_free, "sliders": sliders}


def type_of(kind: str, entries: Sequence[PreprocessorEntry], models: Sequence[str]) -> dict[str, Any]:
    """What there is to choose from for a control type, and its first choices."""
    if kind == "All":
        own, fitting = list(entries), list(models)
    else:
        own = [entry for entry in entries if kind in entry.types or entry.name == "none"]
        words = MODEL_WORDS.get(kind, (kind.casefold(),))
        fitting = [name for name in models if any(word in name.casefold() for word in words)]
    first = next((entry.label for entry in own if kind in entry.first_in), "none")
    return {
        "module_list": [entry.label for entry in own],
        "model_list": [NONE, *fitting],
        "default_option": first,
        "default_model": fitting[0] if fitting and kind != "All" else NONE,
    }


def detect_request(body: DetectBody, service: JobService) -> DetectRequest:
    """The request; raises InputError, as for a preprocessor that is not there."""
    entry = service.catalogue.preprocessor(body.controlnet_module, "controlnet_module")
    if not body.controlnet_input_images:
        raise InputError(
            "controlnet_input_images", "controlnet_input_images holds no picture. Send at least one, in base64."
        )
    if max(len(body.controlnet_input_images), len(body.controlnet_masks)) > MAX_PICTURES:
        raise InputError(
            "controlnet_input_images", f"controlnet_input_images holds more than {MAX_PICTURES} pictures. Send fewer."
        )
    masks = [read_picture("controlnet_masks", one) if one else None for one in body.controlnet_masks]
    return DetectRequest(
        module=entry.name,
        images=tuple(read_picture("controlnet_input_images", one) for one in body.controlnet_input_images),
        masks=tuple(masks),
        processor_res=body.controlnet_processor_res,
        threshold_a=body.controlnet_threshold_a,
        threshold_b=body.controlnet_threshold_b,
    )


def detected(service: JobService, request: DetectRequest) -> dict[str, Any]:
    """The extension's answer; raises JobFailed."""
    ended = service.errands.ask(request)
    if isinstance(ended, Failed):
        raise JobFailed(ended.kind, ended.message, ended.field)
    found = ended.info
    return {
        "images": [base64.b64encode(image).decode() for image in found["images"]],
        "tensor": found["tensors"],
        "poses": [],
        "texts": found["texts"],
        "info": "Success",
    }
