"""Whole pipelines read from folders draw what diffusers' own draw with the same weights, noise and seed."""

import shutil
from pathlib import Path

import pytest
import torch

from modules.devices.choice import choose_compute
from modules.families.whole.kinds import is_whole, load_whole
from modules.families.whole.model import Ask
from tests.families.whole import tiny

PROMPT, NEGATIVE = "a red star", "blue"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("whole")


@pytest.fixture(scope="module")
def theirs(folder):
    return tiny.write(folder)


def noise(shape):
    return torch.randn((1, *shape), generator=torch.Generator().manual_seed(7))


def draw(path: Path, *, negative=NEGATIVE, steps=3, size=(64, 64), scale=5.0):
    """The picture, and how often the pipeline told of a step."""
    calls = []
    pipeline = load_whole(path, choose_compute(use_cpu=True))
    ask = Ask(
        prompt=PROMPT,
        negative=negative,
        steps=steps,
        scale=scale,
        width=size[0],
        height=size[1],
        noise=noise,
        generator=torch.Generator().manual_seed(3),
        on_step=lambda: calls.append(1),
    )
    with torch.inference_mode():
        picture = pipeline.draw(ask)
    assert len(calls) == pipeline.calls(steps, *size)
    assert picture.shape == (1, 3, size[1], size[0])
    assert picture.std() > 0.01
    return picture


def close(ours, picture):
    """Are ours and diffusers' (1, H, W, 3) the same to 1e-3?"""
    torch.testing.assert_close(ours, torch.as_tensor(picture).permute(0, 3, 1, 2), atol=1e-3, rtol=0)


def test_stable_unclip(folder, theirs):
    found = theirs["unclip"](
        PROMPT,
        negative_prompt=NEGATIVE,
        width=64,
        height=64,
        num_inference_steps=3,
        guidance_scale=5.0,
        latents=noise((4, 8, 8)),
        generator=torch.Generator().manual_seed(3),
        output_type="np",
    ).images
    close(draw(folder / "unclip"), found)


@pytest.mark.parametrize("negative", [NEGATIVE, ""])
def test_kandinsky(folder, theirs, negative):
    generator = torch.Generator().manual_seed(3)
    told = theirs["kandinsky-prior"](PROMPT, negative_prompt=negative or None, generator=generator, guidance_scale=4.0)
    found = theirs["kandinsky-decoder"](
        **told,
        width=64,
        height=128,
        num_inference_steps=3,
        guidance_scale=5.0,
        latents=noise((4, 16, 8)),
        generator=generator,
        output_type="np",
    ).images
    close(draw(folder / "kandinsky-decoder", negative=negative, size=(64, 128)), found)


def test_deepfloyd_if(folder, theirs):
    generator = torch.Generator().manual_seed(3)
    told = {"prompt": PROMPT.upper(), "negative_prompt": NEGATIVE, "generator": generator, "clean_caption": False}
    small = theirs["if"](
        **told, width=16, height=16, num_inference_steps=3, guidance_scale=5.0, output_type="pt", return_dict=False
    )[0]
    found = theirs["if-larger"](
        **told, image=small, width=64, height=64, num_inference_steps=50, guidance_scale=4.0, output_type="np"
    ).images
    close(draw(folder / "if", size=(64, 64)), found)


def test_deepfloyd_if_without_its_second_stage(folder, theirs, tmp_path):
    shutil.copytree(folder / "if", tmp_path / "if")
    generator = torch.Generator().manual_seed(3)
    found = theirs["if"](
        PROMPT,
        negative_prompt=NEGATIVE,
        width=32,
        height=64,
        num_inference_steps=3,
        guidance_scale=5.0,
        generator=generator,
        clean_caption=False,
        output_type="np",
    ).images
    close(draw(tmp_path / "if", size=(32, 64)), found)
    close(draw(folder / "if", size=(32, 64)), found)  # too small for it


def test_stable_cascade(folder, theirs):
    generator = torch.Generator().manual_seed(3)
    told = theirs["cascade-prior"](
        PROMPT,
        negative_prompt=NEGATIVE,
        width=256,
        height=128,
        num_inference_steps=3,
        guidance_scale=5.0,
        latents=noise((16, 3, 6)),
        generator=generator,
    )
    found = theirs["cascade"](
        told.image_embeddings, PROMPT, negative_prompt=NEGATIVE, generator=generator, output_type="np"
    ).images
    close(draw(folder / "cascade", size=(256, 128)), found)


@pytest.mark.parametrize("name", tiny.PIPELINES)
def test_they_are_told_from_other_folders(folder, theirs, name):
    assert is_whole(folder / name)
    assert not is_whole(folder / name / "unet")
    assert not is_whole(folder)
