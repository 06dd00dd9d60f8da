"""The training loop, the stages on tiny settings, and the reader."""

import random
from pathlib import Path

import torch
from torch import nn

from modules.starter.draw import draw
from modules.starter.fit import Budget, Recipe, fit
from modules.starter.hints import HEADS, hint_loss, labels
from modules.starter.judge import judge
from modules.starter.reader import Reader, Reading, Seen, read
from modules.starter.scene import COLOURS, KINDS, Scene, Thing, random_scene
from modules.starter.train_autoencoder import to_tensor
from modules.starter.train_reader import reading_loss, wanted_maps
from modules.starter.train_text import Schooled
from modules.starter.train_unet import train_unet


def losses_of(path: Path, stops: tuple[int | None, ...]) -> list[float]:
    """The losses of a tiny regression that is stopped at each of `stops` and started anew."""
    seen: list[float] = []
    for stop in stops:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(16, 32), nn.SiLU(), nn.Linear(32, 16))

        def loss_at(step: int, model=model):
            x = torch.randn(8, 16, generator=torch.Generator().manual_seed(step))
            loss = (model(x) - x.flip(1)).square().mean()
            seen.append(loss.item())
            return loss, {}

        fit(model, loss_at, path=path, budget=Budget(steps=12), recipe=Recipe(rate=1e-2, warmup=3), until_step=stop)
    return seen


def test_resumed_training_gives_the_same_losses(tmp_path):
    whole = losses_of(tmp_path / "whole.pt", (None,))
    parts = losses_of(tmp_path / "parts.pt", (5, None))
    assert len(whole) == 12
    assert whole == parts


def test_the_unet_resumes(tmp_path):
    torch.manual_seed(0)
    text, latents = Schooled().encoder, torch.randn(16, 4, 16, 16).half()

    def weights(path: Path, stops: tuple[int | None, ...]):
        for stop in stops:
            average = train_unet(
                path, Budget(steps=4), text=text, latents=latents, batch=4, channels=(32, 32, 32), until_step=stop
            )
        return torch.cat([p.flatten() for p in average.parameters()])

    assert torch.equal(weights(tmp_path / "a.pt", (None,)), weights(tmp_path / "b.pt", (2, None)))


def test_reader_shapes_and_gradient():
    scenes = [random_scene(random.Random(i)) for i in range(2)]
    maps = Reader(width=16)(to_tensor([draw(scene) for scene in scenes]))
    assert maps.kind.shape == (2, 26, 16, 16)
    assert maps.colour.shape == (2, 10, 16, 16)
    heat, colour = wanted_maps(scenes, [(0, 0), (3, -2)])
    assert heat.amax((2, 3)).sum() == sum(len(scene.things) for scene in scenes)
    loss = reading_loss(maps, heat, colour, torch.tensor([0, 1]), torch.tensor([0, 1]))
    loss.backward()
    assert torch.isfinite(loss)


def test_reader_reads_as_many_pictures_as_it_is_given():
    assert len(read(Reader(width=16).eval(), torch.zeros(3, 3, 128, 128))) == 3


def test_judge_wants_kind_colour_and_relation():
    things = (
        Thing(kind="cat", colour="red", size="medium", x=32, y=64, width=48),
        Thing(kind="star", colour="blue", size="medium", x=96, y=64, width=48),
    )
    scene = Scene(things=things, relation="left", place="beach", style="flat", variant=0)

    def seen(kind, colour, x):
        return Seen(kind, colour, x, 64, 0.9)

    right = judge(scene, Reading((seen("star", "blue", 96), seen("cat", "red", 32)), "beach", "flat"))
    assert (right.kind, right.colour, right.both, right.related, right.nothing_else) == (1, 1, 1, 1, 1)
    turned = judge(scene, Reading((seen("star", "blue", 32), seen("cat", "red", 96)), "beach", "flat"))
    assert (turned.both, turned.related) == (1, 0)
    swapped = judge(scene, Reading((seen("star", "red", 96), seen("cat", "blue", 32)), "city", "flat"))
    assert (swapped.kind, swapped.colour, swapped.both, swapped.place) == (1, 0, 0, 0)
    missing = judge(scene, Reading((seen("cat", "red", 32),), "beach", "flat"))
    assert (missing.kind, missing.related, missing.nothing_else) == (0.5, 0, 0)


def test_hints_name_what_a_cell_shows():
    scene = next(one for i in range(99) if len((one := random_scene(random.Random(i))).things) == 2)
    kind, colour = labels([scene])
    for thing in scene.things:
        assert kind[0, thing.y // 8, thing.x // 8] == KINDS.index(thing.kind)
        assert colour[0, thing.y // 8, thing.x // 8] == COLOURS.index(thing.colour)
    assert kind[0, 0, 0] == len(KINDS)
    logits = torch.zeros(1, HEADS, 16, 16)
    logits.scatter_(1, kind[:, None], 20.0)
    logits.scatter_(1, (len(KINDS) + 1 + colour.clamp(min=0))[:, None], 20.0)
    assert hint_loss(logits, [scene], torch.tensor([True])) < 1e-3 < hint_loss(-logits, [scene], torch.tensor([True]))
