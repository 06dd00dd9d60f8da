"""A1111's recorded runs that need other checkpoints, which make_checkpoint.py writes beside ATELIER_PARITY_CHECKPOINT:
inpaint9.safetensors (--in-channels 9) and synth15_s1.safetensors (--seed 1)."""

import pytest

from modules.images.infotext import parse_infotext
from tests.parity.runs import CHECKPOINT, RECORDS, a1111_cases, run, tools_for

CASES = {case.name: case for case in a1111_cases(RECORDS, ("n_inpaint_model", "k_misc", "f_seeds"))}
OF_ONE_MODEL = ("f_seeds/zero_terminal_snr", "k_misc/refiner_0.6_by_steps", "k_misc/after_refiner")
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


REFINER = CHECKPOINT.with_name("synth15_s1.safetensors")


@pytest.fixture(scope="module")
def tools(tmp_path_factory):
    return tools_for(CHECKPOINT, tmp_path_factory.mktemp("data"))


@pytest.mark.skipif(not REFINER.is_file(), reason="there is no synth15_s1.safetensors beside the checkpoint")
@pytest.mark.parametrize("name", OF_ONE_MODEL)
def test_refiner_and_what_is_left_of_it(name, tools, record_property):
    case = CASES[name]
    outcome = run(case, tools, CHECKPOINT)
    record_property("parity", f"| {name} | {outcome.error:.1e} | {case.limit:.0e} |")
    assert outcome.error <= case.limit
    assert outcome.infotexts == case.infotexts
