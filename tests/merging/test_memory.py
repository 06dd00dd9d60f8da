"""What a merge takes beside its mapped files: a few tensors, whatever the files' size."""

import subprocess
import sys

import pytest

from modules.bench.merging import sdxl_shapes
from modules.core.paths import ROOT

MB = 10**6
MEASURE = """
import sys, torch
from pathlib import Path
from modules.bench.merging import measured, write_sparse
folder, count = Path(sys.argv[1]), int(sys.argv[2])
forms = {f"model.{i}.weight": (torch.float16, (2048, 2048)) for i in range(count)}
for name in "abc":
    write_sparse(folder / f"{name}.safetensors", forms)
before, most, _ = measured(folder, "Add difference")
print(most - before, (folder / "merged.safetensors").stat().st_size)
"""


def growth(folder, count: int) -> tuple[int, int]:
    folder.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(folder), str(count)], cwd=ROOT, capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, done.stderr
    grown, size = map(int, done.stdout.split())
    (folder / "merged.safetensors").unlink()
    return grown, size


@pytest.mark.skipif(sys.platform != "linux", reason="/proc tells of memory on Linux alone")
def test_memory_does_not_grow_with_the_files(tmp_path):
    """Three files and a result of 336 MB each: less than half of one of them is ever in memory, what is imported meanwhile included."""
    grown, size = growth(tmp_path / "whole", 40)
    assert size > 330 * MB
    assert grown < size / 2, f"{grown / MB:.0f} MB"


def test_the_measured_files_are_sdxls():
    shapes = dict(sdxl_shapes())
    unet = sum(_size(shape) for name, shape in shapes.items() if name.startswith("model.diffusion_model."))
    assert unet == 2_567_463_684  # parameters of SDXL's U-Net
    assert shapes["conditioner.embedders.1.model.transformer.resblocks.31.attn.in_proj_weight"] == (3840, 1280)


def _size(shape: tuple[int, ...]) -> int:
    found = 1
    for side in shape:
        found *= side
    return found
