"""Whole runs of recorded requests on the checkpoint they were recorded with."""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from modules.core.paths import Paths
from modules.core.settings import Settings
from modules.engine.build import build_engine
from modules.engine.context import Context
from modules.engine.denoise import denoise
from modules.engine.plan import VERSION, make_plan
from modules.engine.refiner import refiner_of
from modules.engine.techniques import decode
from modules.engine.toolbox import Toolbox
from modules.jobs.executors.base import Cancel
from modules.requests.txt2img import make_request

RECORDS = Path(os.environ.get("ATELIER_PARITY", "/nowhere"))
CHECKPOINT = Path(os.environ.get("ATELIER_PARITY_CHECKPOINT", "/nowhere"))
FOLDERS = ("a_samplers", "b_schedulers", "d_prompts", "e_clipskip", "f_seeds", "k_misc", "m_sgm_noise")

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


def a1111_cases(records: Path, folders: tuple[str, ...] = FOLDERS) -> Iterator[Case]:
    """The text-to-image runs of A1111 in those folders."""
    for path in (path for folder in folders for path in sorted((records / folder).glob("*.json"))):
        record = json.loads(path.read_text("utf-8"))
        # DPM adaptive chooses its steps by a difference of two estimates, which makes much of the last bits' rounding
        loose = any(word in record["request"]["sampler_name"] for word in ("SDE", "DPM adaptive"))
        yield Case(
            name=f"{path.parent.name}/{path.stem}",
            request=record["request"],
            infotexts=record["infotexts"],
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
            "scheduler": sampling["scheduler"],
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


def tools_for(checkpoint: Path, data: Path) -> Toolbox:
    """The engine's tools, in float32, over the folder that holds the checkpoint."""
    return build_engine(paths=Paths(data=data, extra_checkpoints=(checkpoint.parent,)), use_cpu=True)._tools


def run(case: Case, tools: Toolbox, checkpoint: Path) -> Outcome:
    """Draws a case and compares it with its record."""
    values = dict(case.request)
    overrides = {k: v for k, v in values.pop("override_settings", {}).items() if k != "sd_model_checkpoint"}
    options = Settings().changed(overrides).flat()
    request = make_request(values)
    record = np.load(case.arrays)
    with torch.inference_mode():
        model = tools.models.load(checkpoint.name)
        plan = make_plan(
            request,
            seed=request.seed,
            options=options,
            catalogue=tools.catalogue,
            model_name=model.name,
            model_hash=model.sha256,
            inpainting=model.inpainting,
            vae=model.vae_file,
        )
        guides = tools.conditions.guides(model, plan)
        refiner = refiner_of(plan, model, tools.models, tools.refining, lambda name: None)
        context = Context(emit=lambda event: None, cancel=Cancel())
        latents = [
            denoise(model, batch, plan, guides, tools, tools.previews.of(model), context, refiner=refiner)
            for batch in plan.batches
        ]
        images = decode(model, plan, latents[0][:1])
    error = relative(torch.cat(latents).numpy(), record["latent"])
    picture = None
    if "image" in record:
        pixels = (255 * images.permute(0, 2, 3, 1).numpy()).astype(np.uint8)
        picture = int(np.abs(pixels.astype(int) - record["image"][:1]).max())
    fields = {**guides.fields, **(refiner.fields if refiner else {})}
    texts = [
        plan.infotext(seed, subseed, fields).replace(VERSION, "v1.10.1")
        for seed, subseed in zip(plan.seeds, plan.subseeds, strict=True)
    ]
    return Outcome(error=error, picture=picture, infotexts=texts)


def relative(value: np.ndarray, record: np.ndarray) -> float:
    """Relative L2 difference."""
    assert value.shape == record.shape, f"{value.shape} is not the record's {record.shape}"
    return float(np.linalg.norm(value - record) / np.linalg.norm(record))
