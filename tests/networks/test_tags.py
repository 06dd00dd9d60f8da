"""What tags ask for, and what is wrong with those that ask for nothing."""

import pytest

from modules.core.errors import InputError
from modules.networks.tags import Moment, Wanted, read_tag
from modules.prompting.tags import take_tags


def read(text, default=1.0):
    _, (tag,) = take_tags(text)
    return read_tag(tag, default)


def wanted(**values):
    return Wanted(kind="lora", name="x", **values)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("<lora:x>", wanted()),
        ("<lora:x:0.5>", wanted(text=0.5, unet=0.5)),
        ("<lora:x:-0.5>", wanted(text=-0.5, unet=-0.5)),
        ("<lora:x:0.3:0.9>", wanted(text=0.3, unet=0.9)),
        ("<lora:x:0.3:0.9:4>", wanted(text=0.3, unet=0.9, rank=4)),
        ("<lora:x:te=0.2:unet=0.6>", wanted(text=0.2, unet=0.6)),
        ("<lora:x:0.7:unet=0.6:dyn=8>", wanted(text=0.7, unet=0.6, rank=8)),
        ("<lora:x:1:lbw=NONE>", wanted(blocks=(0.0,) * 17)),
        ("<lora:x:1:lbw=0,0,0,0,1,1,1,0.5,0,0,0,0>", wanted(blocks=(0, 0, 0, 0, 1, 1, 1, 0.5, 0, 0, 0, 0))),
        ("<lora:x:1:1:ALL>", wanted(blocks=(1.0,) * 17)),
        ("<lora:x:1:start=3:stop=0.5>", wanted(start=Moment(3, False), stop=Moment(0.5, True))),
        ("<lora:x:1:step=2-7>", wanted(start=Moment(2, False), stop=Moment(7, False))),
    ],
)
def test_tags(text, meant):
    assert read(text) == meant


def test_the_default_is_that_of_the_settings():
    assert read("<lora:x>", 0.4) == wanted(text=0.4, unet=0.4)
    assert Moment(0.5, True).step(20) == 10
    assert Moment(3, False).step(20) == 3


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("<lora:x:much>", '"much" where a number'),
        ("<lora:x:nan>", '"nan" where a number'),
        ("<lora:x:1e9>", "from -1000 to 1000"),
        ("<lora:x:1:1:0>", '"0" where a rank'),
        ("<lora:x:1:start=-1>", '"-1" where a step'),
        ("<lora:x:1:stop=1.5>", '"1.5" where a step'),
        ("<lora:x:1:lbw=1,2>", "2 block weights"),
        ("<lora:x:1:lbw=SOME>", '"SOME"'),
        ("<lora:x:1:wieght=1>", '"wieght", which is not known'),
        ("<lora: :1>", "has no name"),
        ("<lora:te=1>", "has no name"),
    ],
)
def test_wrong_tags_are_one_sentence(text, words):
    with pytest.raises(InputError) as caught:
        read(text)
    assert words in caught.value.message
    assert caught.value.field == "prompt"
