"""A real JobService over a folder, with whatever executor a test wants."""

import json
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from modules.core.paths import Paths
from modules.core.settings import SettingsFile
from modules.jobs.executors.base import Executor
from modules.jobs.executors.inline import InlineExecutor
from modules.jobs.executors.process import ProcessExecutor
from modules.jobs.service import JobService
from modules.library.checkpoints import Checkpoints
from modules.library.hashes import HashCache
from modules.requests.txt2img import Txt2ImgRequest, make_request
from tests.jobs.runners import build_puppet


def puppet_process(log: Path | None = None) -> ProcessExecutor:
    """The stand-in engine in a process of its own."""
    return ProcessExecutor("tests.jobs.runners:build_puppet", {"log": str(log) if log else None})


def puppet_inline(log: Path | None = None) -> InlineExecutor:
    """The stand-in engine in the test's process."""
    return InlineExecutor(lambda: build_puppet(str(log) if log else None))


def write_checkpoint(path: Path, metadata: dict[str, str] | None = None) -> Path:
    """A valid safetensors file with one tensor."""
    entry = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
    header = json.dumps({"__metadata__": metadata or {}, "weight": entry}).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(struct.pack("<Q", len(header)) + header + b"\0\0\0\0")
    return path


def make_service(data: Path, executor: Executor, **options: Any) -> JobService:
    """A service that is not started yet; one checkpoint is there. Grids are made only where `options` want them."""
    paths = Paths(data=data)
    if not (data / "models" / "Stable-diffusion").exists():
        write_checkpoint(data / "models" / "Stable-diffusion" / "model.safetensors")
    settings = SettingsFile(paths.settings)
    settings.current = settings.current.changed({"grid_save": False, "return_grid": False, **options})
    checkpoints = Checkpoints(paths.checkpoints, HashCache(paths.cache))
    return JobService(paths=paths, settings=settings, checkpoints=checkpoints, executor=executor)


@contextmanager
def running(data: Path, executor: Executor, **options: Any) -> Iterator[JobService]:
    """A started service; closed at the end."""
    service = make_service(data, executor, **options)
    service.start()
    try:
        yield service
    finally:
        service.close()


def play(steps: int = 2, **values: Any) -> Txt2ImgRequest:
    """A request for the stand-in: fields of the request by their names, everything else goes into its script."""
    fields = {name: values.pop(name) for name in list(values) if name in Txt2ImgRequest.model_fields}
    return make_request({"prompt": json.dumps(values), "steps": steps, "width": 64, "height": 64, **fields})
