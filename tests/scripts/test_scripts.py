"""Scripts on a tiny model of random weights: what they draw, in which order, and how they go on and stop."""

import contextlib
import io
import re

import pytest
from PIL import Image

from modules.core.paths import Paths
from modules.core.settings import Settings
from modules.engine.build import build_engine
from modules.engine.scripts import Script
from modules.images.infotext import parse_infotext
from modules.jobs.executors.base import Cancel
from modules.requests.events import FIRST_GRID, Done, Failed, ImageReady, Order, Progress, Warned
from modules.requests.scripts import ScriptField
from modules.requests.txt2img import make_request
from modules.scripts.matrix import PromptMatrix
from modules.scripts.plot import PlotScript
from modules.scripts.prompts import PromptsFromFile
from tests.tiny import write_tiny

SMALL = {"prompt": "a red star", "width": 64, "height": 64, "steps": 1, "sampler_name": "Euler a"}
AXES = {
    "Nothing": 0,
    "Seed": 1,
    "Steps": 4,
    "CFG Scale": 6,
    "Prompt S/R": 7,
    "Checkpoint name": 11,
    "Face restore": 32,
    "FP8 mode": 40,
    "Size": 41,
}


class Dimmer(Script):
    """Uses every moment but `run`."""

    title = "Dimmer"

    def __init__(self) -> None:
        self.seen = []

    def fields(self, tab):
        return (ScriptField(name="scale", label="Scale", kind="number", default=0.5, minimum=0, maximum=1),)

    def plan(self, request, values):
        return request.model_copy(update={"prompt": f"{request.prompt}, dim"})

    @contextlib.contextmanager
    def patch(self, model, values):
        weight = next(model.backbone.parameters())
        weight.data.mul_(values["scale"])
        self.seen.append("patched")
        yield
        weight.data.div_(values["scale"])
        self.seen.append("restored")

    def on_step(self, step, latents, values):
        self.seen.append((step, tuple(latents.shape)))

    def postprocess(self, image, values):
        return image.resize((32, 32))


DIMMER = Dimmer()


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    data = tmp_path_factory.mktemp("scripts")
    write_tiny(data / "models" / "Stable-diffusion" / "tiny.safetensors")
    write_tiny(data / "models" / "Stable-diffusion" / "other.safetensors", seed=1)
    scripts = (PlotScript(), PromptMatrix(), PromptsFromFile(), DIMMER)
    return build_engine(paths=Paths(data=data), use_cpu=True, scripts=scripts)


def run(engine, name=None, *args, cancel=None, kept=(), options=None, seed=11, on_event=None, **values):
    chosen = {"sd_model_checkpoint": "tiny", "live_previews_enable": False, **(options or {})}
    request = make_request({**SMALL, **values, "script_name": name, "script_args": args})
    done = frozenset(event.index for event in kept)
    options = Settings().changed(chosen).flat()
    order = Order(job="test", request=request, seed=seed, options=options, done=done, kept=tuple(kept))
    found = []
    for event in engine.run(order, cancel or Cancel()):
        found.append(event)
        if on_event:
            on_event(event)
    return found


def pictures(events):
    return [e for e in events if isinstance(e, ImageReady) and not e.grid]


def grids(events):
    return [e for e in events if e.__class__ is ImageReady and e.grid]


def decode(event):
    return Image.open(io.BytesIO(event.data))


def plot(x="Nothing", xs="", y="Nothing", ys="", z="Nothing", zs="", **switches):
    names = (
        "draw_legend",
        "include_lone_images",
        "include_sub_grids",
        "no_fixed_seeds",
        "vx",
        "vy",
        "vz",
        "margin",
        "csv",
    )
    plain = {"draw_legend": True, "margin": 0, **switches}
    return [AXES[x], xs, [], AXES[y], ys, "", AXES[z], zs, None, *(plain.get(name, False) for name in names)]


def test_a_plot_draws_each_cell_as_it_would_be_drawn_alone(engine):
    events = run(engine, "x/y/z PLOT", *plot("Steps", "1,2", "Prompt S/R", "red, blue", include_lone_images=True))
    cells = pictures(events)
    assert [cell.index for cell in cells] == [0, 1, 2, 3]
    alone = pictures(run(engine, steps=2, prompt="a blue star"))[0]
    assert cells[3].data == alone.data
    (grid,) = grids(events)
    assert (grid.index, grid.grid) == (FIRST_GRID, "xyz_grid")
    sheet = decode(grid)
    across, down = sheet.size[0] - 128, sheet.size[1] - 128
    assert across == 48
    assert down > 0
    assert sheet.crop((across + 64, down + 64, across + 128, down + 128)).tobytes() == decode(alone).tobytes()
    fields = parse_infotext(grid.infotext).fields
    assert (fields["X Type"], fields["X Values"], fields["Y Values"]) == ("Steps", "1,2", "red, blue")
    done = events[-1]
    assert isinstance(done, Done)
    assert done.info["all_prompts"] == ["a red star"] * 2 + ["a blue star"] * 2
    assert done.info["hidden"] == []
    assert [(e.batch, e.batches) for e in events if isinstance(e, Progress)][-1] == (3, 4)


def test_a_plot_without_sub_images_hides_them_and_saves_them(engine):
    events = run(engine, "X/Y/Z plot", *plot("Steps", "1,2", draw_legend=False, margin=10))
    assert events[-1].info["hidden"] == [0, 1]
    assert decode(grids(events)[0]).size == (138, 64)


def test_checkpoints_are_loaded_once_each(engine):
    events = run(engine, "X/Y/Z plot", *plot("Steps", "1,2", "Checkpoint name", "tiny, other"))
    cells = pictures(events)
    assert sorted(cell.index for cell in cells) == [0, 1, 2, 3]
    assert [parse_infotext(cell.infotext).fields["Model"] for cell in cells] == ["tiny"] * 2 + ["other"] * 2
    loads = [e.name for e in events if type(e).__name__ == "Loading"]
    assert len(loads) <= 2


def test_sheets_of_a_third_axis(engine):
    given = plot("Steps", "1,2", z="CFG Scale", zs="1,7", include_sub_grids=True, draw_legend=False)
    found = grids(run(engine, "X/Y/Z plot", *given))
    assert [decode(one).size for one in found] == [(256, 64), (128, 64), (128, 64)]
    assert [one.index - FIRST_GRID for one in found] == [0, 1, 2]


def test_batches_share_a_cell(engine):
    events = run(engine, "X/Y/Z plot", *plot("Steps", "1,2", draw_legend=False), batch_size=2, n_iter=2)
    assert [cell.index for cell in pictures(events)] == list(range(8))
    assert decode(grids(events)[0]).size == (256, 128)


def test_a_plot_goes_on_where_another_try_ended(engine):
    given = plot("Steps", "1,2,3", include_lone_images=True)
    whole = run(engine, "X/Y/Z plot", *given)
    again = run(engine, "X/Y/Z plot", *given, kept=pictures(whole)[:2])
    assert [cell.index for cell in pictures(again)] == [2]
    assert grids(again)[0].data == grids(whole)[0].data
    assert again[-1].info["all_prompts"] == ["a red star"] * 3


def test_an_interrupted_plot_makes_a_grid_of_what_there_is(engine):
    cancel = Cancel()
    given = plot("Steps", "1,2,3", draw_legend=False)
    stop = lambda e: cancel.ask("interrupt") if isinstance(e, ImageReady) and e.index == 1 else None  # noqa: E731
    events = run(engine, "X/Y/Z plot", *given, cancel=cancel, on_event=stop)
    cells = [cell for cell in pictures(events) if not cell.incomplete]
    assert len(cells) in (2, 3)  # the third may be done when the wish arrives
    assert decode(grids(events)[0]).size == (192, 64)
    assert events[-1].stopped or len(cells) == 3


@pytest.mark.parametrize(
    ("name", "args", "words"),
    [
        ("X/Z plot", [], "script_name .* is not known"),
        ("X/Y/Z plot", [99], '"X type" of X/Y/Z plot is 99'),
        ("X/Y/Z plot", plot("Checkpoint name", "tiny, nowhere"), "nowhere"),
        ("Prompt matrix", [False, False, "middle"], '"Select prompt" of Prompt matrix is "middle"'),
        ("Prompts from file or textbox", [False, False, "start", " \n"], "0 lines ask for 0 pictures"),
        ("Prompts from file or textbox", [False, False, "start", "--steps 1\n--steps many"], "line 2: steps is .*many"),
        ("Prompts from file or textbox", [False, False, "start", "--outpath_samples /etc"], "line 1: --outpath_samples"),
        ("Prompts from file or textbox", [False, False, "start", "--tiling maybe"], "--tiling .*must be true or false"),
        ("Prompts from file or textbox", [False, False, "start", "--sampler_index 900"], "must be a number from 0"),
        ("Prompts from file or textbox", [False, False, "start", "--restore_faces true"], "restore_faces needs"),
        ("X/Y/Z plot", plot("Face restore", "GFPGAN, maybe"), "maybe.* restores no faces"),
        ("X/Y/Z plot", plot("FP8 mode", "Perhaps"), "fp8_storage is .*Perhaps"),
    ],
)  # fmt: skip
def test_wrong_arguments_fail_with_a_sentence(engine, name, args, words):
    events = run(engine, name, *args)
    assert isinstance(events[-1], Failed)
    assert events[-1].kind != "EngineError"
    assert re.search(words, events[-1].message), events[-1].message


def test_prompt_matrix(engine):
    events = run(engine, "Prompt matrix", False, True, prompt="a star|red|large,", batch_size=3, seed=5)
    prompts = ["a star", "a star, red", "a star, large", "a star, red, large"]
    assert events[-1].info["all_prompts"] == prompts
    assert [one.seed for one in pictures(events)] == [5, 6, 7, 8]
    (grid,) = grids(events)
    assert grid.grid == "prompt_matrix"
    assert decode(grid).size[0] == 128 + 48


def test_prompt_matrix_of_negative_prompts_at_the_start(engine):
    events = run(engine, "Prompt matrix", True, False, "negative", "space", 4, negative_prompt="x|y", n_iter=1)
    assert events[-1].info["all_negative_prompts"] == ["x", "y x"]
    assert {one.seed for one in pictures(events)} == {11}


@pytest.mark.parametrize(
    ("prompt", "words"), [("a" + "|b" * 13, "8192 pictures on a grid of 65536"), ("|" * 9000, "at most 13")]
)
def test_prompt_matrices_have_an_end(engine, prompt, words):
    events = run(engine, "Prompt matrix", prompt=prompt, width=512, height=512)
    assert isinstance(events[-1], Failed)
    assert words in events[-1].message


def test_prompts_from_a_list(engine):
    text = """
    a blue moon
    --prompt a green sun --steps 2 --negative_prompt "night, day" --seed 99 --do_not_save_samples true
    a cat -- or a dog
    --width 128 --sampler_name Euler --n_iter 2
    """
    events = run(engine, "Prompts from file or textbox", True, False, "end", text, prompt="art of", seed=4)
    found = pictures(events)
    assert [one.index for one in found] == [0, 1, 2, 3, 4]
    assert events[-1].info["all_prompts"] == [
        "art of a blue moon",
        "art of a green sun",
        "art of a cat -- or a dog",
        "art of",
        "art of",
    ]
    assert [one.seed for one in found] == [4, 99, 6, 7, 8]
    assert [one.keep for one in found] == [True, False, True, True, True]
    assert decode(found[3]).size == (128, 64)
    assert parse_infotext(found[1].infotext).negative_prompt == "night, day"
    told = [e.message for e in events if isinstance(e, Warned) and "Line 4" in e.message]
    assert len(told) == 1
    assert not grids(events)


def test_lines_have_random_seeds_unless_one_is_wanted(engine):
    def seeds(same):
        return [
            one.seed for one in pictures(run(engine, "Prompts from file or textbox", False, same, "start", "a\nb\nc"))
        ]

    assert len(set(seeds(False))) == 3
    assert seeds(False) == seeds(False)
    assert set(seeds(True)) == {11}


def test_every_moment(engine):
    plain = pictures(run(engine, steps=2, prompt="a red star, dim"))[0]
    DIMMER.seen.clear()
    dimmed = pictures(run(engine, "Dimmer", 0.25, steps=2))[0]
    assert DIMMER.seen == ["patched", (1, (1, 4, 8, 8)), (2, (1, 4, 8, 8)), "restored"]
    assert parse_infotext(dimmed.infotext).prompt == "a red star, dim"
    assert decode(dimmed).size == (32, 32)
    assert pictures(run(engine, steps=2, prompt="a red star, dim"))[0].data == plain.data, "the model is as it was"
