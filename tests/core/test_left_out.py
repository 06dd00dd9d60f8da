"""A1111's options and flags that mean nothing here."""

import logging
import re
from pathlib import Path

import pytest

from modules.core.errors import InputError
from modules.core.flags import parse_flags, parser
from modules.core.left_out import LEFT_OUT, LEFT_OUT_FLAGS, ONLY_DEFAULT
from modules.core.settings import Settings, fields

TABLE = (Path(__file__).parents[2] / "docs" / "a1111.md").read_text("utf-8")


def test_they_are_taken_and_change_nothing():
    settings = Settings()
    assert settings.changed({"show_progressbar": False, "lora_functional": True, **ONLY_DEFAULT}) == settings
    assert settings.changed({"save_mask": True, "eta_ddim": 0.5}).sampler_parameters.eta_ddim == 0.5


def test_none_is_taken_that_would_change_the_picture():
    with pytest.raises(InputError, match="sdxl_crop_top is 64: pictures are drawn as with 0 here. Leave it out."):
        Settings().changed({"sdxl_crop_top": 64})


def test_no_setting_of_ours_is_among_them():
    assert {name for _, name, _ in fields()}.isdisjoint({*LEFT_OUT, *ONLY_DEFAULT})


def test_flags_are_taken_and_told(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        flags = parse_flags(["--opt-channelslast", "--loglevel", "INFO", "--port", "7000", "--data-dir", str(tmp_path)])
    assert flags.port == 7000
    assert "--opt-channelslast has no effect here: memory is planned from what there is." in caplog.text


def test_the_table_tells_of_each_setting_option_and_flag():
    told = set(re.findall(r"`([A-Za-z0-9_-]+)`", TABLE))
    flags = {flag for action in parser()._actions for flag in action.option_strings if flag.startswith("--")}
    assert {*LEFT_OUT, *ONLY_DEFAULT, *LEFT_OUT_FLAGS} <= told
    assert {name for name in told if name.startswith("--")} <= flags
