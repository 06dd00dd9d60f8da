"""The layers of the design, by reading every import; and the house rules that a program can check."""

import ast
import functools
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from modules.core.paths import ROOT

FLOOR = ("core", "requests", "images", "library", "templates", "prompting", "plugins", "jobs")
ENGINE = (
    "sampling",
    "devices",
    "families",
    "patches",
    "networks",
    "merging",
    "detect",
    "control",
    "upscale",
    "engine",
    "scripts",
    "training",
    "starter",
    "bench",
)
WEB = ("api",)
LIGHT = ("app", "webui", *(f"modules.{name}" for name in (*FLOOR, *WEB)))  # what the web process may import
HEAVY = {"torch", "torchvision", "torchsde", "diffusers", "transformers", "safetensors", "open_clip", "accelerate"}
MAX_LINES = 400


def source_files() -> list[Path]:
    """The program: no tests, no installed packages."""
    return [ROOT / "app.py", *sorted((ROOT / "modules").rglob("*.py")), *sorted((ROOT / "webui").rglob("*.py"))]


FILES = source_files()


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@functools.cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"))


def imports_of(tree: ast.Module, importer: str = "") -> Iterator[str]:
    """Every module named in an import statement of the module `importer`, those inside functions included."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = importer.split(".")[: -node.level] if node.level else []
            source = ".".join([*above, *([node.module] if node.module else [])])
            yield source
            yield from (f"{source}.{alias.name}" for alias in node.names)


def package_of(module: str) -> str:
    """ "modules.core.errors" -> "core"; "webui" and "app" for themselves; "" for other people's."""
    parts = module.split(".")
    if parts[0] == "modules":
        return parts[1] if len(parts) > 1 else ""
    return parts[0] if parts[0] in ("webui", "app") else ""


def allowed(package: str) -> set[str]:
    """Which of our packages `package` may import: those above it in its group, the shared floor, and itself."""
    if package in FLOOR:
        return set(FLOOR[: FLOOR.index(package) + 1])
    if package in ENGINE:
        return {*FLOOR, *ENGINE[: ENGINE.index(package) + 1]}
    return {*FLOOR, *WEB, "webui"} if package in ("webui", "app") else {*FLOOR, *WEB}


def of_each(paths: Sequence[Path]) -> Callable[[Callable[[Path], None]], Callable[[], None]]:
    """A test of each file as one test, which names all that fail: thousands of tests would take longer than what they look at."""

    def decorate(check: Callable[[Path], None]) -> Callable[[], None]:
        def test() -> None:
            wrong = []
            for path in paths:
                try:
                    check(path)
                except AssertionError as error:
                    wrong.append(f"{path.relative_to(ROOT).as_posix()}: {error}")
            assert not wrong, "\n".join(wrong)

        test.__doc__ = check.__doc__
        return test

    return decorate


@of_each(FILES)
def test_imports_point_up(path):
    package = package_of(name_of(path))
    assert package in {*FLOOR, *ENGINE, *WEB, "webui", "app"}, "a package that the design does not know"
    found = {package_of(name) for name in imports_of(tree_of(path), name_of(path))} - {""}
    assert found <= allowed(package)


@of_each(FILES)
def test_gradio_stays_in_webui(path):
    roots = {name.split(".")[0] for name in imports_of(tree_of(path), name_of(path))}
    assert package_of(name_of(path)) == "webui" or not roots & {"gradio", "gradio_client"}


@of_each([path for path in FILES if name_of(path).startswith(LIGHT)])
def test_no_torch_in_what_the_web_process_imports(path):
    assert not {name.split(".")[0] for name in imports_of(tree_of(path), name_of(path))} & HEAVY


def test_web_process_really_has_no_torch():
    code = (
        "import sys, app, modules.api.app, webui.blocks, modules.jobs.executors.process; "
        f"print(sorted({HEAVY!r} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=200)
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr


def test_api_runs_without_gradio():
    code = "import sys, app, modules.api.app; print('gradio' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=200)
    assert (done.returncode, done.stdout.strip()) == (0, "False"), done.stderr


@of_each(FILES)
def test_no_global_statement(path):
    assert not [node.lineno for node in ast.walk(tree_of(path)) if isinstance(node, ast.Global)]


def targets(node: ast.stmt) -> list[str]:
    found = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return [target.id for target in found if isinstance(target, ast.Name)]


def is_mutable(value: ast.expr | None) -> bool:
    """A literal or a call that makes a container, a lock, a cache ...: something that could come to hold state."""
    made = (ast.List, ast.Dict, ast.Set, ast.ListComp, ast.DictComp, ast.SetComp)
    makers = {
        "list",
        "dict",
        "set",
        "defaultdict",
        "deque",
        "Counter",
        "OrderedDict",
        "Lock",
        "RLock",
        "Event",
        "Queue",
    }
    if isinstance(value, ast.Call):
        name = value.func.attr if isinstance(value.func, ast.Attribute) else getattr(value.func, "id", "")
        return name in makers
    return isinstance(value, made)


MUTATING = {"append", "extend", "insert", "add", "update", "setdefault", "pop", "popitem", "clear", "remove", "discard"}


@of_each(FILES)
def test_no_mutable_state_at_module_level(path):
    """Tables are constants: UPPER_CASE, and nothing in their file changes them."""
    tree = tree_of(path)
    tables = {name for node in tree.body for name in targets(node) if is_mutable(getattr(node, "value", None))}
    assert all(name.strip("_").isupper() for name in tables if name != "__all__")
    changed = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in MUTATING:
            changed.add(getattr(node.func.value, "id", None))
        if isinstance(node, ast.Assign | ast.AugAssign | ast.Delete):
            for target in node.targets if isinstance(node, ast.Assign | ast.Delete) else [node.target]:
                if isinstance(target, ast.Subscript):
                    changed.add(getattr(target.value, "id", None))
    assert not tables & changed


PASSIVE = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Assign, ast.AnnAssign)


@of_each(FILES)
def test_no_work_at_import(path):
    """A module's top level defines; it does not do. `if __name__ == "__main__"` and type-checking blocks aside."""
    for node in tree_of(path).body:
        docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        guard = isinstance(node, ast.If) and any(
            name in ast.dump(node.test) for name in ("__name__", "TYPE_CHECKING", "version_info")
        )
        assert isinstance(node, PASSIVE) or docstring or guard, f"line {node.lineno}"


@of_each(FILES)
def test_files_are_short_and_say_what_they_are(path):
    lines = len(path.read_text("utf-8").splitlines())
    assert lines <= MAX_LINES
    assert ast.get_docstring(tree_of(path)), "a file begins with what it is"


UNSAFE = ("eval", "exec", "compile", "__import__")


@of_each(FILES)
def test_nothing_that_runs_what_a_file_says(path):
    for node in ast.walk(tree_of(path)):
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        keywords = {k.arg: ast.unparse(k.value) for k in node.keywords}
        assert name not in UNSAFE, f"line {node.lineno}"
        assert name not in ("pickle.load", "pickle.loads", "torch.jit.load", "yaml.load", "os.system"), (
            f"line {node.lineno}"
        )
        assert name != "torch.load" or keywords.get("weights_only", "True") == "True", f"line {node.lineno}"
        assert "True" not in (keywords.get("shell"), keywords.get("trust_remote_code"), keywords.get("allow_pickle"))


def test_these_checks_can_fail():
    """Each rule on a line that breaks it."""
    bad = ast.parse(
        "import torch\nfrom modules.jobs import store\nTABLE = {}\nTABLE['a'] = 1\nfound = []\nprint('x')\n"
    )
    assert {"torch", "modules.jobs", "modules.jobs.store"} <= set(imports_of(bad))
    assert "jobs" not in allowed("core")
    assert not {"engine", "api"} & allowed("jobs")
    assert "api" not in allowed("engine")
    assert "engine" not in allowed("api") | allowed("webui")
    assert [name for node in bad.body for name in targets(node) if is_mutable(getattr(node, "value", None))] == [
        "TABLE",
        "found",
    ]
    assert not isinstance(bad.body[-1], PASSIVE)


STARTING = {
    "app.py",  # itself, once more
    "modules/api/tunnels.py",  # cloudflared or ssh, when a flag asks for a tunnel
    "modules/bench/library.py",
    "modules/bench/start.py",
    "modules/devices/compiled.py",  # a model made smaller, in a process of its own
    "modules/plugins/trial.py",  # an extension that is tried
}


def test_E2_nothing_fetches_code_or_installs_it():
    """Extensions are put there by hand: so there is no address of a repository to be careful with, and no list of packages."""
    starts, names = set(), set()
    for path in FILES:
        for node in ast.walk(tree_of(path)):
            match node:
                case ast.Import(names=imported) if any(one.name == "subprocess" for one in imported):
                    starts.add(path.relative_to(ROOT).as_posix())
                case ast.ImportFrom(module="subprocess"):
                    starts.add(path.relative_to(ROOT).as_posix())
                case ast.Attribute(value=ast.Name(id="os"), attr=attr) if attr.startswith(
                    ("exec", "spawn", "system", "popen")
                ):
                    starts.add(path.relative_to(ROOT).as_posix())
                case ast.Constant(value=str(text)) if text in ("git", "pip", "uv", "ensurepip"):
                    names.add(f"{path.relative_to(ROOT).as_posix()}: {text}")
    assert starts == STARTING
    assert names == set()
