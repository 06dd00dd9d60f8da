"""A1111's recorded merges of two checkpoints, made again: byte for byte, and their metadata.

The second checkpoint, synth15_s1.safetensors (make_checkpoint.py --seed 1), lies beside ATELIER_PARITY_CHECKPOINT.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from modules.library.checkpoints import Checkpoints
from modules.library.hashes import HashCache
from modules.library.header import read_header
from modules.merging.merge import Merge
from modules.merging.recipe import merge_metadata
from modules.merging.save import save
from modules.merging.sources import open_source
from modules.requests.merge import MergeRequest, make_file_request
from tests.parity.runs import CHECKPOINT, RECORDS

CASES = {path.stem: path for path in sorted((RECORDS / "l_merge").glob("*.json"))}

pytestmark = [
    pytest.mark.parity,
    pytest.mark.timeout(1200),
    pytest.mark.skipif(
        not (CASES and CHECKPOINT.with_name("synth15_s1.safetensors").is_file()),
        reason="ATELIER_PARITY is not set, or there is no synth15_s1.safetensors beside the checkpoint",
    ),
]


def request_of(record: dict[str, Any]) -> MergeRequest:
    """The request that was recorded. Its checkpoints are written "name [hash]"."""
    names = {
        f"{which}_model_name": (record[which] or "").split(" [")[0].removesuffix(" (A)")
        for which in ("primary", "secondary", "tertiary")
    }
    same = {name: record[name] for name in ("interp_method", "multiplier", "save_as_half")}
    custom = json.loads(record["metadata"]["sd_merge_recipe"])["custom_name"]
    return make_file_request(MergeRequest, {**names, **same, "custom_name": custom})


def content(path: Path) -> tuple[str, int]:
    """The digest of names, dtypes and bytes as it was recorded, and the number of tensors."""
    tensors, digest = load_file(path), hashlib.sha256()
    for name in sorted(tensors):
        digest.update(f"{name}{tensors[name].dtype}".encode())
        digest.update(tensors[name].reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest(), len(tensors)


@pytest.fixture(scope="module")
def hashes(tmp_path_factory):
    return HashCache(tmp_path_factory.mktemp("cache"))


@pytest.mark.parametrize("name", CASES or ["none"])
def test_merge(name, hashes, tmp_path):
    record = json.loads(CASES[name].read_text("utf-8"))
    request, checkpoints = request_of(record), Checkpoints([CHECKPOINT.parent], hashes)
    sources = tuple(open_source(checkpoints.identify(checkpoints.find(found))) for found in request.names)
    merge, path = Merge(request, sources), tmp_path / "merged.safetensors"
    save(path, "job", merge.forms(), merge.tensor, merge_metadata(request, sources, merge), lambda done, whole: None)
    try:
        assert content(path) == (record["content_sha256"], record["tensor_count"])
        assert read_header(path).metadata == record["metadata"]
    finally:
        path.unlink()
