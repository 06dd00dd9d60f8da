"""Whole runs of recorded requests on the checkpoint they were recorded with."""

import base64
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch

from modules.api.img2img import Img2ImgBody
from modules.core.paths import EMBEDDING, HYPERNETWORK, LORA, Paths
from modules.core.settings import Settings
from modules.engine.build import build_engine
from modules.engine.context import Context
from modules.engine.drawing import prepare
from modules.engine.hires import in_two_passes
from modules.engine.img2img import Drawing
from modules.engine.plan import VERSION
from modules.engine.preview import to_images
from modules.engine.starts import Starts
from modules.engine.techniques import decode
from modules.engine.toolbox import Toolbox
from modules.images.canvas import lay_out
from modules.jobs.executors.base import Cancel
from modules.requests.events import Order
from modules.requests.img2img import Img2ImgRequest
from modules.requests.txt2img import Txt2ImgRequest, make_request

RECORDS = Path(os.environ.get("ATELIER_PARITY", "/nowhere"))
CHECKPOINT = Path(os.environ.get("ATELIER_PARITY_CHECKPOINT", "/nowhere"))
NETWORKS = Path(os.environ.get("ATELIER_PARITY_NETWORKS", "/nowhere"))
INPAINTING = Path(os.environ.get("ATELIER_PARITY_INPAINTING", "/nowhere"))
FOLDERS = (
    *("a_samplers", "b_schedulers", "d_prompts", "e_clipskip", "f_seeds", "g_img2img", "h_hires"),
    *(("i_networks",) if NETWORKS.is_dir() else ()),
    *("k_misc", "m_sgm_noise", "n_inpaint_model"),
)

DETERMINISTIC, STOCHASTIC, COMFY = 1e-3, 1e-2, 3e-3
"""How far, in relative L2, a final latent may be from its record."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """A recorded run: the request in A1111's names, its infotexts (ComfyUI has none), the latents, and how near is near."""

    name: str
    request: dict[str, Any]
    infotexts: list[str] | None
    arrays: Path
    limit: float


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a run came to: the latents' relative L2 error, the pictures' worst difference in 8 bits, and its infotexts."""

    error: float
    picture: int | None
    infotexts: list[str]


RECORDED_PT = "2cb08683ffa1"
"""The hash of an embedding that torch pickles: another version of torch writes other bytes."""


def a1111_cases(records: Path, folders: tuple[str, ...] = FOLDERS) -> Iterator[Case]:
    """The runs of A1111 in those folders."""
    pickled = NETWORKS / EMBEDDING / "gti_pt.pt"
    own = sha256(pickled.read_bytes()).hexdigest()[:12] if pickled.is_file() else RECORDED_PT
    for path in (path for folder in folders for path in sorted((records / folder).glob("*.json"))):
        record = json.loads(path.read_text("utf-8"))
        if "request" not in record:
            continue
        # DPM adaptive chooses its steps by a difference of two estimates, which makes much of the last bits' rounding
        loose = any(word in record["request"]["sampler_name"] for word in ("SDE", "DPM adaptive"))
        yield Case(
            name=f"{path.parent.name}/{path.stem}",
            request=record["request"],
            infotexts=[text.replace(RECORDED_PT, own) for text in record["infotexts"]],
            arrays=path.with_suffix(".npz"),
            limit=STOCHASTIC if loose else DETERMINISTIC,
        )


def comfy_cases(records: Path) -> Iterator[Case]:
    """ComfyUI's KSampler runs, as requests."""
    for path in sorted((records / "comfy").glob("*.json")):
        nodes = [node["inputs"] for node in json.loads(path.read_text("utf-8"))["graph"].values()]
        sampling = next(node for node in nodes if "sampler_name" in node)
        prompt, negative = (node["text"] for node in nodes if "text" in node)
        size = next(node for node in nodes if "batch_size" in node)
        request = {
            "prompt": prompt,
            "negative_prompt": negative,
            "seed": sampling["seed"],
            "steps": sampling["steps"],
            "cfg_scale": sampling["cfg"],
            "width": size["width"],
            "height": size["height"],
            "sampler_name": COMFY_SAMPLERS.get(sampling["sampler_name"], sampling["sampler_name"]),
            "scheduler": COMFY_SCHEDULES.get(sampling["scheduler"], sampling["scheduler"]),
            "override_settings": {"randn_source": "CPU", "restart_noise": True},
        }
        if sampling["sampler_name"] == "dpm_fast":
            request["eta"] = 0  # A1111 adds noise to it
        yield Case(
            name=f"comfy/{path.stem}",
            request=request,
            infotexts=None,
            arrays=path.with_suffix(".npz"),
            limit=COMFY,
        )


COMFY_SAMPLERS = {
    "ddim": "Euler",
    "dpm_2": "DPM2",
    "dpm_2_ancestral": "DPM2 a",
    "dpm_fast": "DPM fast",
    "dpmpp_2m": "DPM++ 2M",
    "dpmpp_3m_sde": "DPM++ 3M SDE plain",
    "dpmpp_sde": "DPM++ SDE",
    "euler_ancestral": "Euler a",
    "lcm": "LCM plain",
}
"""What ComfyUI's names stand for where they are other samplers here."""

COMFY_SCHEDULES = {"kl_optimal": "KL Optimal plain"}
"""The same of schedules."""

STALE = {"d_prompts/comma_backtrack_pad0", "d_prompts/comma_backtrack_pad10"}
"""Runs whose conditioning A1111 took from its cache, which does not know comma_padding_backtrack: their latents are those of
the run before them, bit for bit, which had the default."""


LEFT_BY = {"g_img2img/dpm_fast": 1235, "g_img2img/n_iter2": 1235}
"""Runs before which A1111 drew a picture of another seed than theirs: its autoencoder draws from the generator as that one left it."""

LEFT_AFTER = {"n_inpaint_model/inpaint9_img2img_nomask": 1}
"""Runs before which it drew from words with the inpainting network, which is shown a grey picture: how many latents' noise that took."""


def tools_for(checkpoint: Path, data: Path) -> Toolbox:
    """The engine's tools, in float32, over the folder that holds the checkpoint."""
    nets = tuple((kind, NETWORKS / kind) for kind in (LORA, EMBEDDING, HYPERNETWORK))
    return build_engine(
        paths=Paths(data=data, named=(("Stable-diffusion", checkpoint.parent), *nets)), use_cpu=True
    )._tools


def run(case: Case, tools: Toolbox, checkpoint: Path) -> Outcome:
    """Draws a case and compares it with its record."""
    order = order_of(case, checkpoint)
    record = np.load(case.arrays)
    with torch.inference_mode(), ExitStack() as undo:
        sitting = prepare(order, tools, Context(emit=lambda event: None, cancel=Cancel(), undo=undo))
        request, passes, drawing = order.request, None, None
        if isinstance(request, Img2ImgRequest):
            canvas = lay_out(request, order.options["img2img_background_color"])
            drawing = Drawing(sitting, canvas)
            starts = Starts(sitting, canvas, request)
            starts._draws = torch.Generator().manual_seed(LEFT_BY.get(case.name, request.seed))
            for _ in range(LEFT_AFTER.get(case.name, 0)):
                torch.randn(1, 4, request.height // 8, request.width // 8, generator=starts._draws)
            drawing._start = starts.make()
        elif request.enable_hr:
            passes = in_two_passes(sitting, request)
        draw = passes.draw if passes else drawing.latents if drawing else sitting.denoise
        latents = [draw(batch) for batch in sitting.plan.batches]
        images = to_images(decode(sitting.model, sitting.plan, latents[0][:1]))
    if drawing:
        images = drawing.compose(images, sitting.plan.batches[0], [""] * len(images))
    error = relative(torch.cat(latents).numpy(), record["latent"])
    picture = None
    if "image" in record:
        apart = np.abs(np.asarray(images[0]).astype(int) - record["image"][0])
        # matching histograms makes steps of many colours of one: of each hundred values the worst is left out there
        picture = int(np.quantile(apart, 0.99) if order.options["img2img_color_correction"] else apart.max())
    told: Mapping[str, Any] = passes.told if passes else drawing.fields if drawing else {}
    plan = replace(sitting.plan, model_hash=sitting.model.sha256(), fields=told)
    if checkpoint == INPAINTING:
        plan = replace(plan, model_name="synth15_inpaint")  # so was the file called
    fields = (passes or sitting).fields
    texts = [
        plan.infotext(seed, subseed, fields).replace(VERSION, "v1.10.1")
        for seed, subseed in zip(plan.seeds, plan.subseeds, strict=True)
    ]
    return Outcome(error=error, picture=picture, infotexts=texts)


def checkpoint_of(case: Case) -> Path:
    """What it was recorded with."""
    return INPAINTING if case.name.startswith("n_inpaint_model/") else CHECKPOINT


def order_of(case: Case, checkpoint: Path) -> Order:
    """The case as a job."""
    values = dict(case.request)
    left_out = {"sd_model_checkpoint", "lora_functional", *(["comma_padding_backtrack"] if case.name in STALE else [])}
    overrides = {k: v for k, v in values.pop("override_settings", {}).items() if k not in left_out}
    options = Settings().changed({**overrides, "sd_model_checkpoint": checkpoint.name}).flat()
    folder = case.arrays.parent
    request: Txt2ImgRequest | Img2ImgRequest
    if "init_images" in values:
        body = Img2ImgBody.model_validate({**values, **_encoded(values, folder)})
        request = body.to_request()
    else:
        request = make_request(values)
    return Order(job="parity", request=request, seed=request.seed, options=options)


def _encoded(values: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The pictures of a record, which names their files, as a client sends them."""

    def read(name: str) -> str:
        return base64.b64encode((folder / name.removeprefix("@")).read_bytes()).decode()

    found: dict[str, Any] = {"init_images": [read(name) for name in values["init_images"]]}
    return found | ({"mask": read(values["mask"])} if "mask" in values else {})


def relative(value: np.ndarray, record: np.ndarray) -> float:
    """Relative L2 difference."""
    assert value.shape == record.shape, f"{value.shape} is not the record's {record.shape}"
    return float(np.linalg.norm(value - record) / np.linalg.norm(record))
