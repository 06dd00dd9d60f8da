"""The world: scenes, pictures and captions."""

import random

import numpy as np
import pytest

from modules.starter.captions import COLOUR_WORDS, KIND_WORDS, PLACE_TAGS, PLACE_WORDS, tell
from modules.starter.draw import PALETTE, draw
from modules.starter.scene import (
    COLOURS,
    GRID,
    KINDS,
    PLACES,
    STYLES,
    Scene,
    Thing,
    is_held_out,
    random_scene,
    training_scene,
)
from modules.starter.scene import (
    test_scene as unseen_scene,
)


def scenes(count: int, seed: int = 0) -> list[Scene]:
    rng = random.Random(seed)
    return [random_scene(rng) for _ in range(count)]


def test_same_seed_same_pictures():
    assert [draw(scene).tobytes() for scene in scenes(10)] == [draw(scene).tobytes() for scene in scenes(10)]
    assert scenes(10) != scenes(10, seed=1)


def test_the_world_is_as_large_as_promised():
    assert len(KINDS) >= 24
    assert len(COLOURS) == 10
    assert len(PLACES) >= 8
    assert len(STYLES) >= 5


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("place", PLACES)
def test_every_place_is_drawn_in_every_style(place, style):
    thing = Thing(kind="heart", colour="red", size="big", x=64, y=64, width=64)
    image = draw(Scene(things=(thing,), relation=None, place=place, style=style, variant=1))
    assert image.size == (128, 128)
    red, green, blue = np.asarray(image)[64, 64].astype(int)
    assert red > 120
    assert red > green + 60
    assert red > blue + 60


def test_things_stand_on_the_grid_inside_the_picture_and_apart():
    for scene in scenes(500):
        for thing in scene.things:
            assert thing.x % GRID == 0
            assert thing.y % GRID == 0
            assert thing.width // 2 <= min(thing.x, thing.y, 128 - thing.x, 128 - thing.y)
        if scene.relation:
            first, second = scene.things
            dx, dy = first.x - second.x, first.y - second.y
            right = {"left": dx < -30, "right": dx > 30, "above": dy < -30, "below": dy > 30}
            assert right[scene.relation]


def test_training_and_evaluation_share_no_combination():
    rng = random.Random(3)

    def combinations(made):
        return {(t.kind, t.colour, scene.place, scene.style) for scene in made for t in scene.things}

    trained = combinations([training_scene(rng) for _ in range(2000)])
    tested = combinations([unseen_scene(rng, count=1 + i % 2) for i in range(200)])
    assert not trained & tested
    assert not any(is_held_out(training_scene(rng)) for _ in range(200))


def test_captions_name_what_is_in_the_scene():
    rng = random.Random(5)
    for scene in scenes(300):
        told = tell(scene, rng, everything=True)
        for thing in scene.things:
            assert any(word in told.text for word in KIND_WORDS.get(thing.kind, (thing.kind,)))
            assert any(word in told.text for word in COLOUR_WORDS.get(thing.colour, (thing.colour,)))
        assert any(word in told.text for word in (*PLACE_WORDS[scene.place], *PLACE_TAGS[scene.place]))


def test_captions_vary():
    rng = random.Random(6)
    scene = scenes(1)[0]
    assert len({tell(scene, rng).text for _ in range(50)}) > 25


def test_what_a_caption_leaves_out_it_does_not_say():
    rng = random.Random(7)
    scene = Scene(
        things=(Thing(kind="cat", colour="red", size="medium", x=64, y=64, width=64),),
        relation=None,
        place="desert",
        style="neon",
        variant=0,
    )
    for _ in range(300):
        told = tell(scene, rng)
        assert ("desert" in told.text or "dunes" in told.text) == told.placed
        assert ("red" in told.text.split() or "scarlet" in told.text) == told.coloured[0]


def test_palette_has_every_colour():
    assert set(PALETTE) == set(COLOURS)
