"""A1111's recorded runs on another checkpoint, which make_checkpoint.py writes beside ATELIER_PARITY_CHECKPOINT:
inpaint9.safetensors (--in-channels 9). (The refiner's of test_runs.py is synth15_s1.safetensors, --seed 1.)"""

import pytest

from modules.images.infotext import parse_infotext
from tests.parity.runs import CHECKPOINT, RECORDS, a1111_cases, run, tools_for

CASES = {case.name: case for case in a1111_cases(RECORDS, ("n_inpaint_model",))}
INPAINTING = CHECKPOINT.with_name("inpaint9.safetensors")

pytestmark = [
    pytest.mark.parity,
    pytest.mark.timeout(1200),
    pytest.mark.skipif(not CASES, reason="ATELIER_PARITY is not set"),
]


@pytest.mark.skipif(not INPAINTING.is_file(), reason="there is no inpaint9.safetensors beside the checkpoint")
def test_inpainting_model(tmp_path, record_property):
    name = "n_inpaint_model/inpaint9_txt2img"
    case = CASES[name]
    outcome = run(case, tools_for(INPAINTING, tmp_path), INPAINTING)
    record_property("parity", f"| {name} | {outcome.error:.1e} | {case.limit:.0e} |")
    assert outcome.error <= case.limit
    ours, theirs = (parse_infotext(text).fields for text in (*outcome.infotexts, *(case.infotexts or [])))
    assert ours.pop("Model hash") == theirs.pop("Model hash")
    del ours["Model"], theirs["Model"]  # the file's name
    assert list(ours.items()) == list(theirs.items())
