"""docs/preprocessors.md names every preprocessor, and only those."""

import re

from modules.control.preprocessors.registry import built_in
from modules.core.paths import ROOT

PAGE = (ROOT / "docs" / "preprocessors.md").read_text("utf-8")


def test_every_preprocessor_is_documented_and_no_other():
    cells = [line.split("|")[1] for line in PAGE.split("\n") if line.startswith("| `")]
    named = {name for cell in cells for name in re.findall(r"`([^`]+)`", cell)}
    assert named == {entry.name for entry, _ in built_in()}
    for entry, _ in built_in():
        if entry.label != entry.name:
            assert f"| {entry.label} |" in PAGE, entry.label
        for weight in entry.weights:
            assert weight.file in PAGE, weight.file
