"""Which localisation a browser's languages ask for."""

import pytest

from modules.library.localizations import preferred


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ("zh-CN,zh;q=0.9,en;q=0.8", "zh_CN"),
        ("zh-Hans-CN", "zh_CN"),
        ("zh-TW", "None"),
        ("en-GB,zh;q=0.5", "None"),
        ("zh;q=0.3,de-AT;q=0.8", "de_DE"),
        ("fr,de;q=0.5", "de_DE"),
        ("*", "None"),
        ("", "None"),
        ("zh;q=much,,;", "zh_CN"),
        ("de_DE" * 5000, "None"),
    ],
)
def test_the_first_language_that_is_there(wanted, found):
    assert preferred(["de_DE", "zh_CN"], wanted) == found
