"""The words of the prompt builder."""

import pytest

from modules.core.paths import Paths
from modules.library.prompt_builder import Category, Group, PromptBuilder, shipped

CATEGORIES = ["subject", "look", "clothes", "pose", "place", "light", "medium", "quality"]


@pytest.fixture
def builder(tmp_path):
    return PromptBuilder(Paths(data=tmp_path))


def test_the_shipped_words_suit_the_starter_too(builder):
    found = builder.look()
    assert (found.own, found.trouble) == (False, "")
    assert [category.name for category in found.categories] == CATEGORIES
    subjects = {word for group in found.categories[0].groups for word in group.words}
    assert {"a woman", "mushroom", "rocket"} <= subjects
    assert {"in a meadow"} <= {word for group in found.categories[4].groups for word in group.words}


def test_the_users_own_file_is_read_again_when_it_changes(builder, tmp_path):
    file = tmp_path / "prompt-builder.yaml"
    file.write_text("pets: [cat, 'dog: big', 5, no]\nempty:\nmore:\n  a: [x]\n  b:\n", "utf-8-sig")
    found = builder.look()
    assert found.own
    assert found.categories == (
        Category("pets", (Group("", ("cat", "dog: big", "5", "no")),)),
        Category("empty", ()),
        Category("more", (Group("a", ("x",)), Group("b", ()))),
    )
    file.write_text("pets: [owl]\n", "utf-8")
    assert builder.look().categories == (Category("pets", (Group("", ("owl",)),)),)
    file.unlink()
    assert builder.look().categories == shipped()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: [x]\nb: [y\nc: [z]\n", "line 3"),
        ("a: [x]\nb: word\n", "line 2: here should be a list"),
        ("a:\n  - x\n  - {y: z}\n", "line 3: here should be a word"),
        ("- a\n", "line 1: here should be categories"),
        ("", "line 1: it holds no categories"),
        ("a: [" + "x, " * 6000 + "x]", "more than 5000"),
        ("\x00", "line 1"),
        ("[" * 5000, "line"),
        ("a: &a [x]\nb: *c\n", "line 2"),
    ],
)
def test_a_broken_file_is_one_sentence_and_the_rest_goes_on(builder, tmp_path, text, said):
    (tmp_path / "prompt-builder.yaml").write_text(text, "utf-8")
    found = builder.look()
    assert said in found.trouble
    assert found.trouble.startswith('"prompt-builder.yaml" is not read')
    assert "\n" not in found.trouble
    assert found.categories == shipped()


def test_other_encodings_and_huge_files(builder, tmp_path):
    file = tmp_path / "prompt-builder.yaml"
    file.write_bytes("a: [é]".encode("latin-1"))
    assert "not UTF-8" in builder.look().trouble
    file.write_bytes(b"#" * (2**20 + 1))
    assert "larger than 1 MB" in builder.look().trouble
