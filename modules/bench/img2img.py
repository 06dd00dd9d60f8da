"""What img2img, inpainting, outpainting and tiles come to: on the starter by what is to be seen, on every checkpoint by their time.

Scenes of the starter's world are drawn by its code, one thing each, in combinations that its training left out; its reader, which knows nothing
of the model, says what is in the results. Times: the whole job against the network's guided calls and the autoencoder in it.
"""

import math
import random
import statistics
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from PIL import Image

from modules.bench.drawing import Drawing
from modules.bench.overhead import compute_for
from modules.bench.subject import Subject
from modules.bench.table import NAME, Column, Row, Table, timed
from modules.families.model import LoadedModel
from modules.images.outpainting import begun, enlarged
from modules.requests.generation import GenerationRequest
from modules.requests.img2img import make_img2img_request
from modules.requests.txt2img import make_request
from modules.scripts.pictures import as_picture
from modules.starter.captions import tell
from modules.starter.draw import draw
from modules.starter.evaluate import READER
from modules.starter.reader import Reading, load_reader, read
from modules.starter.scene import KINDS, Scene, Thing, test_scene
from modules.starter.train_autoencoder import to_tensor

STARTER = "starter"
SIDE, GROWN = 128, 64  # pixels of a scene, and by how much it is outpainted
MARGIN = 10  # pixels around a thing that is masked
FAINT = 0.01  # how sure the reader must be to say where something is
NEAR = 16  # pixels by which a thing may move and still keep its place
FIGURES = (
    NAME,
    Column(name="figure", label="measured"),
    Column(name="wanted", label="wanted"),
)
TIMES = (
    NAME,
    Column(name="whole", label="whole job", form="{:.3f} s"),
    Column(name="calls", label="network", form="{:.3f} s"),
    Column(name="coding", label="autoencoder", form="{:.3f} s"),
    Column(name="beyond", label="beyond them", form="{:.1%}"),
    Column(name="wanted", label="wanted", form="{:.0%}"),
)


def tables(subject: Subject) -> Iterator[Table]:
    """What is to be seen, if the checkpoint is the starter, and the times."""
    if subject.checkpoint.path.stem == STARTER:
        title = f"What img2img draws: {subject.pictures} pictures a row, {subject.title}"
        yield Table(name="img2img", title=title, columns=FIGURES, rows=seen(subject))
    yield Table(
        name="img2img times", title=f"Modes beyond the network: {subject.title}", columns=TIMES, rows=taken(subject)
    )


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A scene, the same with a thing of another kind, a picture and a caption of each."""

    scene: Scene
    other: Scene
    picture: Image.Image
    caption: str
    wish: str

    @property
    def thing(self) -> Thing:
        """What is in it."""
        return self.scene.things[0]

    @property
    def box(self) -> tuple[int, int, int, int]:
        """Where that is, with a margin."""
        half = self.thing.width // 2 + MARGIN
        x, y = self.thing.x, self.thing.y
        return max(x - half, 0), max(y - half, 0), min(x + half, SIDE), min(y + half, SIDE)


def trials(count: int) -> Iterator[Trial]:
    """So many, the same each time."""
    rng = random.Random("img2img")
    for _ in range(count):
        scene = test_scene(rng, count=1)
        kind = rng.choice([kind for kind in KINDS if kind != scene.things[0].kind])
        other = replace(scene, things=(replace(scene.things[0], kind=kind),))
        caption, wish = (tell(one, rng, everything=True).text for one in (scene, other))
        yield Trial(scene=scene, other=other, picture=draw(scene), caption=caption, wish=wish)


class Judge:
    """Draws trials and reads the results."""

    def __init__(self, subject: Subject) -> None:
        self._drawing = Drawing(subject, compute_for(subject.flags, subject.paths))
        self._reader = load_reader(READER)
        self._base = {**subject.base, "width": SIDE, "height": SIDE}
        self.trials = [*trials(subject.pictures)]

    def drawn(self, number: int, **values: Any) -> torch.Tensor:
        """(3, H, W) in [0, 1]."""
        return self._drawing.run(make_img2img_request({**self._base, **values}), number).pixels

    def read(self, pixels: torch.Tensor, *, threshold: float = 0.3) -> Reading:
        """What is in a picture (3, H, W) in [0, 1]."""
        return read(self._reader, pixels[None] * 2 - 1, threshold=threshold)[0]


def seen(subject: Subject) -> Iterator[Row]:
    """The rows of what is to be seen."""
    judge = Judge(subject)
    yield from _inpainted(judge)
    yield from _outpainted(judge)
    yield from _drawn_on(judge)


def _inpainted(judge: Judge) -> Iterator[Row]:
    """A masked thing becomes one of another kind."""
    kinds, beyond = [], []
    for number, trial in enumerate(judge.trials):
        mask = Image.new("L", (SIDE, SIDE))
        mask.paste(255, trial.box)
        pixels = judge.drawn(
            number,
            prompt=trial.wish,
            init_images=(as_picture(trial.picture),),
            mask=as_picture(mask),
            denoising_strength=1.0,
            inpaint_full_res=0,
            mask_blur_x=2,
            mask_blur_y=2,
        )
        left, top, right, bottom = trial.box
        inside = [one.kind for one in judge.read(pixels).things if left <= one.x <= right and top <= one.y <= bottom]
        kinds.append(trial.other.things[0].kind in inside)
        old = to_tensor([trial.picture])[0] / 2 + 0.5
        outside = torch.ones(SIDE, SIDE, dtype=torch.bool)
        outside[max(top - 6, 0) : bottom + 6, max(left - 6, 0) : right + 6] = False
        error = (pixels - old)[:, outside].square().mean().item()
        beyond.append(error)
    yield {"name": "inpainting: the new kind inside", "figure": f"{_share(kinds):.1%}", "wanted": ">= 90 %"}
    yield {"name": "inpainting: outside the mask", "figure": _decibels(beyond), "wanted": ">= 40 dB"}


def _outpainted(judge: Judge) -> Iterator[Row]:
    """The picture grows at its right."""
    kept, ratios = [], []
    for number, trial in enumerate(judge.trials):
        first, mask = begun(enlarged(trial.picture, left=0, right=GROWN, up=0, down=0), number)
        pixels = judge.drawn(
            number,
            prompt=trial.caption,
            init_images=(as_picture(first),),
            mask=as_picture(mask),
            width=SIDE + GROWN,
            denoising_strength=0.9,
            inpainting_fill=1,
            inpaint_full_res=0,
            mask_blur_x=0,
            mask_blur_y=0,
            match_seams=True,
        )
        old = to_tensor([trial.picture])[0] / 2 + 0.5
        kept.append((pixels[:, :, :SIDE] - old).abs().max().item() * 255)
        steps = pixels.diff(dim=2).abs().mean(dim=(0, 1))  # of column x to x + 1
        inside = torch.cat([steps[SIDE - 17 : SIDE - 1], steps[SIDE : SIDE + 16]]).mean()
        ratios.append((steps[SIDE - 1] / inside.clamp(min=1 / 255)).item())
    yield {"name": "outpainting: change of the old part", "figure": f"{max(kept):.0f} of 255", "wanted": "0"}
    yield {
        "name": "outpainting: step across the border / beside it",
        "figure": f"{statistics.mean(ratios):.2f} (median {statistics.median(ratios):.2f})",
        "wanted": "<= 1.5",
    }


def _drawn_on(judge: Judge) -> Iterator[Row]:
    """The whole picture is drawn on from, with a prompt for another kind at the same place."""
    for strength, wanted in ((0.3, ">= 90 %"), (0.9, ">= 90 %")):
        places, stays, spots, kinds = [], [], [], []
        for number, trial in enumerate(judge.trials):
            pixels = judge.drawn(
                number, prompt=trial.wish, init_images=(as_picture(trial.picture),), denoising_strength=strength
            )
            reading = judge.read(pixels)
            places.append(reading.place == trial.scene.place)
            near = [one for one in reading.things if _near(one.x, one.y, trial.thing)]
            stays.append(bool(near))
            faint = judge.read(pixels, threshold=FAINT).things[:1]  # of whatever kind, half one and half another too
            spots.append(any(_near(one.x, one.y, trial.thing) for one in faint))
            kinds.append(any(one.kind == trial.other.things[0].kind for one in reading.things))
        if strength < 0.5:
            yield {"name": f"img2img at {strength}: same place", "figure": f"{_share(places):.1%}", "wanted": wanted}
            yield {"name": f"img2img at {strength}: same layout", "figure": f"{_share(spots):.1%}", "wanted": wanted}
            name = f"img2img at {strength}: a thing of a kind still there"
            yield {"name": name, "figure": f"{_share(stays):.1%}", "wanted": ""}
        else:
            yield {
                "name": f"img2img at {strength}: the prompt's kind",
                "figure": f"{_share(kinds):.1%}",
                "wanted": wanted,
            }


def _near(x: float, y: float, thing: Thing) -> bool:
    return abs(x - thing.x) <= NEAR and abs(y - thing.y) <= NEAR


def _share(found: list[bool]) -> float:
    return sum(found) / len(found)


def _decibels(errors: list[float]) -> str:
    worst = max(errors)
    return f"at least {-10 * math.log10(worst):.1f} dB" if worst > 0 else "the same to the last bit"


def taken(subject: Subject) -> Iterator[Row]:
    """The rows of times."""
    drawing = Drawing(subject, compute_for(subject.flags, subject.paths))
    coding = Coding(drawing.load())
    for name, request in modes(subject).items():
        rows = []
        for number in range(-1, max(subject.rounds, 1)):
            coding.seconds = 0.0
            drawn = drawing.run(request, max(number, 0))
            if number >= 0:
                rows.append((drawn.whole, drawn.calls, coding.seconds))
        whole, calls, seconds = (statistics.median(column) for column in zip(*rows, strict=True))
        beyond = statistics.median(w / (c + s) - 1 for w, c, s in rows)
        yield {"name": name, "whole": whole, "calls": calls, "coding": seconds, "beyond": beyond, "wanted": 0.1}


class Coding:
    """Adds up what a model's autoencoder takes."""

    def __init__(self, model: LoadedModel) -> None:
        self.seconds = 0.0
        autoencoder: Any = model.autoencoder
        for name in ("encode", "decode"):
            setattr(autoencoder, name, self._timed(getattr(autoencoder, name)))

    def _timed(self, work: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
        def run(*given: Any) -> torch.Tensor:
            found: list[torch.Tensor] = []
            self.seconds += timed(lambda: found.append(work(*given).cpu()))
            return found[0]

        return run


def modes(subject: Subject) -> Mapping[str, GenerationRequest]:
    """One request of each mode."""
    base = subject.values(0)
    width, height = base["width"], base["height"]
    y, x = torch.meshgrid(torch.arange(height) * 255 // height, torch.arange(width) * 255 // width, indexing="ij")
    picture = Image.fromarray(torch.stack([x, y, (x + y) // 2], dim=-1).byte().numpy())
    mask = Image.new("L", picture.size)
    mask.paste(255, (width // 4, height // 4, width * 3 // 4, height * 3 // 4))
    given = {**base, "init_images": (as_picture(picture),), "denoising_strength": 0.75}
    masked = {**given, "mask": as_picture(mask), "inpaint_full_res": 0}
    upscale = {**given, "script_name": "SD upscale", "script_args": (None, width // 8, "Lanczos", 2)}
    tile = max(width // 64 * 64, 64)
    args = (None, tile, tile, 8, 16, 64, 0.35, 16, "Lanczos", True, "Linear", False, 4, "None", 2, 2048, 2048, 2)
    hires = {"enable_hr": True, "hr_scale": 1.5, "hr_upscaler": "Latent", "denoising_strength": 0.7}
    return {
        "txt2img": make_request(base),
        "hires fix": make_request({**base, **hires}),
        "img2img": make_img2img_request(given),
        "inpainting": make_img2img_request(masked),
        "inpainting, only masked": make_img2img_request({**masked, "inpaint_full_res": 1}),
        "soft inpainting": make_img2img_request({**masked, "soft_inpainting": {}}),
        "SD upscale": make_img2img_request(upscale),
        "Ultimate SD upscale": make_img2img_request(
            {**given, "script_name": "Ultimate SD upscale", "script_args": args}
        ),
    }
