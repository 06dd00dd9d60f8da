"""Merging: the memory and time that two checkpoints of SDXL's true size take.

They are written sparse, all zeros, into the benchmark's folder (`--folder`), and merged there; the result is written whole, 6.9 GB.

memory      the most at any moment that is no mapped file, of which the system can always take pages back
before      the same before the merge: Python, torch and what else is imported
"""

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from modules.bench.seeded import empty_text, empty_vae
from modules.bench.subject import Subject
from modules.bench.table import NAME, Column, Row, Table
from modules.families import sdxl
from modules.families.ldm_keys import UNET, VAE, UNetShape, VaeShape, unet_keys, vae_keys
from modules.families.open_clip_keys import to_open_clip
from modules.library.checkpoints import Checkpoints
from modules.library.hashes import HashCache
from modules.merging.merge import Merge
from modules.merging.save import save
from modules.merging.sources import open_source
from modules.merging.writer import Form, header_of
from modules.requests.merge import MergeRequest, make_file_request

WIDTHS = (320, 640, 1280)


METHOD = "Weighted sum"
COLUMNS = (
    replace(NAME, label="merging"),
    Column(name="size", label="each file", form="{:.2f} GB"),
    Column(name="before", label="before", form="{:.2f} GB"),
    Column(name="memory", label="memory", form="{:.2f} GB"),
    Column(name="seconds", label="time", form="{:.0f} s"),
)


def tables(subject: Subject) -> Iterator[Table]:
    """One of one row."""
    yield Table(name="merging", title="Merging: SDXL", columns=COLUMNS, rows=merged(subject.folder / "merging"))


def merged(folder: Path) -> Iterator[Row]:
    """The row, of files in that folder, which is made."""
    folder.mkdir()
    forms = {name: (torch.float16, shape) for name, shape in sdxl_shapes()}
    for name in "abc":
        write_sparse(folder / f"{name}.safetensors", forms)
    size = (folder / "a.safetensors").stat().st_size
    before, most, seconds = measured(folder, METHOD)
    yield {"name": METHOD, "size": size / 1e9, "before": before / 1e9, "memory": most / 1e9, "seconds": seconds}


def measured(folder: Path, method: str) -> tuple[int, int, float]:
    """Anonymous memory before and at most, in bytes, and the seconds of the merge of a, b (and c)."""
    values = {f"{n}_model_name": letter for n, letter in zip(("primary", "secondary", "tertiary"), "abc", strict=True)}
    request = make_file_request(MergeRequest, {**values, "interp_method": method})
    checkpoints = Checkpoints([folder], HashCache(folder / "cache"))
    anonymous_memory()
    before, meter, start = anonymous_memory(), Meter(), time.monotonic()
    with torch.inference_mode(), meter:
        merge = Merge(request, tuple(open_source(checkpoints.find(name)) for name in request.names))
        save(folder / "merged.safetensors", "bench", merge.forms(), merge.tensor, {}, lambda done, whole: None)
    return before, meter.most, time.monotonic() - start


class Meter:
    """A context in which another thread looks at this process's anonymous memory 50 times a second; `most` is the largest."""

    def __init__(self) -> None:
        self.most = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> "Meter":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(0.02):
            self.most = max(self.most, anonymous_memory())


def anonymous_memory() -> int:
    """Bytes of this process that are no mapped file (Linux)."""
    for line in Path("/proc/self/smaps_rollup").read_text("ascii").splitlines():
        if line.startswith("Anonymous:"):
            return int(line.split()[1]) * 1024
    raise OSError("/proc/self/smaps_rollup tells no anonymous memory")


def write_sparse(path: Path, forms: dict[str, Form]) -> None:
    """A safetensors file of zeros that takes no room on the disk."""
    head = header_of(sorted(forms), forms, {})
    with path.open("wb") as file:
        file.write(head)
        file.truncate(len(head) + sum(torch.Size(shape).numel() * dtype.itemsize for dtype, shape in forms.values()))


def sdxl_shapes() -> Iterator[tuple[str, tuple[int, ...]]]:
    """Names and shapes of the tensors of an SDXL base checkpoint."""
    for prefix, tensors in (
        (UNET, _unet()),
        (VAE, _vae()),
        (sdxl.CLIP_L, _text(width=768, layers=12)),
        (sdxl.BIG_G, to_open_clip(_text(width=1280, layers=32))),
    ):
        yield from ((prefix + name, tuple(tensor.shape)) for name, tensor in tensors.items())


def _unet() -> dict[str, torch.Tensor]:
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

    config: dict[str, Any] = {
        "block_out_channels": WIDTHS,
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        "attention_head_dim": (5, 10, 20),
        "transformer_layers_per_block": (1, 2, 10),
        "cross_attention_dim": 2048,
        "use_linear_projection": True,
        "class_embed_type": "projection",
        "projection_class_embeddings_input_dim": 2816,
    }
    with torch.device("meta"):
        unet = UNet2DConditionModel(**config)
    keys = unet_keys(UNetShape(levels=3, blocks=2, attention=(False, True, True)))
    return keys.to_ldm(dict(unet.named_parameters()))


def _vae() -> dict[str, torch.Tensor]:
    return vae_keys(VaeShape(levels=4, blocks=2)).to_ldm(dict(empty_vae().named_parameters()))


def _text(*, width: int, layers: int) -> dict[str, torch.Tensor]:
    text = empty_text(width=width, layers=layers)
    return {name.removeprefix("text_model."): value for name, value in text.named_parameters()}
