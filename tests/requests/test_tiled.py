"""Regions as text."""

import pytest

from modules.core.errors import InputError
from modules.requests.tiled import Region, read_regions, write_regions
from modules.requests.txt2img import make_request


def test_regions_are_read_and_written():
    text = "0, 0, 0.5, 1 | a cat\n\n 0.5,0,.5,1, foreground, 0.1, 7 | a dog, big | blurry, small | x"
    regions = read_regions(text)
    assert regions[0] == Region.model_validate({"x": 0, "y": 0, "width": 0.5, "height": 1, "prompt": "a cat"})
    assert regions[1].negative_prompt == "blurry, small | x" and regions[1].seed == 7
    assert read_regions(write_regions(regions)) == regions


def test_a_region_is_at_least_one_cell_and_inside():
    assert Region.model_validate({"x": 1, "y": 1, "width": 0.01, "height": 1}).box(8, 8) == (7, 7, 1, 1)


@pytest.mark.parametrize(
    "text", ["0, 0, 1", "0,0,2,1 | x", "a,b,c,d", "0,0,1,1,middle", "0,0,0,1", "\n".join(["0,0,1,1"] * 9)]
)
def test_wrong_ones_are_named(text):
    with pytest.raises(InputError, match="^tiled_diffusion.regions is "):
        make_request({"tiled_diffusion": {"regions": text}})
