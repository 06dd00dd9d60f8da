"""Every sentence that may reach the page stands in zh_CN.json: the server's with {holes} for what is filled in, as in its source."""

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SENTENCE = re.compile(r"\S\s.*[.!?…]$", re.DOTALL)
UNSEEN = (
    # of the command line and its log
    *("bench", "starter", "core/flags", "core/network", "core/ngrok", "core/lock", "core/registry", "core/faults"),
    *("api/serving", "api/tunnels", "webui/share", "library/localizations"),
    # answers to programs, to routes that no page asks
    *("api/always_on", "api/description", "api/detail", "api/dynamic_args", "api/metrics", "api/scheduler"),
    *("api/scheduler_files", "api/tiled_args"),
)
FIELDS = "width|scale|loras|seed|precision|weights|control"
NO_SENTENCES = re.compile(
    r"\b(WHERE|AND|ORDER BY|LIKE)\b|(=|>|<) \?$|^[A-Z]+ TABLE|^- (If|User Prompt)|^%\(|^(not reached|numbers do not end)$"
)


def plain(text: str) -> str:
    """A text whose holes have no names; a field at its beginning is one, as the page says its label."""
    text = re.sub(rf"^([a-z]+(_[a-z0-9]+)+|{FIELDS}) ", "{} ", text.strip())
    return re.sub(r"\{[a-z_]+\}", "{}", text)


def template(node: ast.AST) -> str | None:
    """The text of a literal, an f-string or a sum of them, with {} for what is filled in; None for anything else."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr():
            return "".join(str(one.value) if isinstance(one, ast.Constant) else "{}" for one in node.values)
        case ast.BinOp(op=ast.Add()):
            parts = [template(node.left), template(node.right)]
            return None if parts == [None, None] else "".join("{}" if one is None else one for one in parts)
    return None


def told(node: ast.AST, raised: bool = False) -> Iterator[str]:
    """The sentences below that node: what reads as one, and what is raised. Docstrings and the log's lines are none."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) or isinstance(node, ast.Assert):
        return
    if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("log."):
        return
    text = template(node)
    if text is not None and (SENTENCE.search(text.strip()) or raised and " " in text.strip()):
        yield text
    for child in ast.iter_child_nodes(node):
        if text is not None and isinstance(child, ast.Constant | ast.BinOp | ast.JoinedStr):
            continue  # a part of it
        yield from told(child, isinstance(node, ast.Raise) or raised and isinstance(node, ast.Call) and text is None)


def sources() -> list[Path]:
    files = [*(ROOT / "modules").rglob("*.py"), *(ROOT / "webui").rglob("*.py")]
    names = {file: str(file.relative_to(ROOT)).removeprefix("modules/").removesuffix(".py") for file in files}
    return [
        file for file in files if not any(names[file] == one or names[file].startswith(f"{one}/") for one in UNSEEN)
    ]


@pytest.fixture(scope="module")
def known() -> set[str]:
    texts = json.loads((ROOT / "webui/assets/translations/zh_CN.json").read_text("utf-8"))
    for text, other in texts.items():
        assert set(re.findall(r"\{[a-z]+\}", text)) <= set(re.findall(r"\{[a-z]+\}", other)), text
    return {plain(text) for text in texts}


def test_the_servers_sentences_are_translated(known: set[str]):
    found = {text for file in sources() for text in told(ast.parse(file.read_text("utf-8")))}
    assert len(found) > 800
    left = {text for text in found if plain(text) not in known and not NO_SENTENCES.search(text.strip())}
    assert sorted(text for text in left if re.search("[A-Za-z]{2}", text.replace("{}", ""))) == []


def test_the_pages_own_sentences_are_translated(known: set[str]):
    left = []
    for file in (*(ROOT / "webui/assets").glob("*.js"), *(ROOT / "modules/api/accounts/pages").glob("*.js")):
        text = re.sub(r"^\s*//.*$", "", file.read_text("utf-8"), flags=re.MULTILINE)
        for _, words in re.findall(r"([\"'`])((?:(?!\1)[^\\\n]|\\.)*?[a-z)}][.!?…])\1", text):
            said = re.sub(r"\$\{(?:[^{}]|\{[^{}]*\})*\}", "{}", words)
            if " " in said.strip() and re.match("[A-Z{“]", said) and plain(said) not in known:
                left.append(f"{file.name}: {said}")
    assert left == []


def test_login_and_account_are_translated(known: set[str]):
    pages = [file.read_text("utf-8") for file in (ROOT / "modules/api/accounts/pages").glob("*.html")]
    texts = {text.strip() for page in pages for text in re.findall(r">([^<>{}]*[A-Za-z]{2}[^<>{}]*)<", page)}
    assert sorted(texts - known - {"Atelier", "Authorization: Bearer TOKEN"}) == []
