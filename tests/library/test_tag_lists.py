"""Lists of tags: reading and searching."""

import random
import statistics
import time

import pytest

from modules.core.paths import Paths
from modules.library.tag_lists import Tag, TagIndex, TagLists

ROWS = """\
1girl,0,5000000,"1girls,sole_female"
long_hair,0,4000000,"/lh,longhair"
hair_ornament,0,1000000,
hatsune_miku,4,100000,"初音ミク,miku"
saber_(fate),4,50000,
"""


@pytest.fixture
def lists(tmp_path) -> TagLists:
    folder = tmp_path / "models" / "tags"
    folder.mkdir(parents=True)
    (folder / "danbooru.csv").write_text(ROWS, "utf-8")
    return TagLists(Paths(data=tmp_path))


def names(index: TagIndex, text: str, limit: int = 10) -> list[str]:
    return [hit.tag.name for hit in index.search(text, limit)]


def test_beginnings_come_first_then_words_then_the_rest(lists):
    index = lists.look()
    assert names(index, "hai") == ["hair_ornament", "long_hair"]
    assert names(index, "LONG h") == names(index, "long_h") == ["long_hair"]
    assert names(index, "girl") == ["1girl"]
    assert names(index, "h", 1) == ["hair_ornament"]
    assert names(index, "zzz") == names(index, " ") == names(index, "") == []


def test_aliases_are_told(lists):
    (hit,) = lists.look().search("初音", 5)
    assert (hit.tag, hit.alias) == (Tag("hatsune_miku", 4, 100_000, ("初音ミク", "miku")), "初音ミク")
    assert lists.look().search("hatsune", 5)[0].alias == ""


def test_files_are_read_again_and_broken_rows_left_out(lists, tmp_path):
    folder = tmp_path / "models" / "tags"
    index = lists.look()
    assert lists.look() is index
    (folder / "mine.csv").write_bytes(
        b'\xef\xbb\xbfname,category,count,aliases\r\nmy_tag,x,-5,"a\r\n\r\n,0,5,\r\n' + b"x" * 300 + b",0,1,\r\n"
    )
    (folder / "more.csv").write_bytes(b"long_hair,0,9000000\nbad\x00\xff,0,7\nplain\n")
    found = lists.look()
    assert names(found, "my") == ["my_tag"]
    assert found.search("long", 5)[0].tag.count == 9_000_000
    assert names(found, "plain") == ["plain"]
    assert len(found) == 8
    for file in folder.iterdir():
        file.unlink()
    assert len(lists.look()) == 0


def test_a_hundred_thousand_rows_answer_at_once():
    chance = random.Random(5)
    words = ["".join(chance.choices("abcdefghijklmnopqrstuvwxyz", k=chance.randint(3, 9))) for _ in range(4000)]
    tags = [
        Tag(
            "_".join(chance.choices(words, k=2)) + f"_{i}",
            0,
            chance.randrange(10**6),
            tuple(chance.choices(words, k=2)),
        )
        for i in range(100_000)
    ]
    index = TagIndex(tags)
    asked = [*words[:40], "a", "e_", "qqqqq", "no such tag at all", "9999"]
    times = []
    for text in asked:
        begun = time.perf_counter()
        found = index.search(text, 10)
        times.append(time.perf_counter() - begun)
        assert all(
            text.replace("_", " ") in " \n".join((hit.tag.name, *hit.tag.aliases)).replace("_", " ") for hit in found
        )
    assert statistics.median(times) < 0.02
    assert max(times) < 0.1
