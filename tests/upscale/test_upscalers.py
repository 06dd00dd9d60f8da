"""Upscalers by name: A1111's sizes, tiles without seams, files of all sorts, and those that cannot be used."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from modules.core.errors import Cancelled, UnknownName
from modules.core.settings import Settings
from modules.library.upscalers import NAMES, UpscalerFile
from modules.upscale.tiles import in_tiles, spans
from modules.upscale.upscaler import nothing
from modules.upscale.upscalers import tiles_of
from tests.upscale.tiny_upscalers import CPU, compact, upscalers_at, write_compact


def noise(width: int, height: int, mode: str = "RGB") -> Image.Image:
    shape = (height, width, len(mode)) if len(mode) > 1 else (height, width)
    return Image.fromarray(
        np.random.default_rng(5).integers(0, 256, shape, dtype=np.uint8), mode="RGBA" if mode == "RGBA" else None
    )


@pytest.mark.parametrize(
    ("size", "scale", "expected"),
    [
        ((50, 33), 2, (96, 64)),
        ((50, 33), 1.5, (72, 48)),
        ((64, 64), 0.5, (32, 32)),
        ((1, 1), 4, (4, 4)),
        ((1, 900), 2, (2, 1800)),
    ],
)
def test_sides_are_a1111s(tmp_path, size, scale, expected):
    for name in ("None", "Lanczos", "Nearest"):
        assert upscalers_at(tmp_path).get(name).upscale(noise(*size), scale).size == expected


def test_plain_upscalers_resize(tmp_path):
    image, upscalers = noise(16, 16), upscalers_at(tmp_path)
    assert upscalers.get("lanczos").upscale(image, 2) == image.resize((32, 32), Image.Resampling.LANCZOS)
    assert upscalers.get("Nearest").upscale(image, 2) == image.resize((32, 32), Image.Resampling.NEAREST)
    assert upscalers.get("None").upscale(image, 2) == image.resize((32, 32), Image.Resampling.LANCZOS)
    assert upscalers.get("Nearest").to(image, 30, 50).size == (30, 50)


def test_a_network_grows_until_it_is_large_enough(tmp_path):
    write_compact(tmp_path / "models" / "ESRGAN", "tiny.safetensors")
    asked = []
    grown = upscalers_at(tmp_path).get("tiny").upscale(noise(16, 8), 5, check=lambda: asked.append(1))
    assert grown.size == (80, 40) and len(asked) == 6  # 2 x 2 x 2, then Lanczos; asked before each, and in it
    assert upscalers_at(tmp_path).get("tiny").upscale(noise(16, 8), 100).size == (1600, 800)  # no more than three times


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_pictures_are_what_the_network_makes(tmp_path, suffix):
    write_compact(tmp_path / "models" / "ESRGAN", f"tiny{suffix}")
    image = noise(24, 16)
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None] / 255
    with torch.inference_mode():
        expected = compact()(pixels).clamp(0, 1).mul(255).round()[0].permute(1, 2, 0).numpy()
    found = np.asarray(upscalers_at(tmp_path).get("tiny").upscale(image, 2), dtype=float)
    assert np.abs(found - expected).max() <= 1


@pytest.mark.parametrize("mode", ["RGBA", "L", "P", "LA"])
def test_other_modes(tmp_path, mode):
    write_compact(tmp_path / "models" / "ESRGAN", "tiny.safetensors")
    image = noise(24, 16, "RGBA").convert(mode)
    grown = upscalers_at(tmp_path).get("tiny").upscale(image, 2)
    assert grown.size == (48, 32)
    assert grown.mode == ("RGBA" if image.has_transparency_data else "RGB")


@pytest.mark.parametrize(("tile", "overlap"), [(64, 8), (48, 12), (16, 8), (0, 8)])
@pytest.mark.parametrize("scale", [2, 3])
def test_tiles_leave_no_seams(tile, overlap, scale):
    pixels = torch.rand(1, 3, 90, 151, generator=torch.Generator().manual_seed(0))
    network = compact(
        scale, convolutions=2
    )  # sees 4 pixels; of what tiles share a quarter of 2 x 8 pixels counts nothing
    with torch.inference_mode():
        whole = network(pixels)
        tiled = in_tiles(pixels, network, scale=scale, tile=tile, overlap=overlap, check=nothing)
    assert whole.shape == tiled.shape
    assert (whole - tiled).abs().max() <= 1 / 255 / 10


@pytest.mark.parametrize("side", [1, 63, 64, 65, 200, 1000])
@pytest.mark.parametrize("overlap", [0, 8, 48])
def test_spans_cover_a_side(side, overlap):
    found = list(spans(side, 64, overlap))
    assert found[0][0] == 0 and found[-1][1] == side
    assert all(end - start == 2 * overlap for (_, end), (start, _) in zip(found, found[1:], strict=False))
    assert max(end - start for start, end in found) <= max(64, 4 * overlap + 16)
    assert all(start % 16 == 0 for start, _ in found)


def test_stopping_between_tiles(tmp_path):
    write_compact(tmp_path / "models" / "ESRGAN", "tiny.safetensors")
    left = iter(range(4))

    def check() -> None:
        if next(left, None) is None:
            raise Cancelled

    with pytest.raises(Cancelled):
        upscalers_at(tmp_path).get("tiny", {"ESRGAN_tile": 48, "ESRGAN_tile_overlap": 4}).upscale(
            noise(200, 200), 2, check=check
        )


def test_names_are_a1111s(tmp_path):
    for folder, name in (
        ("ESRGAN", "ESRGAN.pth"),
        ("RealESRGAN", "RealESRGAN_x4plus.pth"),
        ("RealESRGAN", "realesr-animevideov3.pth"),
        ("DAT", "DAT_x2.safetensors"),
        ("ESRGAN", "4x-UltraSharp.pth"),
        ("HAT", "hat_x3.safetensors"),
    ):
        write_compact(tmp_path / "models" / folder, name)
    names = upscalers_at(tmp_path).names()
    assert names[:3] == ("None", "Lanczos", "Nearest")
    assert {"ESRGAN_4x", "R-ESRGAN 4x+", "R-ESRGAN AnimeVideo", "DAT x2", "4x-UltraSharp", "hat_x3"} <= set(names)
    assert upscalers_at(tmp_path).get("realesrgan_x4plus").name == "R-ESRGAN 4x+"
    with pytest.raises(UnknownName, match="Nearest: 4x-UltraSharp"):
        upscalers_at(tmp_path).get("4x-UltraSharpe")


def test_scales_of_names():
    names = ["4x-UltraSharp", "hat_x3", "DAT x2", "foo", "x2plus", "2x_anime", "RealESRGAN_x4plus", "pixel1024x"]
    found = [UpscalerFile(name=name, path=Path(name), folder="ESRGAN").scale for name in names]
    assert found == [4, 3, 2, 4, 2, 2, 4, 4]
    assert len({name.casefold() for name in NAMES}) == len(NAMES)


def test_tiles_follow_the_settings_of_their_folder():
    options = Settings().changed({"DAT_tile": 64, "SWIN_tile_overlap": 4}).flat()
    found = [
        tiles_of(UpscalerFile(name="a", path=Path("a"), folder=kind), options)
        for kind in ("DAT", "SwinIR", "ScuNET", "HAT")
    ]
    assert found == [(64, 8), (192, 4), (256, 8), (192, 8)]
    assert tiles_of(UpscalerFile(name="a", path=Path("a"), folder="ESRGAN"), None) == (192, 8)


def test_a_file_that_changes_is_read_again(tmp_path):
    path = write_compact(tmp_path / "models" / "ESRGAN", "tiny.safetensors")
    upscalers = upscalers_at(tmp_path)
    assert upscalers.get("tiny").upscale(noise(16, 16), 1.0).size == (16, 16)
    write_compact(path.parent, path.name, scale=3)
    asked = []
    upscalers.get("tiny").upscale(noise(16, 16), 3, check=lambda: asked.append(1))
    assert len(asked) == 2
    upscalers.unload()


def test_smaller_tiles_when_memory_is_short(tmp_path, monkeypatch):
    from modules.upscale.network import open_network
    from tests.upscale.tiny_upscalers import COMPUTE

    network = open_network(write_compact(tmp_path, "tiny.safetensors"), COMPUTE)
    run, sizes = network.run, []

    def short(pixels):
        sizes.append(max(pixels.shape[-2:]))
        if sizes[-1] > 80:
            raise torch.OutOfMemoryError("out of memory")
        return run(pixels)

    monkeypatch.setattr(network, "run", short)
    image = noise(150, 90)
    small = network.grow(image, tile=0, overlap=8, check=nothing)
    assert sizes[0] == 150 and max(sizes[1:]) <= 80
    monkeypatch.undo()
    whole = network.grow(image, tile=0, overlap=8, check=nothing)
    assert np.abs(np.asarray(whole, int) - np.asarray(small, int)).max() <= 1
    assert CPU.type == "cpu"
