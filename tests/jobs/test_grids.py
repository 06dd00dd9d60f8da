"""Grids before a job's pictures: when they are made, where they are saved, and what is told of them."""

import io

import pytest
from PIL import Image

from modules.core.settings import Settings
from modules.images.grids import Legends, Words, columns_of, make_grid, make_sheet
from modules.requests.events import FIRST_GRID
from tests.jobs.helpers import puppet_inline, running
from tests.jobs.test_service import play

ON = {"grid_save": True, "return_grid": True}


def drawn(service, **values):
    job = service.wait(service.submit(play(**values)).id, 60)
    assert job.state == "done"
    return job, service.images(job.id)


def test_a_grid_of_several_pictures_comes_first_and_is_saved(tmp_path):
    with running(tmp_path, puppet_inline(), **ON) as service:
        job, images = drawn(service, n_iter=2, batch_size=2, seed=5)
        alone = drawn(service, n_iter=1)[1]
        unwanted = drawn(service, n_iter=2, do_not_save_grid=True)[1]
    assert [image.position for image in images] == [FIRST_GRID, 0, 1, 2, 3]
    assert job.info["index_of_first_image"] == 1
    assert images[0].kept
    assert images[0].path.name == "grid-0000.png"
    assert images[0].path.is_relative_to(tmp_path / "outputs" / "txt2img-grids")
    single = Image.open(io.BytesIO(images[1].path.read_bytes())).size
    assert Image.open(io.BytesIO(images[0].path.read_bytes())).size == (2 * single[0], 2 * single[1])
    assert len(alone) == 1
    assert len(unwanted) == 2


@pytest.mark.parametrize(("options", "shown", "saved"), [
    ({"grid_save": False, "return_grid": True}, 3, 0),
    ({"grid_save": True, "return_grid": False}, 2, 1),
    ({"grid_save": False, "return_grid": False}, 2, 0),
])  # fmt: skip
def test_saving_and_showing_are_apart(tmp_path, options, shown, saved):
    with running(tmp_path, puppet_inline(), **options) as service:
        _, images = drawn(service, n_iter=2)
    assert len(images) == shown
    assert len([*(tmp_path / "outputs").rglob("grid-*.png")]) == saved


def test_pictures_that_are_gone_cost_the_grid_alone(tmp_path):
    with running(tmp_path, puppet_inline(), **ON, grid_only_if_multiple=False) as service:
        job, images = drawn(service, n_iter=1)
    assert [image.position for image in images] == [FIRST_GRID, 0]
    assert job.message is None


def test_grids_have_a_place_of_their_own_and_an_end(tmp_path):
    with running(tmp_path, puppet_inline(), **ON, outdir_grids="sheets", outdir_samples="all") as service:
        _, images = drawn(service, n_iter=2)
        service.change_options({"img_max_size_mp": 0.0001})
        job, without = drawn(service, n_iter=2)
    assert images[0].path.is_relative_to(tmp_path / "sheets")
    assert images[1].path.is_relative_to(tmp_path / "all")
    assert [image.position for image in without] == [0, 1]
    assert job.message == (
        "The grid is not made: it would have 0.0 megapixels, and img_max_size_mp is 0.0001. Raise that setting."
    )


@pytest.mark.parametrize(
    ("count", "rows", "batch", "no_gaps", "columns"),
    [(4, -1, 1, False, 2), (5, -1, 1, False, 3), (5, -1, 1, True, 5), (6, 2, 1, False, 3), (6, 0, 3, False, 2), (1, 9, 1, False, 1)],
)  # fmt: skip
def test_columns_are_those_of_a1111(count, rows, batch, no_gaps, columns):
    assert columns_of(count, rows=rows, batch_size=batch, no_gaps=no_gaps) == columns


def test_cells_of_several_sizes_and_empty_ones():
    pictures = [Image.new("RGB", (8, 4), "red"), None, Image.new("RGB", (4, 4), "blue")]
    grid = make_grid(pictures, 2, margin=2, background="#00ff00")
    assert grid.size == (18, 10)
    assert [grid.getpixel(at) for at in ((0, 0), (12, 0), (1, 8), (4, 8))] == [
        (255, 0, 0), (0, 255, 0), (0, 255, 0), (0, 0, 255),
    ]  # fmt: skip


def test_legends_stand_around_the_cells():
    pictures = [Image.new("RGB", (64, 64), "red")] * 4
    words = [[Words(text="Steps: 20")], [Words(text="x" * 300, active=False)]]
    sheet = make_sheet(pictures, 2, Legends(columns=words, rows=words))
    across, down = sheet.width - 128, sheet.height - 128
    assert across == 48
    assert down > 10
    assert sheet.crop((across, down, sheet.width, sheet.height)).getcolors() == [(128 * 128, (255, 0, 0))]
    above = sheet.crop((across, 0, sheet.width, down))
    assert len(above.getcolors(1000) or []) > 2, "there are letters"
    assert make_sheet(pictures, 2, Legends()).size == (128, 128)


def test_colours_are_checked():
    with pytest.raises(Exception, match="grid_background_color"):
        Settings().changed({"grid_background_color": "reddish"})
