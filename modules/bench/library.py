"""The library: 5,000 LoRAs in 50 folders are listed.

first listing     with no index yet; no file is opened
later listing     median of nine, nothing has changed
looking into all  headers, sidecars and search index of all files, which the background thread does
search            a trigger word, listing included
find and stat     the same folder by the system's own tools, for comparison (POSIX)
"""

import contextlib
import json
import statistics
import struct
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from modules.bench.subject import Subject
from modules.bench.table import FIGURE, NAME, Row, Table, timed
from modules.core.paths import LORA, Paths
from modules.library.library import Library

PARTS = tuple(
    f"lora_unet_{half}_blocks_{level}_attentions_{place}_transformer_blocks_0_{attention}_to_{what}"
    for half, levels in (("down", (0, 1, 2)), ("up", (1, 2, 3)))
    for level in levels
    for place in (0, 1)
    for attention in ("attn1", "attn2")
    for what in ("q", "k", "v", "out_0")
)


FILES = 5000
COLUMNS = (replace(NAME, label="library"), replace(FIGURE, form="{:.3f} s"))


def tables(subject: Subject) -> Iterator[Table]:
    """One."""
    title = f"The library: {FILES:,} LoRAs with true headers"
    yield Table(name="library", title=title, columns=COLUMNS, rows=measured(subject.folder / "library", FILES))


def measured(folder: Path, files: int) -> Iterator[Row]:
    """The rows of the table, of files written into that folder."""
    paths = Paths(data=folder)
    for number in range(files):
        write_lora(paths.own(LORA) / f"author {number % 50}" / f"style_{number}.safetensors", number)
    for name, seconds in measure(paths):
        yield {"name": name, "figure": seconds}


def write_lora(path: Path, number: int) -> None:
    """A LoRA with a true header and empty data, as kohya's trainer writes it; every fourth with a sidecar and a preview."""
    entries: dict[str, Any] = {}
    at = 0
    for part in PARTS:
        for name, shape in (("lora_down.weight", (16, 768)), ("lora_up.weight", (320, 16)), ("alpha", ())):
            size = 2 * (shape[0] * shape[1] if shape else 1)
            entries[f"{part}.{name}"] = {"dtype": "F16", "shape": shape, "data_offsets": (at, at + size)}
            at += size
    tags = {"10_style": {f"tag {word} {number}": word for word in range(200)}}
    told = {"ss_output_name": f"style {number}", "ss_base_model_version": "sd_v1", "ss_tag_frequency": json.dumps(tags)}
    header = json.dumps({"__metadata__": told, **entries}).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(header)) + header)
        file.truncate(8 + len(header) + at)
    if number % 4 == 0:
        path.with_suffix(".json").write_text(json.dumps({"activation text": f"trigger{number}, fox"}))
        path.with_suffix(".preview.png").write_bytes(b"\x89PNG\r\n\x1a\n")


def measure(paths: Paths) -> list[tuple[str, float]]:
    """Names and seconds."""
    library = Library(paths)
    models = library.models(LORA)
    first = timed(models.list)
    whole = timed(models.read_list)
    later = statistics.median(timed(models.list) for _ in range(9))
    search = statistics.median(timed(lambda: library.search(LORA, "trigger40")) for _ in range(9))
    library.close()
    rows = [("first listing", first), ("later listing", later), ("looking into all", whole), ("search", search)]
    command = ["find", str(paths.own(LORA)), "-name", "*.safetensors", "-exec", "stat", "{}", "+"]
    with contextlib.suppress(OSError):  # a system without them
        rows.append(("find and stat", statistics.median(timed(lambda: _run(command)) for _ in range(9))))
    return rows


def _run(command: list[str]) -> None:
    subprocess.run(command, stdout=subprocess.DEVNULL, check=False)
