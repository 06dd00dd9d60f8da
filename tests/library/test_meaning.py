"""The gallery's vectors: kept by file and encoder, compared, searched beside the other conditions."""

import base64
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from modules.core.errors import AtelierError, InputError, NotFound
from modules.images.encode import encode_png
from modules.jobs.meaning import MeaningSearch
from modules.library.album.album import Album
from modules.library.album.query import parse_query
from modules.requests.events import Done, Failed

COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255)}


def packed(vector) -> str:
    return base64.b64encode((np.array(vector) / np.linalg.norm(vector)).astype(np.float16).tobytes()).decode()


class Engine:
    """Its vectors are a picture's colour; words are the names of colours."""

    def __init__(self):
        self.encoder, self.asked, self.broken = "colours 1", 0, False

    def __call__(self, request):
        self.asked += 1
        if self.broken:
            return Failed(kind="ModelFileError", message="The encoder is gone. Put it back.")
        if request.text:
            vectors = [packed(np.array(COLOURS[request.text]) + 1.0)]
        else:
            vectors = [self._of(path) for path in request.paths]
        return Done(info={"encoder": self.encoder, "vectors": vectors})

    def _of(self, path):
        try:
            return packed(np.array(Image.open(path).getpixel((0, 0))) + 1.0)
        except OSError:
            return None


@pytest.fixture
def engine():
    return Engine()


@pytest.fixture
def search(tmp_path, engine):
    folder = tmp_path / "outputs"
    folder.mkdir()
    for name, colour in {**COLOURS, "pink": (255, 90, 90)}.items():
        text = f"a {name} wall\nSteps: 1, Seed: {sum(colour)}, Size: 8x8"
        (folder / f"{name}.png").write_bytes(encode_png(Image.new("RGB", (8, 8), colour), text))
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nno more")
    album = Album(tmp_path / "data", lambda: [folder], lambda: 30)
    album._scan()
    files = SimpleNamespace(find=lambda: SimpleNamespace(name=engine.encoder))
    made = MeaningSearch(album, files, engine, lambda: True)  # type: ignore[arg-type]
    made.store, made.album = album.store, album  # type: ignore[attr-defined]
    yield made
    album.close()


def named(search, ids):
    return [search.store.entry(id).path.stem for id in ids]


def test_the_nearest_come_first(search, engine):
    assert search.missing() == 5
    assert search.like_words("red", search.store.ids()) == []
    assert search._one_batch()
    assert search.missing() == 0
    everything = search.store.ids()
    assert named(search, search.like_words("red", everything))[:2] == ["red", "pink"]
    (red,) = search.store.ids("name:red")
    assert named(search, search.like_picture(red, everything))[:2] == ["red", "pink"]
    seeded = search.store.ids("seed:435 red", by_meaning=True)  # the words are not searched for, the seed is
    assert named(search, search.like_words("red", seeded)) == ["pink"]
    before = engine.asked
    search.like_words("red", everything)
    assert engine.asked == before  # words are remembered
    assert not search._one_batch()  # nothing is left, the broken picture is not tried again and again
    with pytest.raises(NotFound, match="not been looked at"):
        search.like_picture(search.store.ids("name:broken")[0], everything)


def test_a_file_that_changes_and_another_encoder_are_looked_at_anew(search, engine):
    search._one_batch()
    album = search.album
    path = album.store.entry(album.store.ids("name:blue")[0]).path
    path.write_bytes(encode_png(Image.new("RGB", (9, 9), (255, 0, 0)), "a wall"))
    album._scan()
    assert search.missing() == 1
    search._one_batch()
    assert named(search, search.like_words("red", album.store.ids()))[:2] in (["red", "blue"], ["blue", "red"])
    assert search.missing() == 0
    engine.encoder = "colours 2"  # also if the program starts with it: what the first one said counts no more
    assert (search.missing(), search.missing("bob")) == (5, 0)
    search._one_batch()
    assert search.missing() == 0
    version = album.store.version
    search.index.keep("colours 2", [(10**6, 0, packed([1, 0, 0]))])  # a picture that is gone meanwhile
    assert (search.missing(), album.store.version) == (0, version)


def test_an_encoder_that_is_gone_is_told_and_waited_for(search, engine, caplog):
    engine.broken = True
    assert not search._one_batch()
    assert "The encoder is gone" in caplog.text
    with pytest.raises(AtelierError, match="Put it back"):
        search.like_words("red", [])
    engine.broken = False
    assert search._one_batch()


def test_what_is_typed():
    assert parse_query('a "red fox" seed:3 model:anime', by_meaning=True).said == 'a "red fox"'
    assert parse_query("a fox").said == ""
    assert parse_query("similar:12").similar == 12
    for wrong in ("similar:x", "similar:-1", "similar:" + "9" * 30):
        with pytest.raises(InputError, match="is no picture"):
            parse_query(wrong)
