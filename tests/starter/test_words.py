"""Captions as token ids, and what the text encoder is asked for at each."""

import random

from modules.starter.captions import tell
from modules.starter.parts import PAD, START, TOKENS
from modules.starter.scene import KINDS, random_scene
from modules.starter.words import HEADS, IGNORE, lesson, tokenize


def test_ids_are_openai_clips():
    assert tokenize(["a photo of a cat"])[0, :7].tolist() == [START, 320, 1125, 539, 320, 2368, PAD]


def test_pieces_give_the_ids_of_the_whole_caption():
    rng = random.Random(2)
    for _ in range(100):
        scene = random_scene(rng)
        told = tell(scene, rng)
        assert lesson(scene, told).ids == tokenize([told.text])[0].tolist()


def test_targets_are_classes_of_their_heads():
    rng = random.Random(4)
    for _ in range(100):
        scene = random_scene(rng)
        made = lesson(scene, tell(scene, rng), rng)
        assert len(made.ids) == TOKENS
        for name, row in made.targets.items():
            assert len(row) == TOKENS
            assert all(value == IGNORE or 0 <= value < HEADS[name] for value in row)


def test_padding_tells_the_things_in_their_order():
    rng = random.Random(8)
    scene = random_scene(rng, count=2)
    told = tell(scene, rng, everything=True)
    kinds = lesson(scene, told).targets["kind"]
    expected = [KINDS.index(scene.things[i].kind) for i in told.order]
    assert [kinds[72], kinds[73], kinds[74], kinds[75]] == [*expected, len(KINDS), IGNORE]
