"""Recorded runs of A1111 1.10.1, played back through the samplers: step by step the same x, in the end the same latents."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from tests.parity.replay import load, recorded, replay

DATA = Path(__file__).with_name("data")
REQUESTS = json.loads((DATA / "traces.json").read_text())
ARRAYS = np.load(DATA / "traces.npz")
UNPLAYED = ("DPM adaptive",)  # its steps follow from answers that are not recorded

# Where answers between steps are approximate: how far x may be off. Wrong noise would be off by more than 0.5.
APPROXIMATE = {"DPM++ SDE": 0.1, "Heun": 0.03, "Restart": 0.03, "DPM2 a": 0.4, "DPM fast": 0.3}


def arrays(name):
    return {key.split("|")[1]: ARRAYS[key] for key in ARRAYS.files if key.startswith(f"{name}|")}


def check(row, sampler):
    print(f"\n{row}")
    assert row.sigma <= 1e-5
    assert row.x <= (1e-5 if row.exact else APPROXIMATE[sampler])
    assert row.latent <= (1e-5 if row.exact else 0.01)


@pytest.mark.parametrize("name", REQUESTS)
def test_trace(name):
    check(replay(name, REQUESTS[name], arrays(name)), REQUESTS[name]["sampler_name"])


@pytest.mark.parametrize("name", ["Euler_a", "DPMpp_2M_SDE", "DPMpp_SDE"])
def test_another_seed_is_told_apart(name):
    request = {**REQUESTS[name], "seed": 4321}
    row = replay(name, request, arrays(name))
    assert row.x > 0.5


@pytest.mark.parity
def test_all_traces_of_a_folder():
    folder = os.environ.get("ATELIER_PARITY")
    if not folder:
        pytest.skip("ATELIER_PARITY names no folder of records")
    cases = [path for path in recorded(Path(folder)) if load(path)[0]["sampler_name"] not in UNPLAYED]
    assert cases
    for path in cases:
        request, found = load(path)
        check(replay(f"{path.parent.name}/{path.stem}", request, found), request["sampler_name"])
