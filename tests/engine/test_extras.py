"""Extras through the engine: A1111's sizes, words and chunks; folders, stopping, and what cannot be used."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from modules.core.errors import InputError
from modules.core.paths import Paths
from modules.core.settings import Settings
from modules.engine.build import build_engine
from modules.engine.engine import Engine
from modules.engine.extras import with_existing
from modules.engine.postprocess import Piece
from modules.images.encode import read_infotext
from modules.jobs.executors.base import Cancel
from modules.requests.events import Done, Failed, ImageReady, Order, Progress, Warned
from modules.requests.extras import make_extras_request
from modules.requests.pictures import Picture
from tests.upscale.tiny_upscalers import write_compact


def png(width: int = 40, height: int = 24, *, mode: str = "RGB", seed: int = 0, **texts: str) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (height // 4 + 1, width // 4 + 1, 3), dtype=np.uint8)
    info, buffer = PngInfo(), io.BytesIO()
    for name, text in texts.items():
        info.add_text(name, text)
    image = Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC).convert(mode)
    image.save(buffer, format="PNG", pnginfo=info)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("extras")
    write_compact(root / "models" / "ESRGAN", "tiny.safetensors")
    return root


@pytest.fixture(scope="module")
def engine(data) -> Engine:
    return build_engine(paths=Paths(data=data), use_cpu=True)


def run(
    engine: Engine,
    *files: bytes,
    done: set[int] | None = None,
    cancel: Cancel | None = None,
    format: str = "png",
    options: dict[str, Any] | None = None,
    **values: Any,
) -> list[Any]:
    images = tuple(Picture.of(file) for file in files)
    request = make_extras_request({"images": images, **values})
    order = Order(
        job="t",
        request=request,
        seed=0,
        options=Settings().changed({"samples_format": format, **(options or {})}).flat(),
        done=frozenset(done or ()),
    )
    return list(engine.run(order, cancel or Cancel()))


def pictures(events: list[Any]) -> list[Image.Image]:
    assert isinstance(events[-1], Done), events[-1]
    return [Image.open(io.BytesIO(event.data)) for event in events if isinstance(event, ImageReady)]


def test_upscaled_with_its_words_in_the_chunks(engine):
    (image,) = pictures(run(engine, png(parameters="a cat\nSteps: 1"), upscaler_1="tiny", upscaling_resize=2))
    assert image.size == (80, 48)
    words = "Postprocess upscale by: 2, Postprocess upscaler: tiny"
    assert image.info == {"parameters": "a cat\nSteps: 1", "postprocessing": words, "extras": words}


def test_formats_have_the_words_in_their_place(engine):
    words = "a cat\nSteps: 1\nPostprocess upscale by: 2, Postprocess upscaler: Lanczos"
    for format, kind in (("webp", "WEBP"), ("jpg", "JPEG")):
        events = run(engine, png(parameters="a cat\nSteps: 1"), format=format, upscaler_1="Lanczos", upscaling_resize=2)
        (event,) = (event for event in events if isinstance(event, ImageReady))
        assert (pictures(events)[0].format, read_infotext(event.data), event.infotext) == (kind, words, words)


def test_two_upscalers_are_blended(engine):
    file = png()
    blend = {"upscaler_2": "Nearest", "extras_upscaler_2_visibility": 0.25}
    one, two, both = (
        np.asarray(pictures(run(engine, file, upscaling_resize=2, upscaler_1=first, **more))[0], float)
        for first, more in (("Lanczos", {}), ("nearest", {}), ("Lanczos", dict[str, Any](blend)))
    )
    assert np.abs(0.75 * one + 0.25 * two - both).max() <= 1


@pytest.mark.parametrize(
    ("values", "size", "words"),
    [
        (
            {"resize_mode": 1, "upscaling_resize_w": 60, "upscaling_resize_h": 60},
            (60, 60),
            "Postprocess upscale to: 60x60, Postprocess crop to: 60x60",
        ),
        (
            {"resize_mode": 1, "upscaling_resize_w": 64, "upscaling_resize_h": 64, "upscaling_crop": False},
            (104, 64),
            "Postprocess upscale to: 64x64",
        ),
        ({"upscaling_resize": 4, "max_side_length": 100}, (96, 56), "Postprocess upscale by: 4, Max side length: 100"),
        ({"upscaling_resize": 1.5}, (56, 32), "Postprocess upscale by: 1.5"),
    ],
)
def test_sizes(engine, values, size, words):
    (image,) = pictures(run(engine, png(), upscaler_1="Lanczos", **values))
    assert image.size == size
    assert image.info["postprocessing"] == f"{words}, Postprocess upscaler: Lanczos"


def test_without_an_upscaler_the_picture_stays(engine):
    (image,) = pictures(run(engine, png(), upscaling_resize=3))
    assert image.size == (40, 24) and "postprocessing" not in image.info


def test_transparency_is_kept(engine):
    (image,) = pictures(run(engine, png(mode="RGBA"), upscaler_1="tiny", upscaling_resize=2))
    assert image.mode == "RGBA"


def test_training_set(engine):
    values = {
        "resize_mode": 1,
        "upscaling_resize_w": 64,
        "upscaling_resize_h": 64,
        "upscaling_crop": False,
        "upscaler_1": "None",
    }
    events = run(
        engine, png(400, 64), split_oversized={}, flipped_copies=["Horizontal", "Both"], names=["wide.png"], **values
    )
    found = pictures(events)
    assert {image.size for image in found} == {(64, 64)} and len(found) % 3 == 0 and len(found) >= 21
    names = [event.name for event in events if isinstance(event, ImageReady)]
    assert names[:4] == ["wide.0", "wide.0.horizontal", "wide.0.both", "wide.1"] and len(set(names)) == len(names)
    assert [event.index for event in events if isinstance(event, ImageReady)] == list(range(len(found)))
    again = run(
        engine, png(400, 64), split_oversized={}, flipped_copies=["Horizontal", "Both"], done={0, 1, 2}, **values
    )
    assert len(pictures(again)) == len(found) - 3


def test_focal_and_autosized_crops(engine):
    values = {"resize_mode": 1, "upscaling_resize_w": 64, "upscaling_resize_h": 64, "upscaling_crop": False}
    found = pictures(run(engine, png(200, 80), focal_crop={"debug": True}, **values))
    assert [image.size for image in found] == [(64, 64), (160, 64)]
    (image,) = pictures(run(engine, png(900, 500), autosized_crop={}))
    assert image.size == (768, 512) or image.size[0] * image.size[1] <= 640 * 640
    events = run(engine, png(900, 30), autosized_crop={})
    assert any(isinstance(event, Warned) and "no size" in event.message for event in events)


def test_a_folder(engine, data):
    folder = data / "in"
    folder.mkdir()
    for name in ("b.png", "a.png"):
        (folder / name).write_bytes(png())
    (folder / "c.png").write_text("<svg>")
    (folder / "notes.txt").write_text("nothing")
    events = run(engine, input_dir="in", upscaler_1="Nearest", upscaling_resize=2)
    assert [event.name for event in events if isinstance(event, ImageReady)] == ["a", "b"]
    assert [event.message for event in events if isinstance(event, Warned)][0].startswith('"c.png" is no whole picture')
    assert any(isinstance(event, Progress) and event.batches == 3 for event in events)
    assert len(pictures(run(engine, input_dir="in", upscaler_1="Nearest", done={0}))) == 1


def test_stopping_and_skipping(engine):
    class Stop(Cancel):
        def __init__(self, after: int) -> None:
            super().__init__()
            self.left = after

        def take_skip(self) -> bool:
            self.left -= 1
            if self.left == 0:
                self.ask("interrupt")
            return False

    events = run(engine, *(png(seed=i) for i in range(5)), upscaler_1="tiny", upscaling_resize=2, cancel=Stop(5))
    assert isinstance(events[-1], Done) and events[-1].stopped
    assert 0 < sum(isinstance(event, ImageReady) for event in events) < 5
    skip = Cancel()
    skip.ask("skip")
    events = run(engine, png(), png(seed=1), upscaler_1="tiny", upscaling_resize=2, cancel=skip)
    assert [event.index for event in events if isinstance(event, ImageReady)] == [1] and not events[-1].stopped


def test_a_bad_upscaler_file_fails_in_a_sentence(engine, data):
    (data / "models" / "ESRGAN" / "bad.pth").write_bytes(b"nothing")
    events = run(engine, png(), upscaler_1="bad")
    assert isinstance(events[-1], Failed) and '"bad.pth"' in events[-1].message


def test_what_no_memory_holds_is_refused_before(engine, monkeypatch):
    monkeypatch.setattr("modules.upscale.network.free_memory", lambda device: 10_000)
    events = run(engine, png(), upscaler_1="tiny", upscaling_resize=2)
    assert isinstance(events[-1], Failed) and "memory" in events[-1].message


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({}, "neither a picture nor input_dir"),
        ({"images": (Picture.of(png()),), "input_dir": "x"}, "both pictures and input_dir"),
        ({"input_dir": "x", "upscaling_resize": 0}, "above 0"),
        ({"input_dir": "x", "resize_mode": 2}, "at most 1"),
        ({"input_dir": "x", "gfpgan_visibility": 1.5}, "at most 1"),
        ({"input_dir": "x", "flipped_copies": ["Sideways"]}, "must be one of"),
        ({"input_dir": "x", "autosized_crop": {"mindim": 700, "maxdim": 300}}, "must not be above"),
        ({"input_dir": "x", "names": ["a"]}, "give one each"),
        ({"input_dir": "x", "nonsense": 1}, "not a field"),
    ],
)
def test_wrong_requests(values, words):
    with pytest.raises(InputError, match=words):
        make_extras_request(values)


def test_operations_come_in_the_order_that_the_setting_says(engine):
    wanted = {"upscaler_1": "Lanczos", "upscaling_resize": 2, "flipped_copies": ["Horizontal"], "autosized_crop": {}}
    files = png(600, 300)
    plain = pictures(run(engine, files, **wanted))
    order = {"postprocessing_operation_order": ["Auto-sized crop", "nothing", "Create flipped copies"]}
    changed = pictures(run(engine, files, options=order, **wanted))
    assert len(plain) == len(changed) == 2
    cut = plain[0].size
    assert max(cut) <= 768, "cut last"
    assert [image.size for image in changed] == [(2 * (cut[0]), 2 * cut[1])] * 2, "cut first, then made larger"


@pytest.mark.parametrize(("action", "caption"), [
    ("Ignore", "a red cat"), ("Keep", "mine"), ("Prepend", "mine a red cat"), ("Append", "a red cat mine"),
])  # fmt: skip
def test_captions_that_are_there(tmp_path, action, caption):
    beside = tmp_path / "cat.txt"
    piece = Piece(image=Image.new("RGB", (8, 8)), name="cat.png", target=(8, 8), caption="a red cat")
    assert with_existing(piece, beside, action).caption == "a red cat", "there is none"
    beside.write_text(" mine\n")
    assert with_existing(piece, beside, action).caption == caption
    bare = Piece(image=piece.image, name="cat.png", target=(8, 8))
    assert with_existing(bare, beside, action).caption is None, "no captions are made"
