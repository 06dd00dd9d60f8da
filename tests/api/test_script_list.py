"""What /scripts and /script-info tell: all that is taken, and nothing that is not."""

import pytest

from modules.api.always_on import IMG2IMG_SCRIPTS, READERS, SCRIPTS, read_scripts
from modules.api.bodies import Txt2ImgBody

INFO = {"name", "is_alwayson", "is_img2img", "args"}
ARGUMENT = {"label", "value", "minimum", "maximum", "step", "choices"}


@pytest.fixture(scope="module")
def infos(client):
    return client.get("/sdapi/v1/script-info").json()


def test_each_tab_names_those_it_has(client, infos):
    names = client.get("/sdapi/v1/scripts").json()
    for tab in ("txt2img", "img2img"):
        assert names[tab] == [info["name"] for info in infos if info["is_img2img"] == (tab == "img2img")]
        assert {"controlnet", "adetailer", "dynamic prompts", "x/y/z plot", *map(str.lower, SCRIPTS)} <= {*names[tab]}
    assert "soft inpainting" in names["img2img"] and "soft inpainting" not in names["txt2img"]


def test_what_is_told_of_an_argument_is_what_a1111_tells(infos):
    assert all({*info} == INFO for info in infos)
    assert all({*argument} == ARGUMENT for info in infos for argument in info["args"])
    soft = next(info for info in infos if info["name"] == "soft inpainting")
    assert [(a["value"], a["minimum"], a["maximum"]) for a in soft["args"]] == [
        (False, None, None),
        (1, 0, 8),
        (0.5, 0, 8),
        (4, 1, 32),
        (0, 0, 1),
        (0.5, 0, 8),
        (2, 0, 8),
    ]


def test_always_on_scripts_take_what_they_tell(infos):
    """With all arguments at what is told, and switched on."""
    count = 0
    for info in infos:
        if info["is_alwayson"]:
            values = [argument["value"] for argument in info["args"]]
            values = [True, *values[1:]] if isinstance(values[0], bool) else values
            found = read_scripts({info["name"]: {"args": values}}, img2img=info["is_img2img"])
            assert found, info["name"]
            count += 1
            if not info["is_img2img"]:
                assert Txt2ImgBody(alwayson_scripts={info["name"]: {"args": values}}).to_request()  # type: ignore[call-arg]
    assert count == 2 * (len(SCRIPTS) + len(READERS) + 3) + len(IMG2IMG_SCRIPTS)
