"""What scripts ask of the user, and how their arguments are read."""

import pytest

from modules.core.errors import InputError
from modules.requests.scripts import ScriptEntry, ScriptField, find_script, is_none

FIELDS = (
    ScriptField(name="words", label="Words", kind="text", default="a"),
    ScriptField(name="count", label="Count", kind="whole", default=2, minimum=1, maximum=9),
    ScriptField(name="part", label="Part", kind="number", default=0.5, minimum=0, maximum=1),
    ScriptField(name="on", label="On", kind="switch", default=False),
    ScriptField(name="way", label="Way", kind="choice", default="Left", choices=("Left", "Right")),
    ScriptField(name="names", label="Names", kind="several", default=""),
    ScriptField(name="said", label="Said", kind="note"),
)
ENTRY = ScriptEntry(name="Thing", fields={"txt2img": FIELDS})


def test_arguments_come_in_order_and_may_be_left_out():
    found = ENTRY.values("txt2img", ["b", 3.0, 1, True, 1, ["x"], "anything"])
    assert found == {"words": "b", "count": 3, "part": 1.0, "on": True, "way": "Right", "names": ("x",), "said": None}
    assert ENTRY.values("txt2img", [None, 4]) == {
        "words": "a", "count": 4, "part": 0.5, "on": False, "way": "Left", "names": (), "said": None,
    }  # fmt: skip
    assert ENTRY.values("txt2img", ["", 1, 0, False, " right"])["way"] == "Right"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([5], '"Words" of Thing is 5: it must be text'),
        (["\ud800"], '"Words" of Thing'),
        (["", 0], "whole number of at least 1 and at most 9"),
        (["", 1.5], "whole number"),
        (["", "many"], '"Count" of Thing is "many"'),
        (["", True], "whole number"),
        (["", 1, float("nan")], "a number of at least 0"),
        (["", 1, 10**400], "a number of at least 0"),
        (["", 1, 0, "yes"], "true or false"),
        (["", 1, 0, True, 2], "one of 2 choices"),
        (["", 1, 0, True, "Up"], "Left, Right"),
        (["", 1, 0, True, 0, "x"], "a list of names"),
        (["", 1, 0, True, 0, [1]], "a list of names"),
        ([""] * 8, "holds 8 values: Thing takes 7 at most"),
    ],
)
def test_wrong_arguments_name_the_script_and_the_field(arguments, words):
    with pytest.raises(InputError, match=words) as error:
        ENTRY.values("txt2img", arguments)
    assert error.value.field == "script_args"


def test_a_script_of_another_tab():
    with pytest.raises(InputError, match="works on txt2img alone"):
        ENTRY.values("img2img", [])


def test_names():
    assert find_script(" thing", [ENTRY]) is ENTRY
    assert find_script("thin", [ENTRY]) is None
    assert [is_none(name) for name in (None, "", "None", " none ", "Thing")] == [True, True, True, True, False]
