"""The description at /openapi.json, with A1111's names of operations, bodies and answers where it has them, so that generated clients fit."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

OPERATIONS: Mapping[str, str] = MappingProxyType(
    {
        "post txt2img": "text2imgapi",
        "post img2img": "img2imgapi",
        "post extra-single-image": "extras_single_image_api",
        "post extra-batch-images": "extras_batch_images_api",
        "post png-info": "pnginfoapi",
        "get progress": "progressapi",
        "post interrogate": "interrogateapi",
        "post interrupt": "interruptapi",
        "get options": "get_config",
        "post options": "set_config",
        "get sd-vae": "get_sd_vaes",
        "get scripts": "get_scripts_list",
        "get extensions": "get_extensions_list",
        "post unload-checkpoint": "unloadapi",
        "post reload-checkpoint": "reloadapi",
    }
)
"""Method and route below /sdapi/v1 -> A1111's name, where it is not the route's own (with get_ before it for lists)."""

BODIES: Mapping[str, str] = MappingProxyType(
    {
        "Txt2ImgBody": "StableDiffusionProcessingTxt2Img",
        "Img2ImgBody": "StableDiffusionProcessingImg2Img",
        "SingleBody": "ExtrasSingleImageRequest",
        "BatchBody": "ExtrasBatchImagesRequest",
        "FileBody": "FileData",
        "PngInfoBody": "PNGInfoRequest",
        "InterrogateBody": "InterrogateRequest",
    }
)
"""Our name of a body -> A1111's."""

TEXT, WHOLE, NUMBER, FLAG, OBJECT, ANY = "string", "integer", "number", "boolean", "object", ""
NAMED = {"name": TEXT}
SHAPES: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "TextToImageResponse": {"images": [TEXT], "parameters": OBJECT, "info": TEXT},
        "ImageToImageResponse": {"images": [TEXT], "parameters": OBJECT, "info": TEXT},
        "ExtrasSingleImageResponse": {"html_info": TEXT, "image": TEXT},
        "ExtrasBatchImagesResponse": {"html_info": TEXT, "images": [TEXT]},
        "PNGInfoResponse": {"info": TEXT, "items": OBJECT, "parameters": OBJECT},
        "ProgressResponse": {
            "progress": NUMBER,
            "eta_relative": NUMBER,
            "state": OBJECT,
            "current_image?": TEXT,
            "textinfo?": TEXT,
        },
        "MemoryResponse": {"ram": OBJECT, "cuda": OBJECT},
        "CreateResponse": {"info": TEXT},
        "TrainResponse": {"info": TEXT},
        "SamplerItem": {"name": TEXT, "aliases": [TEXT], "options": OBJECT},
        "SchedulerItem": {
            "name": TEXT,
            "label": TEXT,
            "aliases?": [TEXT],
            "default_rho?": NUMBER,
            "need_inner_model?": FLAG,
        },
        "UpscalerItem": {
            "name": TEXT,
            "model_name?": TEXT,
            "model_path?": TEXT,
            "model_url?": TEXT,
            "scale?": NUMBER,
        },
        "LatentUpscalerModeItem": NAMED,
        "SDModelItem": {
            "title": TEXT,
            "model_name": TEXT,
            "hash?": TEXT,
            "sha256?": TEXT,
            "filename": TEXT,
            "config?": TEXT,
        },
        "SDVaeItem": {"model_name": TEXT, "filename": TEXT},
        "HypernetworkItem": {"name": TEXT, "path?": TEXT},
        "FaceRestorerItem": {"name": TEXT, "cmd_dir?": TEXT},
        "RealesrganItem": {"name": TEXT, "path?": TEXT, "scale?": WHOLE},
        "PromptStyleItem": {"name": TEXT, "prompt?": TEXT, "negative_prompt?": TEXT},
        "EmbeddingsResponse": {"loaded": OBJECT, "skipped": OBJECT},
        "ScriptsList": {"txt2img?": [TEXT], "img2img?": [TEXT]},
        "ScriptArg": {
            "label?": TEXT,
            "value?": ANY,
            "minimum?": ANY,
            "maximum?": ANY,
            "step?": ANY,
            "choices?": [TEXT],
        },
        "ScriptInfo": {"name?": TEXT, "is_alwayson?": FLAG, "is_img2img?": FLAG, "args": ["#ScriptArg"]},
        "ExtensionItem": {
            "name": TEXT,
            "remote": TEXT,
            "branch": TEXT,
            "commit_hash": TEXT,
            "version": TEXT,
            "commit_date": TEXT,
            "enabled": FLAG,
        },
    }
)
"""What A1111's answers hold: name -> type, a list of it in brackets; with a question mark it may be null or missing."""

ANSWERS: Mapping[str, str] = MappingProxyType(
    {
        "post txt2img": "TextToImageResponse",
        "post img2img": "ImageToImageResponse",
        "post extra-single-image": "ExtrasSingleImageResponse",
        "post extra-batch-images": "ExtrasBatchImagesResponse",
        "post png-info": "PNGInfoResponse",
        "get progress": "ProgressResponse",
        "get memory": "MemoryResponse",
        "post create/embedding": "CreateResponse",
        "post create/hypernetwork": "CreateResponse",
        "post train/embedding": "TrainResponse",
        "post train/hypernetwork": "TrainResponse",
        "get samplers": "SamplerItem",
        "get schedulers": "SchedulerItem",
        "get upscalers": "UpscalerItem",
        "get latent-upscale-modes": "LatentUpscalerModeItem",
        "get sd-models": "SDModelItem",
        "get sd-vae": "SDVaeItem",
        "get hypernetworks": "HypernetworkItem",
        "get face-restorers": "FaceRestorerItem",
        "get realesrgan-models": "RealesrganItem",
        "get prompt-styles": "PromptStyleItem",
        "get embeddings": "EmbeddingsResponse",
        "get scripts": "ScriptsList",
        "get script-info": "ScriptInfo",
        "get extensions": "ExtensionItem",
    }
)
"""Method and route -> what is answered; a list of it where its name ends so."""

PREFIX = "/sdapi/v1/"
REF = "#/components/schemas/"


def describe(app: FastAPI) -> None:
    """Have `app.openapi()` answer in those names."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            found = get_openapi(title=app.title, version=app.version, routes=app.routes)
            app.openapi_schema = _renamed(found)
        return app.openapi_schema

    app.openapi = openapi


def _renamed(found: dict[str, Any]) -> dict[str, Any]:
    found = _with_refs(found)
    schemas = {BODIES.get(name, name): schema for name, schema in found["components"]["schemas"].items()}
    for name in BODIES.values():
        if name in schemas:
            schemas[name]["title"] = name
    found["components"]["schemas"] = schemas | {name: _shape(name, parts) for name, parts in SHAPES.items()}
    for path, methods in found["paths"].items():
        if path.startswith(PREFIX):
            for method, operation in methods.items():
                _rename(path, method, operation)
    return found


def _with_refs(part: Any) -> Any:
    if isinstance(part, dict):
        return {
            key: REF + BODIES.get(value.removeprefix(REF), value.removeprefix(REF))
            if key == "$ref"
            else _with_refs(value)
            for key, value in part.items()
        }
    return [_with_refs(each) for each in part] if isinstance(part, list) else part


def _rename(path: str, method: str, operation: dict[str, Any]) -> None:
    route = path.removeprefix(PREFIX)
    key = f"{method} {route}"
    own = "".join(c if c.isalnum() else "_" for c in route)
    name = OPERATIONS.get(key, f"get_{own}" if method == "get" else own)
    operation["operationId"] = f"{name}{''.join(c if c.isalnum() else '_' for c in path)}_{method}"
    if answer := ANSWERS.get(key):
        schema: dict[str, Any] = {"$ref": REF + answer}
        if answer.endswith(("Item", "Info")):
            schema = {"type": "array", "items": schema}
        operation["responses"]["200"]["content"] = {"application/json": {"schema": schema}}


def _shape(name: str, parts: Mapping[str, Any]) -> dict[str, Any]:
    fields = {part.rstrip("?"): (_kind(kind), part.endswith("?")) for part, kind in parts.items()}
    return {
        "title": name,
        "type": "object",
        "properties": {
            part: {"anyOf": [kind, {"type": "null"}]} if may_lack and kind else kind
            for part, (kind, may_lack) in fields.items()
        },
        "required": [part for part, (_, may_lack) in fields.items() if not may_lack],
    }


def _kind(kind: Any) -> dict[str, Any]:
    if isinstance(kind, list):
        return {"type": "array", "items": _kind(kind[0])}
    if kind.startswith("#"):
        return {"$ref": REF + kind[1:]}
    return {"type": kind} if kind else {}
