"""The styles of a tab: applied, edited, found in pasted infotexts."""

import pytest

from webui.parts.styles import StyleEditor, pasted_styles


@pytest.fixture
def styles(service):
    service.styles.save("Ink", "{prompt}, ink", "photo")
    return service.styles


@pytest.fixture
def editor(service, styles):
    return StyleEditor(service)


def test_the_menu_holds_the_styles_and_generate_uses_them(tab, styles):
    assert tab.menus([])["styles"] == ["Ink"]
    assert tab.fields["styles"] is tab.top.styles.styles


def test_styles_are_applied(editor):
    assert editor.apply("a cat", None, ["Ink"]) == ("a cat, ink", "photo", [])
    with pytest.raises(Exception, match="Nearest: Ink"):
        editor.apply("a cat", "", ["Inc"])


def test_styles_are_edited(editor):
    assert editor.open(["Ink"])[2:] == ["{prompt}, ink", "photo"]
    assert editor.open(None)[2:] == ["", ""]
    name, menu = editor.save("Oil", "oil", "")
    assert (name["value"], menu["choices"], "value" in menu) == ("Oil", ["Ink", "Oil"], False)
    name, menu = editor.delete("Ink", ["Ink"])
    assert (menu["choices"], menu["value"]) == (["Oil"], [])
    for wrong in (None, "", "gone"):
        with pytest.raises(Exception, match="No style is chosen|not known"):
            editor.delete(wrong, [])


def test_pasted_prompts_give_their_styles_back(styles):
    values = {"prompt": "a cat, ink", "negative_prompt": "photo", "steps": 3}
    bare = {"prompt": "a cat", "negative_prompt": "", "steps": 3}
    assert pasted_styles(values, styles, "Apply if any") == {**bare, "styles": ["Ink"]}
    assert pasted_styles(values, styles, "Discard") == bare
    assert pasted_styles(values, styles, "Ignore") == values
    assert pasted_styles({"prompt": "a dog"}, styles, "Apply if any") == {"prompt": "a dog"}
