"""The bundled networks through the program: each does what it was taught, and without it that does not happen."""

import random
from dataclasses import replace

import numpy as np
import pytest

from modules.starter import embedding, hypernetwork, lora, style
from modules.starter.captions import tell
from modules.starter.controls import canny, scribble
from modules.starter.draw import draw
from modules.starter.evaluate import READER
from modules.starter.judge import judge
from modules.starter.measure_control import canny_agreement, recoloured, stands_there, steered
from modules.starter.program import Program
from modules.starter.reader import load_reader, read
from modules.starter.scene import test_scene as unseen_scene
from modules.starter.train_networks import MODELS, STYLE_READER

pytestmark = pytest.mark.starter
STEPS = 8


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    return Program(tmp_path_factory.mktemp("bundled"))


@pytest.fixture(scope="module")
def reader():
    return load_reader(READER)


def unseen(name, count):
    rng = random.Random(f"test {name}")
    return [unseen_scene(rng, count=1) for _ in range(count)]


def told(scene):
    return tell(scene, random.Random(0), everything=True).text


def test_sizes():
    for folder in ("Lora", "embeddings", "hypernetworks", "ControlNet"):
        for file in (MODELS / folder).glob("starter-*"):
            assert file.stat().st_size < 9_000_000, file
    assert STYLE_READER.stat().st_size < 10_000


def test_style_reader_knows_six_styles(reader):
    pixels, styles = style.painted(random.Random(5), 40)
    assert (style.load_style(STYLE_READER, reader)(pixels).argmax(1) == styles).float().mean() >= 0.9


def test_lora_draws_on_parchment(program, reader):
    prompts = [told(replace(scene, style=lora.STYLE)) for scene in unseen("lora", 4)]
    head = style.load_style(STYLE_READER, reader)
    read_as = {}
    for weight in (1, 0):
        pixels = program.pixels([f"{p} <lora:starter-parchment:{weight}>" for p in prompts], seed=1, steps=STEPS)
        read_as[weight] = (head(pixels).argmax(1) == style.READ.index(lora.STYLE)).sum().item()
    assert read_as[1] >= 3 and read_as[0] == 0


def test_the_word_draws_the_mascot(program, reader):
    scenes = [embedding.mascot_scene(random.Random(i)) for i in range(4)]
    seen = {}
    for word in (embedding.WORD, ""):
        prompts = [embedding.mascot_text(scene, random.Random(i), word) for i, scene in enumerate(scenes)]
        readings = read(reader, program.pixels(prompts, seed=1, steps=STEPS))
        seen[word] = sum(
            (embedding.KIND, embedding.COLOUR) in {(t.kind, t.colour) for t in one.things} for one in readings
        )
    assert seen[embedding.WORD] >= 3 and seen[""] <= 1


def test_the_hypernetwork_brings_the_snow(program, reader):
    scenes = unseen("winter", 4)
    prompts = [hypernetwork.placeless(scene, random.Random(i), everything=True) for i, scene in enumerate(scenes)]
    snow = {}
    for weight in (1, 0):
        pixels = program.pixels([f"{p} <hypernet:starter-winter:{weight}>" for p in prompts], seed=1, steps=STEPS)
        snow[weight] = sum(one.place == hypernetwork.PLACE for one in read(reader, pixels))
    assert snow[1] >= 3 and snow[0] <= 1


def test_canny_keeps_the_edges_and_the_words_the_colours(program, reader):
    scenes = unseen("canny", 4)
    controls = [canny(np.asarray(draw(scene))) for scene in scenes]
    wanted = [recoloured(scene, random.Random(i)) for i, scene in enumerate(scenes)]
    prompts = [told(scene) for scene in wanted]
    on, off = (steered(program, prompts, controls, "starter-canny", weight, steps=STEPS) for weight in (1, 0))
    assert canny_agreement(controls, on) >= 0.65 > canny_agreement(controls, off) + 0.15
    assert sum(judge(s, r).colour for s, r in zip(wanted, read(reader, on), strict=True)) >= 3
    plain = program.draw(prompts[0], seed=1, steps=STEPS)
    assert (np.asarray(plain) == as_pixels(off[0])).all()


def test_a_scribble_says_where_and_the_words_the_colours(program, reader):
    scenes = unseen("scribble", 4)
    controls = [scribble(scene, random.Random(i)) for i, scene in enumerate(scenes)]
    wanted = [recoloured(scene, random.Random(i)) for i, scene in enumerate(scenes)]
    prompts = [told(scene) for scene in wanted]
    on, off = (
        read(reader, steered(program, prompts, controls, "starter-scribble", weight, steps=STEPS)) for weight in (1, 0)
    )
    there = [sum(stands_there(s, r) for s, r in zip(wanted, readings, strict=True)) for readings in (on, off)]
    assert there[0] >= 3 and there[0] > there[1] + 1
    assert sum(judge(s, r).colour for s, r in zip(wanted, on, strict=True)) >= 3


def test_an_image_prompt_shows_what_words_do_not_say(program, reader):
    """Kind, colour and place of eight scenes: 10 of 24 were right with it, 2 without."""
    scenes = unseen("image prompt", 8)
    shown = [np.asarray(draw(scene)) for scene in scenes]
    right = []
    for weight in (1, 0):
        pixels = steered(program, [""] * len(scenes), shown, "starter-ip-adapter", weight, steps=12)
        verdicts = [judge(scene, seen) for scene, seen in zip(scenes, read(reader, pixels), strict=True)]
        right.append(sum(one.kind + one.colour + one.place for one in verdicts))
    assert right[0] >= 7 and right[0] > right[1] + 4


def as_pixels(one):
    return ((one + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()
