"""The README says what is there, and only that."""

import re
from pathlib import Path

from modules.core.flags import parser
from modules.core.left_out import LEFT_OUT_FLAGS

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")
LAUNCHER = (ROOT / "launch.sh").read_text("utf-8")


def documented_flags() -> set[str]:
    rows = [line.split("|")[1] for line in README.split("\n") if line.startswith("| `--")]
    return {flag for row in rows for flag in re.findall(r"--[a-z0-9-]+", row)}


def launcher_flags() -> set[str]:
    return {flag for flag in documented_flags() if re.search(rf"{flag}\b", LAUNCHER)}


def test_every_flag_is_documented_and_no_other():
    flags = {flag for action in parser()._actions for flag in action.option_strings if flag.startswith("--")}
    flags -= {*LEFT_OUT_FLAGS}  # docs/a1111.md tells of those
    assert documented_flags() == (flags | launcher_flags()) - {"--help"}


def test_launcher_variables_are_documented():
    for name in ("COMMANDLINE_ARGS", "TORCH_COMMAND", "TORCH_INDEX_URL"):
        assert name in README
        assert name in LAUNCHER


def test_links_lead_somewhere():
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / target).is_file(), target


def test_routes_in_the_readme_exist():
    routes = (ROOT / "modules" / "api").rglob("*.py")
    source = "\n".join(path.read_text("utf-8") for path in routes)
    for route in re.findall(r"`(?:GET |POST )?(/[a-z0-9/-]+)`", README):
        assert route.removeprefix("/sdapi/v1") in source, route


def test_every_row_of_reliability_has_the_tests_it_names():
    """The table's rows and files, against the tests that are named after rows."""
    table = (ROOT / "docs" / "reliability.md").read_text().split("## Missing")[0]
    told = set()
    for row, _, files in re.findall(r"^\| (.+?) \| (.+?) \| (.+?) \|$", table, re.MULTILINE)[1:]:
        for name in _rows(row.replace("**", "")):
            told |= {(name, file) for file in files.split(", ")}
    found = {
        (row, file.relative_to(ROOT / "tests").as_posix())
        for file in (ROOT / "tests").rglob("test_*.py")
        for row in re.findall(r"^(?:async )?def test_([A-Z]\d+)_", file.read_text(), re.MULTILINE)
    }
    assert all((ROOT / "tests" / file).is_file() for _, file in told)
    assert {row for row, _ in told} == {row for row, _ in found}
    assert found <= told


def _rows(text: str) -> list[str]:
    """`M1, M3 to M5` -> M1, M3, M4, M5."""
    names: list[str] = []
    for part in text.split(", "):
        first, _, last = part.partition(" to ")
        numbers = range(int(first[1:]), int((last or first)[1:]) + 1)
        names += [f"{first[0]}{number}" for number in numbers]
    return names
