"""`python -m modules.bench [TOPIC ...]`: measures this machine, one table a topic; `--json` for machines."""

import argparse
import json
import os
import platform
import shlex
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

from modules.bench.subject import Subject, make_subject
from modules.bench.table import Row, Table
from modules.core.errors import AtelierError, InputError

TOPICS = {
    "runtimes": "a guided step in each runtime and precision, with its error, memory and fidelity against float32",
    "tiers": "a step under each memory tier, and the bytes on the device",
    "loading": "loading and switching checkpoints, against reading the file",
    "caching": "DeepCache, first-block caching, token merging, LCM; and live previews",
    "overhead": "a whole picture against its steps and its decoding",
    "img2img": "modes of img2img: what they draw, judged on the starter, and their time beyond the network's",
    "networks": "changing a LoRA on every layer of the network; a ControlNet's share of a step",
    "start": "the program: start, first picture, a warm picture, memory",
    "sampling": "prompts and samplers beside the model",
    "library": "5,000 LoRAs listed",
    "merging": "memory and time of merging SDXL; needs 7 GB of disk",
}
USUAL = ("runtimes", "tiers", "loading", "caching", "overhead", "start")
"""What is measured when no topic is named."""

Write = Callable[[str], None]


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:  # raises instead of exiting: one border for all errors
        raise InputError("options", f"{message[:1].upper()}{message[1:]}. See --help.")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = _Parser(prog="python -m modules.bench", description="Measures this machine.", allow_abbrev=False)
    told = "; ".join(f"{name}: {text}" for name, text in TOPICS.items())
    p.add_argument("topics", nargs="*", metavar="TOPIC", help=f"{told} (the first {len(USUAL)})")
    p.add_argument("--ckpt", default="", metavar="NAME", help="checkpoint, by its name or path (the first one found)")
    p.add_argument("--seeded", action="store_true", help="instead, one of SD 1.5's size with random weights; 2.1 GB")
    p.add_argument("--steps", type=int, default=20, metavar="N")
    p.add_argument("--size", type=int, default=0, metavar="PIXELS", help="a side (the checkpoint's own)")
    p.add_argument(
        "--pictures", type=int, default=4, metavar="N", help="whole pictures that are held against each other"
    )
    p.add_argument("--rounds", type=int, default=5, metavar="N", help="times to take the median of")
    p.add_argument("--runtimes", nargs="+", default=[], metavar="NAME", help="of the topic runtimes, these alone")
    p.add_argument("--flags", default="", metavar="FLAGS", help='flags of app.py, such as --flags="--use-cpu all"')
    p.add_argument("--folder", type=Path, metavar="DIR", help="for what is written meanwhile (the system's own)")
    p.add_argument("--json", action="store_true", help="one JSON object instead of tables")
    return p


def main(arguments: Sequence[str] | None = None, write: Write = print) -> int:
    """Measure and print. Exit code: 0, or 2 when something must be changed before it can be measured."""
    folder: Path | str = tempfile.gettempdir()
    try:
        given = parser().parse_args(arguments)
        folder = given.folder or folder
        topics = checked(given)
        with tempfile.TemporaryDirectory(prefix="atelier-bench-", dir=given.folder, ignore_cleanup_errors=True) as made:
            subject = subject_of(given, Path(made))
            found = dict(run(topics, subject, (lambda text: None) if given.json else write))
            if given.json:
                write(json.dumps({"machine": machine(), "subject": subject.title, "topics": found}, indent=1))
    except AtelierError as error:
        print(error.message, file=sys.stderr)
        return 2
    except OSError as error:
        print(f'"{folder}" cannot be written: {error.strerror}. Choose another with --folder.', file=sys.stderr)
        return 2
    return 0


def checked(given: argparse.Namespace) -> list[str]:
    """The topics; raises InputError for one that is none, and for numbers that nothing can be measured with."""
    for name in given.topics:
        if name not in TOPICS:
            raise InputError("TOPIC", f'There is no topic "{name}". Choose of {", ".join(TOPICS)}.')
    for name in ("steps", "pictures", "rounds"):
        if (value := getattr(given, name)) < 1:
            raise InputError(f"--{name}", f"--{name} is {value}. Use 1 or more.")
    if given.size < 0 or given.size % 8:
        raise InputError("--size", f"--size is {given.size}. Use a multiple of 8 pixels, such as 512.")
    if given.seeded and given.ckpt:
        raise InputError("--seeded", f'--seeded contradicts --ckpt "{given.ckpt}". Leave out one of them.')
    return list(dict.fromkeys(given.topics)) or list(USUAL)


def subject_of(given: argparse.Namespace, folder: Path) -> Subject:
    """What is measured; raises AtelierError."""
    try:
        flags = shlex.split(given.flags)
    except ValueError as error:
        raise InputError("--flags", f"--flags {given.flags!r} cannot be read: {error}. Close the quotes.") from error
    names = ("ckpt", "seeded", "steps", "size", "pictures", "rounds")
    more: dict[str, Any] = {name: getattr(given, name) for name in names}
    return make_subject(folder, flags=flags, runtimes=tuple(given.runtimes), **more)


def run(topics: Sequence[str], subject: Subject, write: Write) -> Iterator[tuple[str, list[Row]]]:
    """Each table's name and rows; one topic after the other, written as they come."""
    write(f"{machine()['processor']}, {machine()['cores']} cores, {machine()['device']}")
    for topic in topics:
        tables: Callable[[Subject], Iterator[Table]] = import_module(f"modules.bench.{topic}").tables
        for table in tables(subject):
            yield table.name, table.print(write)


def machine() -> Mapping[str, Any]:
    """What is measured on."""
    import torch

    cuda = torch.cuda.is_available()
    return {
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "device": torch.cuda.get_device_name(0) if cuda else "no GPU",
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
    }


if __name__ == "__main__":
    sys.exit(main())
