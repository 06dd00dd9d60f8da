"""Loading and switching: what changing from one checkpoint to another costs, against reading the file alone.

The file is there under two names, as two checkpoints; the first loading of each also computes its hash.

first load              until the model can be used, each page of its weights touched once
reading the file        median of reading it through, the file in the system's cache
switch                  median until the model can be used, each page touched, and the one before is gone
ratio                   median of the switches, each against a reading taken just before it
a conversion alone      the same weights made float32, without model or file: what of the switch a half precision file costs on the CPU
memory, before, after   of this process after 4 switches, and at the end
"""

import statistics
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import torch

from modules.bench.subject import Subject
from modules.bench.table import NAME, Column, Row, Table, timed
from modules.core.errors import InputError
from modules.devices.choice import choose_compute
from modules.devices.memory import give_back
from modules.engine.models import Models
from modules.engine.room import modules_of
from modules.families.model import LoadedModel
from modules.families.weights import read_weights
from modules.library.checkpoints import Checkpoints
from modules.library.hashes import HashCache

PAGE = 4096
PIECE = 16 * 2**20
NAMES = ("a.safetensors", "b.safetensors")
COLUMNS = (
    replace(NAME, label="loading"),
    Column(name="seconds", label="seconds", form="{:.3f}"),
    Column(name="ratio", label="ratio", form="{:.2f}"),
    Column(name="memory", label="memory", form="{:.0f} MB"),
)


def tables(subject: Subject) -> Iterator[Table]:
    """One; raises InputError for a checkpoint that is no single .safetensors file."""
    file = subject.checkpoint.path
    if not file.is_file() or file.suffix.lower() != ".safetensors":
        raise InputError(
            "--ckpt",
            f'"{file.name}" is no .safetensors file, which loading is measured with. Choose another with --ckpt.',
        )
    title = f"Loading: {subject.checkpoint.name}, {file.stat().st_size / 1e9:.2f} GB"
    yield Table(name="loading", title=title, columns=COLUMNS, rows=measured(subject))


def measured(subject: Subject) -> Iterator[Row]:
    """The rows of the table."""
    file, folder = subject.checkpoint.path, subject.folder / "switching"
    folder.mkdir()
    for name in NAMES:
        (folder / name).symlink_to(file.absolute())
    compute = choose_compute(use_cpu=subject.flags.use_cpu, precision=subject.flags.precision)
    models = Models(Checkpoints((folder,), HashCache(folder / "cache")), compute)
    process = psutil.Process()
    first = _inferring(lambda: switch(models, 0))
    for number in range(1, 4):
        _inferring(lambda number=number: switch(models, number))
    give_back()
    before = process.memory_info().rss
    reads, times = [], []
    for number in range(2 * subject.rounds):
        reads.append(timed(lambda: read_through(file)))
        times.append(_inferring(lambda number=number: switch(models, number)))
    give_back()
    after = process.memory_info().rss
    models.unload()
    tensors = read_weights(file)
    yield {"name": "first load", "seconds": first}
    yield {"name": "reading the file", "seconds": statistics.median(reads)}
    pairs = zip(times, reads, strict=True)
    yield {"name": "switch", "seconds": statistics.median(times), "ratio": statistics.median(t / r for t, r in pairs)}
    yield {"name": "a conversion alone", "seconds": timed(lambda: [tensor.float() for tensor in tensors.values()])}
    yield {"name": "before", "memory": before / 2**20}
    yield {"name": f"after {2 * subject.rounds} switches", "memory": after / 2**20}


def switch(models: Models, number: int) -> None:
    """To the one name or the other, until every weight is in memory."""
    touch(models.load(NAMES[number % 2]))


def touch(model: LoadedModel) -> None:
    """Read a number of every page of the weights."""
    for module in modules_of(model):
        for parameter in module.parameters():
            flat = parameter.detach().view(-1)
            flat[:: max(PAGE // flat.element_size(), 1)].sum().item()


def read_through(file: Path) -> None:
    """Read the whole file into one buffer, piece by piece."""
    buffer = bytearray(PIECE)
    with file.open("rb", buffering=0) as opened:
        while opened.readinto(buffer):
            pass


def _inferring(work: Callable[[], object]) -> float:
    with torch.inference_mode():
        return timed(work)
