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
