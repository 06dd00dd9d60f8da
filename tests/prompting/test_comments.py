"""Comments in prompts, as A1111 takes them out."""

import pytest

from modules.core.settings import Settings
from modules.engine.plan import make_plan
from modules.prompting.comments import without_comments
from modules.requests.catalogue import SHIPPED, Catalogue
from modules.requests.txt2img import make_request


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("a fox # comment here\nin snow", "a fox \nin snow"),  # recorded of A1111
        ("a fox", "a fox"),
        ("a fox # comment", "a fox \n"),
        ("a\n# one\nb", "a\nb"),
        ("a\n# one\n# two\nb", "a\n\nb"),
        ("# one\na", "\na"),
        ("# one\n# two\na", "\n\na"),
        ("a\n# one", "a\n"),
        ("# one", "\n"),
        ("#\n#", "\n\n"),
        ("a # b # c\nd", "a \nd"),
        ("", ""),
    ],
)
def test_what_is_left(text, left):
    assert without_comments(text) == left


def test_linear_in_length():
    assert without_comments("#x\n" * 7_000) == "\n" * 3_501


def plan(**options):
    return make_plan(
        make_request({"prompt": "a fox # c\nin snow", "negative_prompt": "x # y", "sampler_name": "Euler"}),
        seed=1,
        options=Settings().changed(options).flat(),
        catalogue=Catalogue.model_validate_json(SHIPPED.read_bytes()),
        model_name="m",
        model_hash="h",
    )


def test_neither_the_prompt_nor_the_infotext_hold_comments():
    made = plan()
    assert (made.prompt.plain, made.negative.plain) == ("a fox \nin snow", "x \n")
    assert made.infotext(1, 2, {}).startswith("a fox \nin snow\nNegative prompt: x \n\nSteps")


def test_comments_are_text_when_they_are_not_enabled():
    made = plan(enable_prompt_comments=False)
    assert made.prompt.plain == "a fox # c\nin snow"
    assert made.infotext(1, 2, {}).startswith("a fox # c\nin snow\nNegative prompt: x # y\nSteps")
