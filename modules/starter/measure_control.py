"""What the starter's ControlNets do to a picture: does it keep to the control, and still to the words?"""

import io
import random
from collections.abc import Callable, Iterable
from dataclasses import replace

import numpy as np
from PIL import Image
from torch import Tensor

from modules.requests.pictures import Picture

from .captions import tell
from .controls import agreement, canny, overlap, scribble
from .draw import draw
from .judge import judge, match
from .program import Program, as_array
from .reader import Reader, Reading, read
from .scene import COLOURS, Scene, held_out, test_scene
from .train_autoencoder import to_tensor

Rows = dict[str, float]
"""What was measured, and the share of pictures of which it is true, or a mean from 0 to 1."""
Keep = Callable[[str, Tensor, list[str]], None]
NEAR = 10
"""Pixels between a thing and its scribble at most."""


def recoloured(scene: Scene, rng: random.Random) -> Scene:
    """The scene with every thing in another colour, such that training has not seen it either."""

    def other(thing):
        fits = [
            c
            for c in COLOURS
            if c != thing.colour and held_out(kind=thing.kind, colour=c, place=scene.place, style=scene.style)
        ]
        return replace(thing, colour=rng.choice(fits or [c for c in COLOURS if c != thing.colour]))

    return replace(scene, things=tuple(map(other, scene.things)))


def unit(model: str, control: np.ndarray, weight: float = 1.0) -> dict:
    """A ControlNet unit with a control picture (H, W) that needs no preprocessor."""
    buffer = io.BytesIO()
    Image.fromarray(control).convert("RGB").save(buffer, "PNG")
    return {"model": model, "module": "none", "image": Picture.of(buffer.getvalue()), "weight": weight}


def steered(
    program: Program, prompts: list[str], controls: list[np.ndarray], model: str, weight: float, **values
) -> Tensor:
    """A picture a prompt and control, seeds from 1 up."""
    pictures = [
        program.draw(prompt, seed=1 + i, control=[unit(model, control, weight)], **values)
        for i, (prompt, control) in enumerate(zip(prompts, controls, strict=True))
    ]
    return to_tensor(pictures)


def canny_agreement(controls: Iterable[np.ndarray], pixels: Tensor, by: Callable[..., float] = agreement) -> float:
    """The mean agreement of the pictures' edges with the controls."""
    return _mean(by(control, canny(as_array(one))) for control, one in zip(controls, pixels, strict=True))


def measure_canny(program: Program, reader: Reader, number: int, keep: Keep) -> Rows:
    """The edges of a drawn scene and a prompt of the same scene in other colours."""
    rng = random.Random("evaluation canny")
    scenes = [test_scene(rng, count=1 + i % 2) for i in range(number)]
    controls = [canny(np.asarray(draw(scene))) for scene in scenes]
    wanted = [recoloured(scene, rng) for scene in scenes]
    prompts = [tell(scene, rng, everything=True).text for scene in wanted]
    rows: Rows = {}
    for weight in (1, 0):
        pixels = steered(program, prompts, controls, "starter-canny", weight)
        keep(f"canny-{weight}", pixels, prompts)
        rows[f"canny, weight {weight}: IoU of the edges at 2 pixels"] = canny_agreement(controls, pixels)
        rows[f"canny, weight {weight}: IoU of what lies within 2 pixels of edges"] = canny_agreement(
            controls, pixels, overlap
        )
        verdicts = [judge(scene, seen) for scene, seen in zip(wanted, read(reader, pixels), strict=True)]
        rows[f"canny, weight {weight}: colour"] = _mean(one.colour for one in verdicts)
        if not weight:
            others = controls[1:] + controls[:1]
            rows["canny, weight 0, controls of other scenes: IoU of the edges at 2 pixels"] = canny_agreement(
                others, pixels
            )
    rows |= without_words(program, controls, keep)
    few = min(number, 4)
    rows["canny, weight 0: the same to the last bit as without"] = float(
        (program.pixels(prompts[:few], seed=1) == pixels[:few]).all()
    )
    return rows


def without_words(program: Program, controls: list[np.ndarray], keep: Keep) -> Rows:
    """What the control alone does: the prompt, which tells much of a scene by itself, says nothing."""
    rows: Rows = {}
    prompts = [""] * len(controls)
    for weight in (1, 0):
        pixels = steered(program, prompts, controls, "starter-canny", weight)
        keep(f"canny-wordless-{weight}", pixels, prompts)
        agreed = canny_agreement(controls, pixels)
        rows[f"canny, weight {weight}, no words: IoU of the edges at 2 pixels"] = agreed
    return rows


def measure_scribble(program: Program, reader: Reader, number: int, keep: Keep) -> Rows:
    """A scribble of a scene and its prompt: do the things stand where they were scribbled?"""
    rng = random.Random("evaluation scribble")
    scenes = [test_scene(rng, count=1) for _ in range(number)]
    controls = [scribble(scene, random.Random(i)) for i, scene in enumerate(scenes)]
    prompts = [tell(scene, rng, everything=True).text for scene in scenes]
    rows: Rows = {}
    for weight in (1, 0):
        pixels = steered(program, prompts, controls, "starter-scribble", weight)
        keep(f"scribble-{weight}", pixels, prompts)
        readings = read(reader, pixels)
        rows[f"scribble, weight {weight}: where it was scribbled"] = _mean(map(stands_there, scenes, readings))
        rows[f"scribble, weight {weight}: colour"] = _mean(
            judge(s, one).colour for s, one in zip(scenes, readings, strict=True)
        )
    return rows


def measure_prompt(program: Program, reader: Reader, number: int, keep: Keep) -> Rows:
    """A drawn scene as an image prompt, and no words: is what it shows in the picture?"""
    rng = random.Random("evaluation image prompt")
    scenes = [test_scene(rng, count=1) for _ in range(number)]
    shown = [np.asarray(draw(scene)) for scene in scenes]
    prompts = [""] * number
    rows: Rows = {}
    for weight in (1, 0):
        pixels = steered(program, prompts, shown, "starter-ip-adapter", weight)
        keep(f"image-prompt-{weight}", pixels, prompts)
        verdicts = [judge(scene, seen) for scene, seen in zip(scenes, read(reader, pixels), strict=True)]
        for part in ("kind", "colour", "place", "style"):
            rows[f"image prompt, weight {weight}: {part}"] = _mean(getattr(one, part) for one in verdicts)
    return rows


def stands_there(scene: Scene, reading: Reading) -> bool:
    """Whether every thing of the scene was found within NEAR pixels of its place."""
    pairs = zip(scene.things, match(scene.things, reading.things), strict=True)
    return all(
        seen is not None and seen.kind == thing.kind and (seen.x - thing.x) ** 2 + (seen.y - thing.y) ** 2 <= NEAR**2
        for thing, seen in pairs
    )


def _mean(values) -> float:
    found = [float(value) for value in values]
    return sum(found) / len(found)
