"""A1111's recorded runs that need other checkpoints, which make_checkpoint.py writes beside ATELIER_PARITY_CHECKPOINT:
inpaint9.safetensors (--in-channels 9) and synth15_s1.safetensors (--seed 1)."""

import pytest

from modules.images.infotext import parse_infotext
from tests.parity.runs import CHECKPOINT, RECORDS, a1111_cases, run, tools_for

CASES = {case.name: case for case in a1111_cases(RECORDS, ("n_inpaint_model",)) if case.name.endswith("txt2img")}
INPAINTING = CHECKPOINT.with_name("inpaint9.safetensors")

pytestmark = [
    pytest.mark.parity,
    pytest.mark.timeout(1200),
    pytest.mark.skipif(not CASES, reason="ATELIER_PARITY is not set"),
]


@pytest.mark.skipif(not INPAINTING.is_file(), reason="there is no inpaint9.safetensors beside the checkpoint")
@pytest.mark.parametrize("name", CASES or ["none"])
def test_inpainting_model(name, tmp_path, record_property):
    case = CASES[name]
    outcome = run(case, tools_for(INPAINTING, tmp_path), INPAINTING)
    record_property("parity", f"| {name} | {outcome.error:.1e} | {case.limit:.0e} |")
    assert outcome.error <= case.limit
    ours, theirs = (parse_infotext(text).fields for text in (*outcome.infotexts, *(case.infotexts or [])))
    assert ours.pop("Model hash") == theirs.pop("Model hash")
    del ours["Model"], theirs["Model"]  # the file's name
    assert list(ours.items()) == list(theirs.items())
