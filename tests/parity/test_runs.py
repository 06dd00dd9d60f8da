"""Recorded runs of A1111 1.10.1 and ComfyUI drawn again on the checkpoint they were made with, latent by latent.

ATELIER_PARITY names the folder of records, ATELIER_PARITY_CHECKPOINT the checkpoint, ATELIER_PARITY_INPAINTING the one for
inpainting beside it; the table comes at the end.
"""

import pytest

from tests.parity.runs import CHECKPOINT, RECORDS, a1111_cases, checkpoint_of, comfy_cases, run, tools_for

CASES = {case.name: case for case in (*a1111_cases(RECORDS), *comfy_cases(RECORDS))}

pytestmark = [
    pytest.mark.parity,
    pytest.mark.timeout(1200),
    pytest.mark.skipif(
        not (CASES and CHECKPOINT.is_file()), reason="ATELIER_PARITY and ATELIER_PARITY_CHECKPOINT are not set"
    ),
]


@pytest.fixture(scope="module")
def tools(tmp_path_factory):
    return tools_for(CHECKPOINT, tmp_path_factory.mktemp("data"))


@pytest.mark.parametrize("name", CASES or ["none"])
def test_run(name, tools, record_property):
    case = CASES[name]
    refiner = case.request.get("refiner_checkpoint")
    if refiner and not CHECKPOINT.with_name(refiner).is_file():
        pytest.skip(f"there is no {refiner} beside the checkpoint")
    checkpoint = checkpoint_of(case)
    if not checkpoint.is_file():
        pytest.skip("ATELIER_PARITY_INPAINTING is not set")
    outcome = run(case, tools, checkpoint)
    record_property("parity", f"| {name} | {outcome.error:.1e} | {case.limit:.0e} |")
    assert outcome.error <= case.limit
    assert case.infotexts in (None, outcome.infotexts)
    assert outcome.picture in (None, 0, 1)
