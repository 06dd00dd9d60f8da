"""The whole program as a user meets it: started on a data folder of its own, and asked for pictures.

page answers            from `python app.py` to the first answer of the page
first picture           from `python app.py` to the first picture of the API
one picture, warm       median wall time of POST /sdapi/v1/txt2img
model alone, warm       the same text encoding, guided steps and decoding by plain calls, in this process, in turn with it
outside the model       share of the picture's time that is none of the model's
web process             resident memory of the web process after all that
"""

import json
import socket
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from modules.bench.overhead import compute_for
from modules.bench.subject import Subject
from modules.bench.table import FIGURE, NAME, Column, Row, Table, timed
from modules.core.errors import AtelierError
from modules.core.paths import ROOT

COLUMNS = (
    replace(NAME, label="program"),
    FIGURE,
    Column(name="share", label="share", form="{:.1%}"),
    Column(name="memory", label="memory", form="{:.0f} MB"),
    Column(name="wanted", label="wanted"),
)


def tables(subject: Subject) -> Iterator[Table]:
    """One, of the program with the subject's flags."""
    yield Table(name="start", title=f"The program: {subject.title}", columns=COLUMNS, rows=measured(subject))


def measured(subject: Subject) -> Iterator[Row]:
    """The rows of the table."""
    checkpoint = {"sd_model_checkpoint": subject.checkpoint.name}
    body = {**subject.values(0), "seed": 1, "save_images": True, "override_settings": checkpoint}
    began = time.perf_counter()
    with server(subject.folder, subject.words) as (address, process):
        answer(lambda: fetch(address + "/"), process, 120)
        page = time.perf_counter() - began
        fetch(address + "/sdapi/v1/txt2img", body)
        first = time.perf_counter() - began
        alone = model_alone(body, subject)
        whole, bare = [], []
        for i in range(subject.rounds):  # in turns, so that a busy machine slows both
            whole.append(timed(lambda i=i: fetch(address + "/sdapi/v1/txt2img", {**body, "seed": i + 2})))
            bare.append(timed(alone))
        memory = resident(process.pid)
    outside = statistics.median((w - b) / w for w, b in zip(whole, bare, strict=True))
    yield {"name": "page answers", "figure": page, "wanted": "5 s"}
    yield {"name": "first picture", "figure": first, "wanted": "20 s"}
    yield {"name": "one picture, warm", "figure": statistics.median(whole), "wanted": "1.5 s"}
    yield {"name": "model alone, warm", "figure": statistics.median(bare)}
    yield {"name": "outside the model", "share": outside, "wanted": "10 %"}
    yield {"name": "web process", "memory": memory / 2**20, "wanted": "400 MB"}


@contextmanager
def server(folder: Path, flags: Sequence[str]) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
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


def answer(ask: Callable[[], Any], process: subprocess.Popen[bytes], seconds: float) -> None:
    """Ask until there is an answer; raises AtelierError when the process has ended or there is none in time."""
    end = time.perf_counter() + seconds
    while True:
        try:
            ask()
            return
        except urllib.error.URLError as error:
            if process.poll() is not None or time.perf_counter() > end:
                raise AtelierError("The program does not start with these flags; what it says stands above.") from error
            time.sleep(0.05)


def fetch(url: str, body: dict[str, Any] | None = None) -> bytes:
    """GET, or POST of a JSON body."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=600) as response:
        return response.read()


def model_alone(body: dict[str, Any], subject: Subject) -> Callable[[], None]:
    """Text encoding, guided steps and decoding of one picture, without queue, events, previews or files."""
    import torch

    from modules.engine.models import Models
    from modules.engine.quantising import quantised
    from modules.sampling.guidance import Guided
    from modules.sampling.noise import NoiseSource
    from modules.sampling.registry import build_samplers
    from modules.sampling.schedules import build_schedules

    models = Models(subject.checkpoints, compute_for(subject.flags, subject.paths))
    model = quantised(models.load(subject.checkpoint.name), lambda words: None)
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
