"""Style sheets: A1111's file read and written, applied, and taken out of prompts again."""

import pytest

from modules.core.errors import InputError, StorageError, UnknownName
from modules.core.paths import Paths
from modules.library.styles import Style, Styles, extracted, merged, with_styles
from modules.requests.txt2img import make_request

SHEET = (
    "\ufeffname,prompt,negative_prompt,mine\r\n"
    "Photo,photo of {prompt}; sharp,blurry,kept\r\n"
    '"Two\nlines","oil, ""thick"" paint",,\r\n'
    "broken\r\n"
    ",nameless,,\r\n"
    "Long,a,b,c,d,e,f\r\n"
)


@pytest.fixture
def styles(tmp_path):
    (tmp_path / "styles.csv").write_text(SHEET, "utf-8", newline="")
    return Styles(Paths(data=tmp_path))


def text(tmp_path):
    return (tmp_path / "styles.csv").read_bytes().decode("utf-8-sig")


def test_C6_broken_rows_lose_no_others(styles):
    found = styles.all()
    assert list(found) == ["Photo", "Two\nlines", "broken", "Long"]
    assert (found["Photo"].prompt, found["Photo"].negative_prompt) == ("photo of {prompt}; sharp", "blurry")
    assert found["Two\nlines"].prompt == 'oil, "thick" paint'
    assert (found["broken"].prompt, found["broken"].negative_prompt) == ("", "")


def test_F12_a_bad_row_is_named_and_loses_no_others(tmp_path, caplog):
    sheet = tmp_path / "styles.csv"
    rows = ["name,prompt,negative_prompt", "First,a,b", f"Huge,{'x' * 2**20},", 'Nul,a\0b,"c,\0"', "Short", "Last,y,z"]
    sheet.write_text("\r\n".join(rows), "utf-8", newline="")
    before = sheet.read_bytes()
    styles = Styles(Paths(data=tmp_path))
    found = styles.all()
    assert list(found) == ["First", "Nul", "Short", "Last"]
    assert (found["Nul"].prompt, found["Nul"].negative_prompt) == ("ab", "c,")
    assert "a row behind line 2 is left out" in caplog.text
    with pytest.raises(StorageError, match="Mend it in a text editor"):  # which would lose the row
        styles.save("New", "n", "")
    assert sheet.read_bytes() == before


@pytest.mark.parametrize("content", ["prompt,negative_prompt\r\na,b\r\n", f"name{'x' * 2**20},prompt\r\na,b\r\n"])
def test_F12_a_sheet_without_names_gives_no_styles_and_is_kept(tmp_path, content):
    (tmp_path / "styles.csv").write_text(content, "utf-8", newline="")
    styles = Styles(Paths(data=tmp_path))
    assert styles.all() == {}


def test_F12_names_that_a_spreadsheet_would_compute_stay_names(tmp_path):
    styles = Styles(Paths(data=tmp_path))
    names = ["=cmd|'/c calc'!A1", "+1", "-2", "@x", '=HYPERLINK("https://evil.example","x, y")']
    for name in names:
        styles.save(name, name, f"{name}\r\nsecond,line")
    found = styles.all()
    assert [(one.name, one.prompt, one.negative_prompt) for one in found.values()] == [
        (name, name, f"{name}\r\nsecond,line") for name in names
    ]
    with pytest.raises(InputError, match="printable"):
        styles.save("a\0b", "", "")


def test_writing_keeps_what_it_does_not_know(styles, tmp_path):
    styles.save("Photo", "new {prompt}", "")
    styles.save("Fresh", "x, y", "z")
    assert "Photo,new {prompt},,kept\r\n" in text(tmp_path)
    assert 'Fresh,"x, y",z,\r\n' in text(tmp_path)
    assert "Long,a,b,c,d,e,f\r\n" in text(tmp_path)
    assert "broken\r\n" in text(tmp_path)
    styles.delete("Photo")
    assert list(styles.all()) == ["Two\nlines", "broken", "Long", "Fresh"]
    with pytest.raises(UnknownName, match='styles "Photo" is not known'):
        styles.delete("Photo")
    with pytest.raises(InputError, match="must be 1 to 200 printable characters"):
        styles.save("\n", "x", "")
    assert not list(tmp_path.glob(".atelier*"))


def test_C6_no_sheet_and_strange_ones(tmp_path):
    styles = Styles(Paths(data=tmp_path))
    assert styles.all() == {}
    styles.save("First", "a", "b")
    assert text(tmp_path) == "name,prompt,negative_prompt\r\nFirst,a,b\r\n"
    (tmp_path / "styles.csv").write_text("name,text\nOld,an old one\n", "utf-8")
    assert styles.all()["Old"].prompt == "an old one"
    styles.save("New", "n", "")
    assert {name: style.prompt for name, style in styles.all().items()} == {"Old": "an old one", "New": "n"}
    (tmp_path / "styles.csv").write_bytes(b"\x00\xff\xfe" * 100)
    assert styles.all() == {}
    (tmp_path / "styles.csv").unlink()
    (tmp_path / "styles.csv").mkdir()
    assert styles.all() == {}
    with pytest.raises(StorageError):
        styles.save("x", "", "")


def test_a_sheet_in_another_encoding_is_read_and_never_written_over(tmp_path):
    sheet = tmp_path / "styles.csv"
    sheet.write_bytes("name,prompt,negative_prompt\nCaf\xe9,au lait,\n".encode("latin-1"))
    styles = Styles(Paths(data=tmp_path))
    assert len(styles.all()) == 1
    before = sheet.read_bytes()
    with pytest.raises(StorageError, match="is not UTF-8"):
        styles.save("New", "n", "")
    assert sheet.read_bytes() == before
    sheet.write_bytes(b'name,prompt,negative_prompt\nA,"' + b"x" * 140_000 + b'",\n')
    with pytest.raises(StorageError, match="cannot be read"):
        styles.save("New", "n", "")


def test_several_sheets(tmp_path):
    (tmp_path / "one.csv").write_text("name,prompt,negative_prompt\nA,1,\nB,1,\n", "utf-8")
    (tmp_path / "two.csv").write_text("name,prompt,negative_prompt\nB,2,\n", "utf-8")
    styles = Styles(Paths(data=tmp_path, styles=("*.csv", "gone.csv")))
    assert {name: style.prompt for name, style in styles.all().items()} == {"A": "1", "B": "2"}
    styles.save("B", "3", "")
    assert "B,3," in (tmp_path / "two.csv").read_text("utf-8-sig")
    assert "B,1," in (tmp_path / "one.csv").read_text("utf-8")


def test_prompts_with_styles(styles):
    assert merged("x, {prompt}, y", "cat") == "x, cat, y"
    assert merged("x", " cat ") == "cat, x"
    assert merged("", "cat") == "cat"
    request = make_request({"prompt": "a cat", "hr_prompt": "a dog", "styles": "Photo, Long"})
    done = with_styles(request, styles)
    assert (done.prompt, done.negative_prompt) == ("photo of a cat; sharp, a", "blurry, b")
    assert (done.hr_prompt, done.hr_negative_prompt, done.styles) == ("photo of a dog; sharp, a", "", ())
    with pytest.raises(UnknownName, match="Nearest: Photo"):
        with_styles(make_request({"styles": ["Phoot"]}), styles)


def test_styles_are_found_in_prompts():
    known = [Style(name="P", prompt="photo of {prompt}", negative_prompt="bad"), Style(name="Q", prompt="best, 4k")]
    assert extracted("photo of a cat, best,  4k", "dull, bad", known) == (["Q", "P"], "a cat", "dull")
    assert extracted("a cat", "bad", known) == ([], "a cat", "bad")
    assert extracted("best, 4k", "", known) == (["Q"], "", "")
