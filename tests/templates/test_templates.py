"""Templates: what is one and what is text, what it comes to, and that nothing in it takes long or fails."""

import random
import time

import pytest

from modules.core.paths import Paths
from modules.core.settings import Settings
from modules.library.wildcards import MOST_BYTES, Wildcards, WildcardSet
from modules.requests.txt2img import Txt2ImgRequest, make_request
from modules.templates.choosing import CYCLE, EVERY, Chooser, Odometer
from modules.templates.expand import Expander
from modules.templates.grammar import GRAMMAR, Head, parse, read_head
from modules.templates.resolve import resolve, with_combinations

LISTS = {
    "colour": ("red", "blue", "green"),
    "animal/wild": ("fox", "wolf"),
    "animal/tame": ("cat",),
    "nested": ("a __colour__ {hat|cap}",),
    "clothes": ("${season:spring} coat",),
    "loop": ("x __loop__",),
    "double": ("__double__ __double__",),
    "one": ("__two__",),
    "two": ("__one__",),
}
WORDS = WildcardSet({name: tuple((1.0, text) for text in texts) for name, texts in LISTS.items()})
OPTIONS = Settings().flat()


def expand(text, seed=1, position=0, usual="~", odometer=None):
    return Expander(WORDS).expand(text, Chooser(seed, position, odometer or Odometer(), usual))


def expand_with(words, text):
    return Expander(words).expand(text, Chooser(1, 0, Odometer()))


def every(text):
    """All combinations in order."""
    odometer, expander, found = Odometer(), Expander(WORDS), []
    while True:
        odometer.rewind()
        found.append(expander.expand(text, Chooser(0, 0, odometer, EVERY)))
        if not odometer.advance():
            return found


@pytest.mark.parametrize(
    "text",
    [
        *("{masterpiece}", "{{masterpiece}}", "[a|b]", "a | b", "{", "}", "}{", "a {b", "{a|b", "a|b}", "{a} {b}"),
        *(
            "__init__",
            "__",
            "____",
            "foo__ bar __baz",
            "__no such__",
            "{__init__}",
            "$$",
            "{$$a}",
            "${",
            "${}",
            "${a b",
        ),
        *(r"\{a|b\}", "(a:1.2) [b:c:0.5]", "<lora:x:0.8>", "", "{}", "a :: b", "${x", "snake_case", "__colour", "#__x"),
    ],
)
def test_text_stays_text(text):
    assert expand(text) == text
    assert not Expander(WORDS).is_dynamic(text)


def test_variants():
    assert {expand("{a|b|c}", seed) for seed in range(40)} == {"a", "b", "c"}
    assert every("A {red|blue} {square|circle}") == [
        *("A red square", "A red circle", "A blue square", "A blue circle"),
    ]
    assert every("{2$$a|b|c}") == ["a,b", "a,c", "b,a", "b,c", "c,a", "c,b"]
    assert every("{2$$ and $$a|b}") == ["a and b", "b and a"]
    assert every("{0-1$$a|b}") == ["", "a", "b"]
    assert every("{-1$$a|b}") == ["a", "b"]
    assert set(every("{1-$$a|b}")) == {"a", "b", "a,b", "b,a"}
    assert every("{9$$a|b}") == ["a,b", "b,a"]
    assert every("{{a|b}|c {d|}}") == ["a", "b", "c d", "c "]
    assert every("[{a|b}:c:0.5] <lora:x:{1|2}>") == [f"[{a}:c:0.5] <lora:x:{n}>" for a in "ab" for n in "12"]
    assert every("{a|{x}}") == ["a", "{x}"]


def test_weights_count():
    drawn = [expand("{3::a|1::b|0::c}", seed) for seed in range(400)]
    assert 250 < drawn.count("a") < 350
    assert "c" not in drawn
    assert every("{0.5::a|.5::b}") == ["a", "b"]
    assert expand("{0::a|0::b}") in ("a", "b")


def test_choices_are_the_extensions():
    """It draws a number of options, then the options, from Python's generator seeded with the picture's seed."""
    for seed in range(20):
        source = random.Random(seed)
        source.randint(1, 1)
        assert expand("{a|b|c}", seed) == source.choices(["a", "b", "c"], weights=[1, 1, 1])[0]
        source = random.Random(seed)
        assert expand("__colour__", seed) == source.choices(["blue", "green", "red"], weights=[1, 1, 1])[0]


def test_wildcards():
    assert every("__colour__") == ["blue", "green", "red"]
    assert every("__animal/*__") == ["cat", "fox", "wolf"] == every("__animal/**__")
    assert every("__COLOUR__") == every("__colour__")
    assert set(every("{2$$__colour__}")) == {f"{a},{b}" for a in LISTS["colour"] for b in LISTS["colour"] if a != b}
    assert every("{__colour__}") == every("__colour__")
    assert len(every("__nested__")) == 6
    assert every("__clothes__ __clothes(season=winter)__") == ["spring coat winter coat"]
    assert every("${kind=wild}__animal/${kind}__") == ["fox", "wolf"]


def test_variables():
    assert {expand("${x=!{a|b}}${x}${x}", seed) for seed in range(20)} == {"aa", "bb"}
    assert len({expand("${x={a|b}}${x}${x}", seed) for seed in range(40)}) == 4
    assert expand("${x=a}${x?=b}${x}") == "a"
    assert expand("${x?=b}${x}") == "b"
    assert expand("${x:c} ${x:{d|d}}") == "c d"
    expander = Expander(WORDS)
    assert expander.expand("${x}", Chooser(1, 0, Odometer())) == "${x}"
    assert "no value for ${x}" in next(iter(expander.warnings))


def test_samplers():
    assert [expand("{@a|b|c} __@colour__", position=n) for n in range(4)] == ["a blue", "b green", "c red", "a blue"]
    assert [expand("{a|b|c}", position=n, usual=CYCLE) for n in range(3)] == ["a", "b", "c"]
    assert {text.split()[0] for text in every("{~a|b} {c|d}")} <= {"a", "b"}
    assert len(every("{~a|b} {c|d}")) == 2
    odometer, found = Odometer(), []
    for _ in range(4):
        odometer.rewind()
        found.append(expand("{!a|b}{!c|d}", odometer=odometer))
        odometer.advance()
    assert found == ["ac", "ad", "bc", "bd"]


def test_F11_what_leads_on_without_end_is_cut_and_told():
    for text in ("__loop__", "__double__", "__one__", "${x=${x}}${x}"):
        expander = Expander(WORDS)
        started = time.monotonic()
        assert len(expander.expand(text, Chooser(1, 0, Odometer()))) < 200_000
        assert time.monotonic() - started < 20  # a guard against no end at all
        assert text.startswith("$") or "without end" in " ".join(expander.warnings)


def test_missing_wildcards_are_told_of():
    expander = Expander(WORDS)
    assert expander.expand("__color__ __ x __", Chooser(1, 0, Odometer())) == "__color__ __ x __"
    assert list(expander.warnings) == [
        "There is no wildcard __color__: it stays as text. Nearest: colour, clothes, loop."
    ]


PIECES = [
    *"ab {}|$:_~@!-0123,",
    "{",
    "}",
    "|",
    "$$",
    "::",
    "__",
    "${",
    "=",
    "=!",
    "?=",
    "__colour__",
    "{a|b}",
    "\\",
    "\n",
]


def test_no_text_fails():
    source, expander = random.Random(5), Expander(WORDS)
    for _ in range(3000):
        text = "".join(source.choices(PIECES, k=source.randrange(30)))
        expander.expand(text, Chooser(1, 0, Odometer()))


@pytest.mark.parametrize(
    "text",
    [
        *("{" * 20_000, "}" * 20_000, "{a|" * 6000, "{a|" * 6000 + "}" * 6000, "__" * 10_000, "__a" * 6000),
        *("${" * 10_000, "${x=" * 5000, "{1$$" * 5000, "{" + " " * 19_000, "__" + "${a:" * 4000, "|" * 20_000),
        *("{a|b}" * 4000, "__colour__ " * 1800, "{1-9$$" + "a|" * 9000 + "}", "{" + " 1" * 9000 + "$$a}"),
    ],
    ids=lambda text: text[:6],
)
def test_long_texts_are_read_in_linear_time(text):
    """A quadratic reading of these takes minutes."""
    assert isinstance(expand(text[:20_000]), str)


def test_heads():
    assert GRAMMAR.count("\n") > 5
    assert parse("{a|b}", lambda name: False).children
    assert read_head("{~2-3$$, $$") == Head(sampler="~", least=2, most=3, separator=", ", counted=True)
    assert read_head("{") == Head()


# -- whole requests --


def resolved(seed=5, **values):
    request = make_request({"width": 64, "height": 64, **values})
    request = with_combinations(request, lambda: WORDS)
    return resolve(request, seed, "job", lambda: WORDS, OPTIONS)


def prompts(**values):
    return [request.prompt for request in resolved(**values).requests]


def test_each_picture_follows_its_seed():
    first = prompts(prompt="{a|b|c|d|e|f}", n_iter=2, batch_size=3)
    assert first == [expand("{a|b|c|d|e|f}", seed) for seed in range(5, 11)]
    assert prompts(prompt="{a|b|c|d|e|f}", n_iter=6, dp_fixed_seed=True) == first[:1] * 6
    assert len(set(prompts(prompt="{a|b|c|d|e|f}", n_iter=6, dp_fixed_seed=True, dp_unlink_seed=True))) > 1
    assert prompts(prompt="{a|b|c|d|e|f}", n_iter=6, subseed_strength=0.5) == first[:1] * 6


def test_every_prompt_of_a_request_is_resolved():
    found = resolved(
        prompt="{@a|b}",
        negative_prompt="{@c|d}",
        hr_prompt="{@e|f}",
        hr_negative_prompt="{@g|h}",
        detail=[{"ad_prompt": "{@i|j} [SEP] x", "ad_negative_prompt": "plain"}],
        tiled_diffusion={"regions": "0, 0, 0.5, 1 | {@k|l} | {@m|n}\n0, 0, 1, 1 | o"},
        n_iter=2,
    )
    second = found.requests[1]
    assert isinstance(second, Txt2ImgRequest)
    assert (second.prompt, second.negative_prompt, second.hr_prompt, second.hr_negative_prompt) == (*"bdfh",)
    assert second.detail[0].ad_prompt == "j [SEP] x"
    assert [(place.prompt, place.negative_prompt) for place in second.tiled_diffusion.places] == [("l", "n"), ("o", "")]
    assert found.notes == {"Template": "{@a|b}", "Negative Template": "{@c|d}"}


def test_nothing_to_resolve():
    assert resolved(prompt="{masterpiece}, a cat") is None
    assert resolved(prompt="{a|b}", dynamic_prompts=False) is None
    assert resolved(prompt="__nothing__").requests == ()


def test_combinations_decide_how_many_pictures():
    assert prompts(prompt="{a|b} {c|d}", dp_combinatorial=True, n_iter=7, batch_size=4) == ["a c", "a d", "b c", "b d"]
    assert prompts(prompt="{a|b} {c|d}", dp_combinatorial=True, dp_max_generations=3) == ["a c", "a d", "b c"]
    twice = resolved(prompt="{a|b}", dp_combinatorial=True, dp_combinatorial_batches=2, dp_fixed_seed=True)
    assert [request.prompt for request in twice.requests] == ["a", "b", "a", "b"]
    assert [twice.requests[0].seed_of(5, position) for position in range(4)] == [5, 5, 6, 6]
    both = resolved(prompt="{a|b}", negative_prompt="{c|d}", dp_combinatorial=True)
    assert [(one.prompt, one.negative_prompt) for one in both.requests] == [(*"ac",), (*"ad",), (*"bc",), (*"bd",)]


def test_too_much_is_answered_with_a_sentence():
    with pytest.raises(Exception, match="more than 1000 combinations. Set Max generations"):
        resolved(prompt="{a|b|c|d}" * 20, dp_combinatorial=True)
    with pytest.raises(Exception, match="prompt would be .* characters long"):
        resolved(prompt="${x=" + "y" * 1000 + "}" + "${x}" * 40)


# -- files --


def test_files(tmp_path):
    folder = tmp_path / "models" / "wildcards"
    (folder / "deep").mkdir(parents=True)
    (folder / "hair.txt").write_text("\ufeff# a remark\nblond\n\n2::red\nblond\n", "utf-8")
    (folder / "deep" / "more.yaml").write_text("plant:\n  tree: [oak, ash]\n  1234: 5\nflat: [x]\n", "utf-8")
    (folder / "list.json").write_text('["p", "q"]', "utf-8")
    (folder / "broken.yaml").write_text("a: [", "utf-8")
    (folder / "broken.json").write_text("[" * 100_000, "utf-8")
    (folder / "latin.txt").write_bytes(b"caf\xe9\n")
    other = tmp_path / "other"
    other.mkdir()
    (other / "hair.txt").write_text("black\n", "utf-8")
    wildcards = Wildcards(Paths(data=tmp_path))
    found = wildcards.look()
    assert found.names() == ["deep/flat", "deep/plant/tree", "hair", "latin", "list"]
    assert found.values("hair") == ((1.0, "blond"), (2.0, "red"))
    assert [text for _, text in found.values("deep/**")] == ["ash", "oak", "x"]
    assert [text for _, text in found.values("list")] == ["p", "q"]
    assert [text for _, text in wildcards.look(f"{other}\nnowhere").values("hair")] == ["black", "blond", "red"]
    (folder / "hair.txt").write_text("grey, new\n", "utf-8")
    assert [text for _, text in wildcards.look().values("hair")] == ["grey, new"]


TOLD = ("../../config", "../../../config", "/etc/passwd", "deep/../../../config")
UNTOLD = ("..\\..\\config", "~/x", "C:/x", "../*", "*/../**")  # such as may stand in any prompt


@pytest.mark.parametrize("name", [*TOLD, *UNTOLD])
def test_F11_names_that_would_lead_elsewhere_stay_text(tmp_path, name):
    folder = tmp_path / "data" / "models" / "wildcards"
    folder.mkdir(parents=True)
    (folder / "hair.txt").write_text("blond\n")
    for place in (tmp_path, tmp_path / "data", tmp_path / "data" / "models"):
        (place / "config.txt").write_text("a secret\n")
    expander = Expander(Wildcards(Paths(data=tmp_path / "data")).look())
    assert expander.expand(f"a __{name}__ b", Chooser(1, 0, Odometer())) == f"a __{name}__ b"
    assert not TOLD.count(name) or f"There is no wildcard __{name}__: it stays as text." in " ".join(expander.warnings)
    assert expander.expand("__**__", Chooser(1, 0, Odometer())) == "blond"


def test_F11_a_list_of_ten_megabytes_is_read_and_a_larger_one_left_out(tmp_path, caplog):
    folder = tmp_path / "models" / "wildcards"
    folder.mkdir(parents=True)
    (folder / "many.txt").write_text("".join(f"word {n:094}\n" for n in range(100_000)))
    with (folder / "sparse.txt").open("wb") as file:
        file.truncate(MOST_BYTES + 1)
    found = Wildcards(Paths(data=tmp_path)).look()
    assert found.names() == ["many"] and len(found.values("many")) == 100_000
    assert expand_with(found, "__many__").startswith("word 0")
    assert "sparse.txt: no wildcards are taken from it: it is larger than 32 MB" in caplog.text


def test_large_files(tmp_path):
    folder = tmp_path / "models" / "wildcards"
    folder.mkdir(parents=True)
    (folder / "many.txt").write_text("\n".join(f"{{a|b}} number {n}" for n in range(10_000)), "utf-8")
    wildcards = Wildcards(Paths(data=tmp_path))
    request = make_request({"prompt": "__many__ {3$$__many__}", "n_iter": 100})
    found = resolve(request, 1, "job", wildcards.look, OPTIONS)
    assert len({one.prompt for one in found.requests}) == 100
    bomb = "a: &a [x, x, x, x, x, x, x, x]\n" + "".join(
        f"{b}: &{b} {{" + ", ".join(f"k{n}: *{a}" for n in range(8)) + "}\n"
        for a, b in zip("abcdefgh", "bcdefghi", strict=True)
    )
    (folder / "bomb.yaml").write_text(bomb, "utf-8")
    assert len(wildcards.look().lists) <= 200_001


def test_no_pattern_takes_long():
    names = WildcardSet({"a" * 200 + f"/{n}": ((1.0, "x"),) for n in range(20)})
    assert names.names("*a" * 90 + "b") == []
    assert names.names("**/" * 60 + "x") == []
