"""X/Y/Z plots before anything is drawn: values, cells, and what is refused."""

from typing import Any

import pytest

from modules.core.errors import InputError
from modules.requests.axes import AXES, axes_of
from modules.requests.catalogue import SHIPPED, Catalogue
from modules.requests.plot import TITLE, final_size, read_plot
from modules.requests.plot_values import read_values, split_list
from modules.requests.txt2img import make_request

ENTRY = Catalogue.model_validate_json(SHIPPED.read_bytes()).script(TITLE)


def axis(name):
    return next(axis for axis in AXES if axis.name == name)


def plot(request=None, seed=7, **given):
    values = {**ENTRY.values("txt2img", []), "x_type": "Nothing", **given}
    return read_plot(values, make_request(request or {}), "txt2img", seed)


@pytest.mark.parametrize(
    ("name", "text", "found"),
    [
        ("Steps", "1, 2,5", (1, 2, 5)),
        ("Steps", "1-5", (1, 2, 3, 4, 5)),
        ("Steps", "1-5 (+2), 30", (1, 3, 5, 30)),
        ("Steps", "1-10 [5]", (1, 3, 5, 7, 10)),
        ("Steps", "10-5 (-3)", (10, 7)),
        ("CFG Scale", "1-2 (+0.5)", (1.0, 1.5, 2.0)),
        ("CFG Scale", "0-1 [3]", (0.0, 0.5, 1.0)),
        ("Denoising", "0.25", (0.25,)),
        ("Seed", "-1, 4", (-1, 4)),
        ("Always discard next-to-last sigma", "true, False", (True, False)),
        ("Prompt S/R", 'a cat, "a dog, asleep"', ("a cat", "a dog, asleep")),
        ("Prompt order", "a, b", (("a", "b"), ("b", "a"))),
        ("Nothing", "what is written here", (0,)),
    ],
)
def test_values(name, text, found):
    assert read_values(axis(name), text) == found


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("Steps", "", "has no values"),
        ("Steps", " , ", "has no values"),
        ("Steps", "three", '"three" is no value'),
        ("Steps", "1.5", '"1.5" is no value'),
        ("CFG Scale", "nan", '"nan" is no value'),
        ("CFG Scale", "1-2 (+0)", "steps of 0"),
        ("Steps", "1-1000000000", "over 1000 values"),
        ("Steps", "1-2 [999999999]", "over 1000 values"),
        ("Prompt order", "a,b,c,d,e,f,g,h,i,j,k,l", "over 1000 values"),
        ("SGM noise multiplier", "maybe", "True or False"),
        ("Prompt S/R", '"' + "x" * 200_000, "too long"),
    ],
)
def test_wrong_values_are_named(name, text, words):
    with pytest.raises(InputError, match=words):
        read_values(axis(name), text)


def test_lists_are_comma_separated_values():
    assert split_list('a,  "b, ""c""" ,\nd') == ["a", 'b, "c"', "d"]


def test_names_and_numbers_of_axes_are_those_of_a1111():
    names = [axis.name for axis in axes_of("txt2img")]
    assert names[:5] == ["Nothing", "Seed", "Var. seed", "Var. strength", "Steps"]
    found = [names.index(name) for name in ("Prompt S/R", "Sampler", "Checkpoint name", "VAE", "Size")]
    assert found == [7, 9, 11, 29, 41]
    assert "Image CFG Scale" not in names
    assert "Hires steps" not in [axis.name for axis in axes_of("img2img")]


def test_cells_change_what_their_axes_say():
    found = plot(
        {"prompt": "a red cat", "seed": 5}, x_type="Steps", x_values="3, 4", y_type="Prompt S/R", y_values="red, blue"
    )
    assert found.shape == (2, 2, 1)
    assert [(r.steps, r.prompt, r.seed) for r in map(found.of, found.cells())] == [
        (3, "a red cat", 5),
        (4, "a red cat", 5),
        (3, "a blue cat", 5),
        (4, "a blue cat", 5),
    ]
    assert [line.labels for line in found.lines] == [["Steps: 3", "Steps: 4"], ["red", "blue"], [""]]
    assert found.fields() == {
        "Script": "X/Y/Z plot",
        "X Type": "Steps",
        "X Values": "3, 4",
        "Y Type": "Prompt S/R",
        "Y Values": "red, blue",
    }


def test_checkpoints_change_least_often():
    found = plot(
        x_type="Checkpoint name", x_values="a, b", y_type="Steps", y_values="1, 2", z_type="VAE", z_values="None, c"
    )
    names = [found.of(cell).override_settings for cell in found.cells()]
    assert [name["sd_model_checkpoint"] for name in names] == ["a"] * 4 + ["b"] * 4
    assert [name["sd_vae"] for name in names] == ["None", "None", "c", "c"] * 2
    assert sorted(map(found.number, found.cells())) == list(range(8))


def test_menus_count_instead_of_text_unless_text_is_wanted():
    given = {"x_type": "Sampler", "x_values": "Heun", "x_values_dropdown": ("Euler", "DDIM")}
    assert plot(**given).lines[0].values == ("Euler", "DDIM")
    assert plot(**given, csv_mode=True).lines[0].values == ("Heun",)


def test_sizes_and_orders():
    found = plot(
        {"prompt": "a cat and a dog"},
        x_type="Size",
        x_values="64x128, 128x64",
        y_type="Prompt order",
        y_values="dog, cat",
    )
    assert [(r.width, r.height) for r in map(found.of, found.cells())] == [(64, 128), (128, 64)] * 2
    assert {found.of(cell).prompt for cell in found.cells()} == {"a cat and a dog", "a dog and a cat"}


def test_seeds_are_one_unless_they_are_to_be_random():
    axes: dict[str, Any] = {"x_type": "Steps", "x_values": "1, 2, 3", "y_type": "CFG Scale", "y_values": "1, 2"}
    assert {plot(**axes).of(cell).seed for cell in plot(**axes).cells()} == {7}
    kept = plot(**axes, no_fixed_seeds=True)
    seeds = [kept.of(cell).seed for cell in kept.cells()]
    assert len(set(seeds)) == 6
    assert seeds == [kept.of(cell).seed for cell in kept.cells()], "a job that goes on draws the same"
    varied = plot({"seed": 100}, **axes, vary_seeds_x=True, vary_seeds_y=True)
    assert [varied.of(cell).seed for cell in varied.cells()] == [100, 101, 102, 103, 104, 105]


def test_a_seed_axis_draws_what_is_left_to_chance_once():
    found = plot(x_type="Seed", x_values="-1, 3")
    assert found.lines[0].values[0] >= 0
    assert found.lines[0].values[1] == 3
    assert found.fields()["X Values"] == "-1, 3"
    assert found.fields()["Fixed X Values"] == f"{found.lines[0].values[0]}, 3"


@pytest.mark.parametrize(
    ("request_values", "given", "words"),
    [
        (
            {},
            {"x_type": "Seed", "x_values": "1-1000", "y_type": "Steps", "y_values": "1-1000"},
            "1000 x 1000 x 1 = 1000000 cells",
        ),
        ({"width": 1024}, {"x_type": "Seed", "x_values": "1-17"}, "17408 x 512 pixels: at most 16384"),
        ({"enable_hr": True, "hr_scale": 4}, {"x_type": "Seed", "x_values": "1-9"}, "18432 x 2048"),
        ({"prompt": "a cat"}, {"x_type": "Prompt S/R", "x_values": "dog, cow"}, 'looks for "dog"'),
        ({"prompt": "a cat"}, {"x_type": "Prompt order", "x_values": "cat, cow"}, 'looks for "cow"'),
        ({}, {"x_type": "Size", "x_values": "large"}, '"large" is no size'),
        ({}, {"x_type": "Size", "x_values": "10x64"}, 'X axis "Size".*width is "?10'),
        ({}, {"y_type": "Steps", "y_values": "0"}, 'Y axis "Steps".*steps is 0'),
    ],
)
def test_what_cannot_be_is_refused_with_its_numbers(request_values, given, words):
    with pytest.raises(InputError, match=words):
        found = plot(request_values, **given)
        [found.of(cell) for cell in found.cells()]


@pytest.mark.parametrize(
    ("values", "size"),
    [
        ({}, (512, 512)),
        ({"enable_hr": True}, (1024, 1024)),
        ({"enable_hr": True, "hr_resize_x": 768}, (768, 768)),
        ({"enable_hr": True, "hr_resize_x": 768, "hr_resize_y": 640}, (768, 640)),
    ],
)
def test_final_sizes(values, size):
    assert final_size(make_request(values)) == size


def test_axes_of_extensions_change_the_first_unit():
    units = {
        "control": [{"model": "canny", "weight": 0.5}, {"model": "depth"}],
        "detail": [{"ad_model": "mediapipe_hand"}],
    }
    found = plot(
        units, x_type="[ControlNet] Weight", x_values="0, 1", y_type="[ADetailer] ADetailer prompt 1st", y_values="a, b"
    )
    cells = [found.of(cell) for cell in found.cells()]
    assert [cell.control[0].weight for cell in cells] == [0, 1, 0, 1]
    assert [cell.detail[0].ad_prompt for cell in cells] == ["a", "a", "b", "b"]
    assert {(cell.control[0].model, cell.control[1].model) for cell in cells} == {("canny", "depth")}
    with pytest.raises(InputError, match='"\\[ControlNet\\] Weight" changes the first unit, and there is none'):
        plot({}, x_type="[ControlNet] Weight", x_values="1")
    with pytest.raises(InputError, match="weight"):
        plot(units, x_type="[ControlNet] Weight", x_values="9")
