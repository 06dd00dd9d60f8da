"""The page never makes markup of text: what a file, a prompt or another user says is put in as text."""

import ast
import re

import pytest

from modules.core.paths import ROOT

SCRIPTS = sorted((ROOT / "webui" / "assets").rglob("*.js"))
SOURCES = sorted((ROOT / "webui").rglob("*.py"))
UNSAFE = re.compile(
    r"\b(innerHTML|outerHTML|insertAdjacentHTML|document\.write|createContextualFragment|srcdoc|eval\()"
)


def mixed(call: ast.Call) -> list[ast.expr]:
    """The arguments that become markup and are put together of pieces."""
    shown = [*call.args[:1], *(k.value for k in call.keywords if k.arg in ("value", "html_template"))]
    return [value for value in shown if isinstance(value, ast.JoinedStr | ast.BinOp)]


def calls(text: str) -> list[ast.Call]:
    """Those of gradio's components that show markup."""
    found = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call)]
    return [call for call in found if ast.unparse(call.func) in ("gr.HTML", "gr.Markdown")]


def test_X10_no_script_makes_markup_of_text():
    assert len(SCRIPTS) > 40
    for path in SCRIPTS:
        assert not UNSAFE.search(path.read_text("utf-8")), path.name


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_X10_no_component_is_given_pieces(path):
    for call in calls(path.read_text("utf-8")):
        assert not mixed(call), f"line {call.lineno}: put it in as text, or use a template of its own"


def test_X10_these_checks_can_fail():
    bad = calls(
        'gr.HTML(f"<b>{name}</b>")\ngr.Markdown("# " + name)\ngr.HTML(value="<b>%s</b>" % name)\ngr.HTML("<b>")'
    )
    assert [len(mixed(call)) for call in bad] == [1, 1, 1, 0]
    assert UNSAFE.search("box.innerHTML = name")
