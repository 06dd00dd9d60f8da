"""Words that stand for vectors, in chunks of tokens."""

from modules.prompting.chunks import make_chunks
from modules.prompting.tokenizer import COMMA, END, START, build_tokenizer, token_ids
from modules.prompting.words import VECTORS, Words

TOKENIZER = build_tokenizer()


def words(**counts):
    return Words((name, tuple(token_ids(TOKENIZER, name)), count) for name, count in counts.items())


def chunks(text, known):
    return make_chunks(text, TOKENIZER, attention=True, backtrack=20, words=known)


def test_a_word_gives_way_to_its_vectors():
    known = words(easynegative=2, easy=1)
    (chunk,) = chunks("a (easynegative:1.5) fox, EASY", known)
    fox = token_ids(TOKENIZER, "fox")[0]
    a = token_ids(TOKENIZER, "a")[0]
    assert chunk.ids[:8] == (START, a, VECTORS, VECTORS + 1, fox, COMMA, VECTORS + 2, END)
    assert chunk.weights[2:5] == (1.5, 1.5, 1.0)
    found = known.within(token_ids(TOKENIZER, "easy easynegative easy"))
    assert [word.name for word in found] == ["easy", "easynegative", "easy"]


def test_the_longer_of_two_that_begin_alike():
    known = Words(
        [("fox", tuple(token_ids(TOKENIZER, "fox")), 1), ("fox run", tuple(token_ids(TOKENIZER, "fox run")), 1)]
    )
    (chunk,) = chunks("fox run fox", known)
    assert chunk.ids[1:4] == (VECTORS + 1, VECTORS, END)


def test_vectors_stay_together():
    known = words(easynegative=10)
    first, second = chunks("fox " * 70 + "easynegative wolf", known)
    assert first.ids[71:77] == (END,) * 6
    assert second.ids[1:11] == tuple(range(VECTORS, VECTORS + 10))
    (only,) = chunks("fox " * 65 + "easynegative", known)
    assert only.ids[66:76] == tuple(range(VECTORS, VECTORS + 10))


def test_none_without_words():
    assert chunks("a fox", words()) == make_chunks("a fox", TOKENIZER, attention=True, backtrack=20)
