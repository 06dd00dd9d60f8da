"""The starter's ControlNets and image prompt: control pictures, what is trained, and the layouts of the files."""

import random

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional

from modules.detect.starter_clip import make_vision, normalised
from modules.starter import adapter, vision
from modules.starter.base import load_base
from modules.starter.controls import agreement, canny, overlap, scribble
from modules.starter.draw import draw
from modules.starter.evaluate import CHECKPOINT
from modules.starter.fit import Budget
from modules.starter.lessons import prepare
from modules.starter.measure_control import recoloured, stands_there, unit
from modules.starter.program import Program
from modules.starter.reader import Reading, Seen
from modules.starter.scene import Scene, Thing
from modules.starter.scene import test_scene as unseen_scene
from modules.starter.train_control import (
    LESSONS,
    as_hint,
    canny_of,
    make_control,
    residuals,
    scribbles_of,
    train_control,
    write_control,
)

HEART = Thing(kind="heart", colour="red", size="big", x=64, y=64, width=64)
SCENE = Scene(things=(HEART,), relation=None, place="beach", style="flat", variant=1)


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    return tmp_path_factory.mktemp("control")


@pytest.fixture(scope="module")
def base():
    return load_base(CHECKPOINT)


@pytest.fixture(scope="module")
def lessons(base, work):
    return prepare(base, work / "lessons", name=LESSONS, count=4)


def test_edges_of_unrelated_scenes_agree_by_chance_alone():
    rng = random.Random(3)
    maps = [canny(np.asarray(draw(unseen_scene(rng, count=1 + i % 2)))) for i in range(24)]
    by_chance = [agreement(one, other) for one, other in zip(maps, maps[1:], strict=False)]
    assert 0.15 < np.mean(by_chance) < 0.3 and agreement(maps[0], maps[0]) == 1


def test_scribbles_are_of_the_things_alone_and_never_twice_the_same():
    one, again, other = (scribble(SCENE, random.Random(seed)) for seed in (1, 1, 2))
    assert (one == again).all() and (one != other).any()
    assert set(np.unique(one)) == {0, 255}
    assert 0.01 < (one > 0).mean() < 0.2
    rows, columns = np.nonzero(one)
    assert min(*rows, *columns) > 20 and max(*rows, *columns) < 108


def test_agreement_of_edges():
    edges = canny(np.asarray(draw(SCENE)))
    assert agreement(edges, edges) == 1
    assert agreement(edges, np.roll(edges, 2, axis=1)) > 0.95
    assert agreement(edges, np.roll(edges, 9, axis=1)) < 0.6
    assert agreement(edges, np.zeros_like(edges)) == 0
    bar = np.zeros((64, 64), np.uint8)
    cv2.line(bar, (10, 20), (50, 20), 255)
    half = bar.copy()
    half[:, 30:] = 0
    assert (
        overlap(edges, edges) == 1 > 0.5 > overlap(edges, np.roll(edges, 9, axis=1)) and overlap(edges, edges * 0) == 0
    )
    assert agreement(bar, half) == pytest.approx(0.5, abs=0.05)


def test_what_evaluation_asks_for():
    assert recoloured(SCENE, random.Random(0)).things[0].colour != "red"
    near, far = (Reading((Seen("heart", "red", x, 64, 0.9),), "beach", "flat") for x in (70, 90))
    assert stands_there(SCENE, near) and not stands_there(SCENE, far)


def test_a_new_controlnet_carries_pixels_and_changes_nothing(base, lessons):
    control = make_control(base.unet)
    hint = as_hint(canny_of(lessons)([0, 1]))
    taking = control.controlnet_cond_embedding
    carried = functional.silu(taking.conv_in(hint))
    for layer in taking.blocks:
        carried = functional.silu(layer(carried))
    pixels = functional.pixel_unshuffle(hint[:, :1], 8).transpose(0, 1).flatten(1)
    related = torch.corrcoef(torch.cat([carried.transpose(0, 1).flatten(1), pixels]))[:64, 64:]
    seen = pixels.std(dim=1) > 0
    assert (related[:, seen].amax(dim=0) > 0.99).all()
    x, t, states = torch.randn(2, 4, 16, 16), torch.tensor([10, 900]), torch.randn(2, 77, 128)
    with torch.no_grad():
        plain = base.unet(x, t, states).sample
        assert torch.equal(base.unet(x, t, states, **residuals(control, x, t, states, hint)).sample, plain)


def test_training_a_controlnet_goes_on_where_it_stopped(base, lessons, work):
    kept = {}
    for run, stops in (("whole", (None,)), ("parts", (1, None))):
        for stop in stops:
            options = {"base": base, "lessons": lessons, "controls": canny_of(lessons), "batch": 2, "until_step": stop}
            made = train_control(work / f"{run}.pt", Budget(steps=2), **options)
        kept[run] = torch.cat([p.detach().flatten() for p in made.parameters()])
    assert torch.equal(kept["whole"], kept["parts"])
    write_control(made, work / "made.safetensors", "canny")
    tensors = load_file(work / "made.safetensors")
    assert {value.dtype for value in tensors.values()} == {torch.float16}
    make_control(base.unet).load_state_dict(tensors)
    assert (work / "made.safetensors").stat().st_size < 9_000_000


def test_scribbles_are_drawn_once(work):
    controls = scribbles_of(work, 3)
    assert torch.equal(controls([2, 0]), scribbles_of(work, 3)([2, 0]))
    assert controls([1]).shape == (1, 128, 128)


def test_the_image_prompt_learns_and_is_written_as_diffusers_reads_it(lessons, work):
    """diffusers' own loader takes the adapter's file, transformers' module the encoder's, and both do what was trained."""
    eyes = vision.train_vision(work / "vision.pt", Budget(steps=2), batch=2)
    vision.write_vision(eyes, work / "vision.safetensors")
    again = make_vision()
    again.load_state_dict(load_file(work / "vision.safetensors"), strict=False)
    embeds = again(normalised(lessons.pixels[:2])).image_embeds.detach()
    assert torch.allclose(embeds, eyes(normalised(lessons.pixels[:2])).image_embeds, atol=0.05)
    taught = load_base(CHECKPOINT)
    made = adapter.train_adapter(
        work / "adapter.pt", Budget(steps=2), base=taught, vision=eyes, lessons=lessons, batch=2
    )
    adapter.write_adapter(made, work / "adapter.safetensors")
    tensors = load_file(work / "adapter.safetensors")
    parts = {"image_proj": {}, "ip_adapter": {}}
    for name, value in tensors.items():
        part, rest = name.split(".", 1)
        parts[part][rest] = value.float()
    own, plain = load_base(CHECKPOINT).unet, load_base(CHECKPOINT).unet
    worn = adapter.Adapter(own)
    worn.load_state_dict(made.state_dict())
    x, t, states = torch.randn(2, 4, 16, 16), torch.tensor([10, 900]), torch.randn(2, 77, 128)
    with torch.no_grad():
        before = plain(x, t, states).sample
        plain._load_ip_adapter_weights([parts])
        found = plain(x, t, states, added_cond_kwargs={"image_embeds": [embeds[:, None]]}).sample
        wanted = own(x, t, worn.context(states, embeds)).sample
    assert (wanted - before).abs().max() > 1e-5
    assert (found - wanted).abs().max() < 0.1 * (wanted - before).abs().max()


def test_a_written_controlnet_steers_the_program_and_at_weight_0_it_does_not(base, tmp_path):
    torch.manual_seed(0)
    control = make_control(base.unet)
    with torch.no_grad():
        for part in (control.controlnet_cond_embedding.conv_out, control.controlnet_down_blocks):
            for p in part.parameters():
                p.normal_(std=0.05)
    write_control(control, tmp_path / "models" / "ControlNet" / "written.safetensors", "canny")
    program = Program(tmp_path)
    edges = canny(np.asarray(draw(SCENE)))
    plain, *steered = (
        np.asarray(program.draw("a red heart", seed=1, steps=3, control=units))
        for units in ([], [unit("written", edges, 0.0)], [unit("written", edges)], [unit("written", edges * 0)])
    )
    assert (steered[0] == plain).all()
    assert (steered[1] != plain).any()
    assert (steered[1] != steered[2]).any()
