"""Tiled diffusion in whole jobs on a tiny model."""

import numpy as np
import pytest

from modules.core.settings import Settings
from modules.images.infotext import parse_infotext, to_request_values
from modules.jobs.executors.base import Cancel
from modules.requests.events import Failed, Order
from modules.requests.txt2img import make_request
from tests.engine.test_techniques import draw, drawing, engine, pixels  # noqa: F401  # fixtures

WIDE = {"width": 256, "height": 128, "steps": 3, "cfg_scale": 30, "sampler_name": "Euler"}
TILES = {"tile_width": 16, "tile_height": 16, "overlap": 8}
LEFT = "0, 0, 0.5, 1 | a green car |"


def test_a_picture_of_one_tile_is_the_same(draw):  # noqa: F811
    assert (pixels(draw(tiled_diffusion={})[0]) == pixels(draw()[0])).all()


@pytest.mark.parametrize("method", ["MultiDiffusion", "Mixture of Diffusers"])
def test_tiles_draw_another_picture_and_it_comes_again_from_its_infotext(draw, method):  # noqa: F811
    asked = {**WIDE, "tiled_diffusion": {**TILES, "method": method, "regions": LEFT}}
    first = draw(**asked)[0]
    assert (pixels(first) != pixels(draw(**WIDE)[0])).any()
    again = to_request_values(parse_infotext(first.infotext))
    assert make_request(again).tiled_diffusion == make_request(asked).tiled_diffusion
    assert draw(**{**again, "seed": 11})[0].data == first.data


def test_one_tile_at_a_time_is_the_same_as_many(draw):  # noqa: F811
    one, many = (pixels(draw(**WIDE, tiled_diffusion={**TILES, "tile_batch_size": n})[0]) for n in (1, 8))
    assert np.abs(one - many).max() <= 1


def test_a_region_changes_its_part_alone(draw):  # noqa: F811
    def of(**region):
        return pixels(draw(**WIDE, batch_size=2, n_iter=1, tiled_diffusion={**TILES, **region})[1])

    plain = of()
    over = np.abs(of(regions="0, 0, 0.25, 1, Foreground, 0 | a green car |") - plain).max(axis=(0, 2))
    assert over[:32].max() > over[-64:].max()  # tiles that hold the border carry some of it over
    seeded = np.abs(of(regions="0, 0, 0.25, 1, Background, 0.2, 5 |") - plain).max(axis=(0, 2))
    assert seeded[:32].max() > 0


def test_what_does_not_go_together_is_refused(engine):  # noqa: F811
    request = make_request({"tiled_diffusion": {}, "self_attention_guidance": {}, "width": 64, "height": 64})
    options = Settings().changed({"sd_model_checkpoint": "tiny"}).flat()
    *_, ended = engine.run(Order(job="x", request=request, seed=1, options=options), Cancel())
    assert isinstance(ended, Failed) and "Turn one of them off." in ended.message
