"""Extensions that break: the program starts without them and says so; jobs go on."""

import json
import time
from importlib import metadata
from pathlib import Path
from urllib.parse import quote

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from PIL import Image

from modules.api.extensions import add_extensions, items
from modules.core.flags import parse_flags
from modules.core.paths import Paths
from modules.core.settings import Settings
from modules.engine.hooks import TRIES, Hooks
from modules.plugins import extensions
from modules.plugins.choosing import choose_extensions, usable
from modules.plugins.extensions import find_extensions
from modules.plugins.starts import Starts
from modules.plugins.trial import tried
from modules.scripts.extending import extended
from tests.faults.points import Points
from tests.server import Server, until

GOOD_UI = """
def register(api):
    @api.router.get("/hello")
    def hello():
        return {"from": api.name}
"""

GOOD_ENGINE = """
from PIL import ImageOps
from modules.engine.scripts import Script

class Mirror(Script):
    title = "Mirror of an extension"

    def postprocess(self, image, values):
        return ImageOps.mirror(image)

def register(api):
    api.add_script(Mirror())

    @api.on_picture
    def upside_down(image, infotext):
        return ImageOps.flip(image)
"""

BROKEN = {
    "raises": ("raise RuntimeError('no such luck')", "RuntimeError: no such luck"),
    "syntax": ("def register(api:", "SyntaxError"),
    "leaves": ("import sys\nsys.exit(0)", "SystemExit"),
    "ends": ("import os\nos._exit(0)\n", "ended the process"),
    "crashes": ("import ctypes\nctypes.string_at(0)", "ended the process"),
    "lacks": ("import a_package_that_nobody_has", "ModuleNotFoundError"),
    "empty": ("", "AttributeError"),
    "says nothing": ("import os\nos._exit(11)\n", "it failed"),
    "babbles": ("import sys\nsys.stderr.buffer.write(b'\\xff\\xfe' * 9)\nraise ValueError('odd')", "ValueError: odd"),
    "sleeps": ("import time\ntime.sleep(60)", "was not loaded after"),
}
"""What each does when it is imported, and what is said of it."""


def extension(data: Path, name: str, **files: str) -> Path:
    folder = data / "extensions" / name
    folder.mkdir(parents=True)
    for side, text in files.items():
        (folder / f"{side}.py").write_text(text)
    return folder


def test_E4_whatever_breaks_at_import_is_found_out_beside_the_program(tmp_path):
    for name, (text, _) in BROKEN.items():
        extension(tmp_path, name, ui=text)
    (extension(tmp_path, "good", ui=GOOD_UI) / "gone.py").symlink_to(tmp_path / "nowhere.py")
    (tmp_path / "extensions" / "no folder.py").write_text("raise")
    begun = time.monotonic()
    found = {
        one.name: one for one in tried(find_extensions(Paths(data=tmp_path)), tmp_path / "tried.json", patience=10)
    }
    assert time.monotonic() - begun < 30
    assert found["good"].trouble is None
    for name, (_, words) in BROKEN.items():
        assert words in (found[name].trouble or ""), (name, found[name].trouble)
    assert set(json.loads((tmp_path / "tried.json").read_text())) == {"good"}
    app = FastAPI()
    assert add_extensions(app, [one for one in found.values() if one.trouble is None]) == []
    assert TestClient(app).get("/extensions/good/hello").json() == {"from": "good"}
    assert {item["name"]: item["enabled"] for item in items(list(found.values()))} == {
        name: name == "good" for name in found
    }


def test_E4_what_passed_is_not_tried_again_until_it_changes(tmp_path):
    folder = extension(tmp_path, "good", ui=GOOD_UI)
    cache = tmp_path / "tried.json"
    assert tried(find_extensions(Paths(data=tmp_path)), cache)[0].trouble is None
    assert tried(find_extensions(Paths(data=tmp_path)), cache, patience=0.001)[0].trouble is None
    (folder / "more.py").write_text("raise RuntimeError")
    (folder / "ui.py").write_text("import more")
    assert "RuntimeError" in (tried(find_extensions(Paths(data=tmp_path)), cache)[0].trouble or "")


def test_E4_one_that_breaks_only_here_adds_nothing(tmp_path):
    late = "import sys\nif '_pytest' in sys.modules:\n    raise RuntimeError('here')\ndef register(api): pass"
    extension(tmp_path, "late", ui=late)
    extension(tmp_path, "taken", engine=GOOD_ENGINE.replace("Mirror of an extension", "X/Y/Z plot"))
    extension(tmp_path, "good", engine=GOOD_ENGINE)
    found = tried(find_extensions(Paths(data=tmp_path)), tmp_path / "tried.json")
    assert [one.trouble for one in found] == [None] * 3
    assert [one.name for one in add_extensions(FastAPI(), found)] == ["late"]
    scripts, hooks = extended(found, ["X/Y/Z plot"])
    assert [script.title for script in scripts] == ["Mirror of an extension"]
    assert [hook.extension for hook in hooks.found] == ["good"]


def test_E5_two_starts_that_fail_make_the_third_one_safe(tmp_path):
    extension(tmp_path, "good", ui=GOOD_UI)
    flags = parse_flags(["--data-dir", str(tmp_path)])
    for failed in range(3):
        starts = Starts(tmp_path / "starts")
        assert (starts.failed, starts.safe) == (failed, failed == 2)
        starts.begin()
        found = choose_extensions(flags, flags.paths, starts, Settings())
        assert len(usable(found)) == (not starts.safe)
    assert "safe mode" in (found[0].trouble or "")
    starts.succeed()
    assert not Starts(tmp_path / "starts").safe
    starts = Starts(tmp_path / "starts")
    starts.begin()
    starts.forget()
    assert Starts(tmp_path / "starts").failed == 0
    (tmp_path / "starts").write_text("nonsense")
    assert Starts(tmp_path / "starts").failed == 0


@pytest.mark.parametrize("flag", ["--disable-all-extensions", "--disable-extra-extensions"])
def test_E5_flags_leave_all_of_them_out_and_change_nothing(tmp_path, flag):
    extension(tmp_path, "good", ui=GOOD_UI)
    flags = parse_flags(["--data-dir", str(tmp_path), flag])
    before = sorted(tmp_path.rglob("*"))
    found = choose_extensions(flags, flags.paths, Starts(tmp_path / "starts"), Settings())
    assert (usable(found), found[0].trouble) == ([], "Switched off by a flag.")
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("options", "used"),
    [
        ({}, ["good", "other"]),
        ({"disabled_extensions": ["good", "one that is gone"]}, ["other"]),
        ({"disable_all_extensions": "extra"}, []),
        ({"disable_all_extensions": "all"}, []),
    ],
)
def test_settings_switch_them_off(tmp_path, options, used):
    extension(tmp_path, "good", ui=GOOD_UI)
    extension(tmp_path, "other", ui=GOOD_UI)
    flags = parse_flags(["--data-dir", str(tmp_path)])
    found = choose_extensions(flags, flags.paths, Starts(tmp_path / "starts"), Settings().changed(options))
    assert [one.name for one in found] == ["good", "other"]
    assert [one.name for one in usable(found)] == used
    assert {one.trouble for one in found if one.name not in used} <= {"Switched off."}


def picture(hooks: Hooks) -> tuple[Image.Image, list[str]]:
    told: list[str] = []
    image = hooks.picture(
        Image.new("RGB", (4, 4), "red"), "a picture", lambda event: told.append(str(getattr(event, "message", event)))
    )
    return image, told


def never(image: Image.Image, infotext: str) -> None:
    time.sleep(30)


@pytest.mark.parametrize(
    ("call", "words", "calls"),
    [
        (lambda image, infotext: 1 / 0, "ZeroDivisionError", TRIES),
        (lambda image, infotext: "garbage", "gave str, and no picture", TRIES),
        (lambda image: image, "TypeError", TRIES),
        (never, "no answer after 0 s", 1),
        (lambda image, infotext: (_ for _ in ()).throw(SystemExit(1)), "SystemExit", TRIES),
    ],
    ids=["raises", "garbage", "signature", "never", "leaves"],
)
def test_E7_a_hook_that_fails_costs_no_picture(call, words, calls):
    hooks = Hooks(patience=0.1 if call is never else 30)
    hooks.add("bad", call)
    hooks.add("good", lambda image, infotext: Image.new("RGB", image.size, "blue"))
    for number in range(1, 6):
        image, told = picture(hooks)
        assert image.getpixel((0, 0)) == (0, 0, 255)
        assert len(told) == (number <= calls)
        assert all('The extension "bad" failed' in one and words in one for one in told)
        assert all(("not called any more" in one) == (number == calls) for one in told)


def test_E7_nothing_a_hook_does_to_its_picture_counts_when_it_fails():
    def half(image: Image.Image, infotext: str) -> None:
        image.paste("green", (0, 0, 4, 4))
        raise ValueError("half way")

    hooks = Hooks()
    hooks.add("bad", half)
    assert picture(hooks)[0].getpixel((0, 0)) == (255, 0, 0)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_E5_a_real_server_with_good_and_broken_ones(tmp_path, models, monkeypatch):
    """Its engine is killed while it starts, twice: the third start is without extensions, and draws."""
    points = Points(tmp_path / "faults")
    for name, value in points.environment.items():
        monkeypatch.setenv(name, value)
    data = tmp_path / "data"
    extension(data, "good", ui=GOOD_UI, engine=GOOD_ENGINE)
    extension(data, "bad", ui="raise RuntimeError('no such luck')", engine=GOOD_ENGINE)
    server = Server(data, "--nowebui", "--ckpt-dir", str(models), "--ckpt", "tiny")
    draw = {"prompt": "a red star", "width": 64, "height": 64, "steps": 1, "seed": 3}
    server.start()
    try:
        listed = {item["name"]: item["enabled"] for item in server.get("/sdapi/v1/extensions").json()}
        assert listed == {"good": True, "bad": False}
        assert server.get("/extensions/good/hello").json() == {"from": "good"}
        with_hook = server.post("/sdapi/v1/txt2img", draw, timeout=280).json()
        assert "mirror of an extension" in json.dumps(server.get("/sdapi/v1/scripts").json()).lower()
        for _ in range(2):
            server.stop()
            points.plan("engine.start", "exit")
            server.start()
            until(lambda: not points.waits("engine.start") and server.engine() is None, 120)
        server.stop()
        server.start()
        assert "safe mode" in server.log
        without = server.post("/sdapi/v1/txt2img", draw, timeout=280).json()
        assert without["images"] != with_hook["images"]
        assert server.get("/extensions/good/hello").status_code == 404
        assert 'The extension "bad" is not used: ui.py: RuntimeError: no such luck' in server.log
    finally:
        server.stop()
        server.http.close()


ODD = ("a b", "\u00e4", "x.y", "-c", "sdapi", "CON", "a;b", "<b>", "..x", "{name}", "{x:path}", "a\nb")


def test_E3_no_folder_s_name_leads_to_another_address(tmp_path):
    data, app = tmp_path / "data", FastAPI()
    for name in ODD:
        extension(data, name, ui=GOOD_UI)
    found = find_extensions(Paths(data=data))
    app.get("/{rest:path}")(lambda rest: {"rest": rest})
    before = list(app.routes)
    failed = {one.name for one in add_extensions(app, found)}
    assert failed == {"{name}", "{x:path}"}
    added = [route for route in app.routes if route not in before]
    app.router.routes = [*added, *before]
    with TestClient(app) as client:
        for one in found:
            answer = client.get(f"/extensions/{quote(one.name, safe='')}/hello").json()
            assert answer == ({"from": one.name} if one.name not in failed else {"rest": answer["rest"]}), one.name
        assert "rest" in client.get("/hello").json() and "rest" in client.get("/sdapi/hello").json()


def test_E3_of_two_folders_of_one_name_one_is_taken(tmp_path, monkeypatch):
    monkeypatch.setattr(extensions, "ROOT", tmp_path / "program")
    for place in ("program", "data"):
        extension(tmp_path / place, "same", ui=GOOD_UI)
    assert [one.folder for one in find_extensions(Paths(data=tmp_path / "data"))] == [
        tmp_path / "data" / "extensions" / "same"
    ]


def test_E6_an_extension_installs_nothing(tmp_path, monkeypatch):
    """A1111 runs install.py, and pip with requirements.txt: here neither the trial nor the loading does."""
    ran, programs = tmp_path / "ran", tmp_path / "programs"
    programs.mkdir()
    for name in ("pip", "pip3", "uv", "git"):
        (programs / name).write_text(f"#!/bin/sh\ntouch '{ran}'\n")
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(programs), prepend=":")
    folder = extension(tmp_path, "wants", ui=GOOD_UI, install=f"open({str(ran)!r}, 'w')", preload="raise SystemExit")
    (folder / "requirements.txt").write_text("numpy<2\ntorch==1.0\n")
    before = sorted(one.name for one in metadata.distributions())
    found = tried(find_extensions(Paths(data=tmp_path)), tmp_path / "tried.json")
    assert [one.trouble for one in found] == [None] and add_extensions(FastAPI(), found) == []
    assert not ran.exists() and sorted(one.name for one in metadata.distributions()) == before
