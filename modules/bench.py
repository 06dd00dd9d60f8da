"""The benchmark: `python -m modules.bench` starts the program as a user would and prints a table.

page answers            from `python app.py` to the first answer of the page
first picture           from `python app.py` to the first picture of the API, 20 steps
one picture, warm       median wall time of POST /sdapi/v1/txt2img with 20 steps at the checkpoint's size, with CFG
model alone, warm       the same text encoding, 20 guided steps and decoding by plain calls, in this process
outside the model       share of the picture's time that is none of the model's
web process             resident memory of the web process after all that
"""

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from modules.core.paths import ROOT, Paths
from modules.library.checkpoints import Checkpoints, page_defaults
from modules.library.hashes import HashCache


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m modules.bench", description="Measures start, speed and memory.")
    parser.add_argument("--ckpt", default="", help="checkpoint (the first one found)")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=9, help="pictures to take the median of")
    parser.add_argument("--flags", default="", help="flags for app.py, such as --use-cpu all")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="atelier-bench-") as folder:
        checkpoint = Checkpoints(Paths().checkpoints, HashCache(Path(folder))).find(options.ckpt)
        defaults = page_defaults(checkpoint)
        body = {
            "prompt": str(defaults.get("prompt", "a red apple")),
            "steps": options.steps,
            "cfg_scale": defaults.get("cfg_scale", 7.0),
            "width": defaults.get("width", 512),
            "height": defaults.get("height", 512),
            "sampler_name": defaults.get("sampler_name", "DPM++ 2M"),
            "seed": 1,
            "save_images": True,
            "override_settings": {"sd_model_checkpoint": checkpoint.name},
        }
        rows = measure(body, options.rounds, Path(folder), options.flags.split())
    print(f"\n{checkpoint.name}, {body['width']}x{body['height']}, {options.steps} steps, {os.cpu_count()} cores\n")
    print("\n".join(f"| {name:<22} | {figure:>10} |" for name, figure in rows))


def measure(body: dict[str, Any], rounds: int, folder: Path, flags: list[str]) -> list[tuple[str, str]]:
    """The rows of the table."""
    began = time.perf_counter()
    with server(folder, flags) as (address, process):
        answer(lambda: fetch(address + "/"), 120)
        page = time.perf_counter() - began
        fetch(address + "/sdapi/v1/txt2img", body)
        first = time.perf_counter() - began
        alone = model_alone(body, folder)
        whole, bare = [], []
        for i in range(rounds):  # in turns, so that a busy machine slows both
            whole.append(timed(lambda i=i: fetch(address + "/sdapi/v1/txt2img", {**body, "seed": i + 2})))
            bare.append(timed(alone))
        memory = resident(process.pid)
    outside = statistics.median((w - b) / w for w, b in zip(whole, bare, strict=True))
    return [
        ("page answers", f"{page:.2f} s"),
        ("first picture", f"{first:.2f} s"),
        ("one picture, warm", f"{statistics.median(whole):.3f} s"),
        ("model alone, warm", f"{statistics.median(bare):.3f} s"),
        ("outside the model", f"{outside:.1%}"),
        ("web process", f"{memory / 2**20:.0f} MB"),
    ]


@contextmanager
def server(folder: Path, flags: list[str]) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """The program on a free port, with a data folder of its own."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, str(ROOT / "app.py"), "--port", str(port), "--data-dir", str(folder), *flags]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
    try:
        yield f"http://127.0.0.1:{port}", process
    finally:
        process.terminate()
        process.wait(30)


def answer(ask: Callable[[], Any], seconds: float) -> None:
    """Ask until there is an answer."""
    end = time.perf_counter() + seconds
    while True:
        try:
            ask()
            return
        except urllib.error.URLError:
            if time.perf_counter() > end:
                raise
            time.sleep(0.05)


def fetch(url: str, body: dict[str, Any] | None = None) -> bytes:
    """GET, or POST of a JSON body."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=600) as response:
        return response.read()


def timed(work: Callable[[], Any]) -> float:
    """Seconds that `work` takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def model_alone(body: dict[str, Any], folder: Path) -> Callable[[], None]:
    """Text encoding, guided steps and decoding of one picture, without queue, events, previews or files."""
    import torch

    from modules.devices.choice import choose_compute
    from modules.engine.models import Models
    from modules.sampling.guidance import Guided
    from modules.sampling.noise import NoiseSource
    from modules.sampling.registry import build_samplers
    from modules.sampling.schedules import build_schedules

    checkpoints = Checkpoints(Paths().checkpoints, HashCache(folder / "cache"))
    model = Models(checkpoints, choose_compute()).load(body["override_settings"]["sd_model_checkpoint"])
    sampler = build_samplers().get(body["sampler_name"])
    sigmas = sampler.sigmas(body["steps"], build_schedules().get(sampler.entry.schedule), model.levels)
    sigmas = sigmas.to(model.compute.device)
    shape = (model.latent_channels, body["height"] // model.downscale, body["width"] // model.downscale)

    def work() -> None:
        with torch.inference_mode():
            cond, uncond = model.prompts.encode([body["prompt"]]), model.prompts.encode([""])
            noise = NoiseSource([1], shape, device=model.compute.device)
            guided = Guided(model.denoiser(), cond, uncond, body["cfg_scale"])
            model.decode(sampler.sample(guided, noise.first() * sigmas[0], sigmas, noise_sampler=noise.sampler))

    work()
    return work


def resident(pid: int) -> int:
    """Bytes of memory that a process occupies."""
    import psutil

    return psutil.Process(pid).memory_info().rss


if __name__ == "__main__":
    main()
