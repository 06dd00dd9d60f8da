"""Settings: one table, on disk beside what other programs keep there."""

import json
import threading

import pytest

from modules.core.errors import InputError, StorageError, UnknownName
from modules.core.settings import Settings, SettingsFile, fields


def test_every_field_has_a_title_and_survives_its_own_default():
    for _, key, field in fields():
        assert field.title, key
    assert Settings().changed(Settings().flat()) == Settings()


def test_names_are_unique_over_sections():
    names = [key for _, key, _ in fields()]
    assert len(names) == len(set(names))


def test_changed_is_all_or_nothing():
    settings = Settings()
    with pytest.raises(InputError, match="eta_ancestral"):
        settings.changed({"samples_save": False, "eta_ancestral": 7})
    with pytest.raises(UnknownName, match="eta_ancestral"):
        settings.changed({"samples_save": False, "eta_ancestrel": 1})
    assert settings == Settings()
    assert settings.changed({"samples_save": False}).saving.samples_save is False


@pytest.mark.parametrize(
    "options",
    [
        {"eta_ancestral": float("nan")},
        {"eta_ancestral": True},
        {"CLIP_stop_at_last_layers": 1.5},
        {"samples_filename_pattern": "\udc00"},
        {"samples_filename_pattern": None},
        {"randn_source": ["CPU"]},
        {"samples_save": "maybe"},
    ],
)
def test_wrong_values(options):
    with pytest.raises(InputError, match=next(iter(options))):
        Settings().changed(options)


def test_D8_round_trip_and_foreign_keys(tmp_path):
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"sd_vae": "x.pt", "nested": {"a": [1, "\ud800"]}, "eta_ancestral": 0.5}))
    file = SettingsFile(path)
    assert file.current.sampler_parameters.eta_ancestral == 0.5
    file.update({"samples_save": False})
    stored = json.loads(path.read_text())
    assert (stored["sd_vae"], stored["nested"]) == ("x.pt", {"a": [1, "\ud800"]})
    assert (stored["samples_save"], stored["eta_ancestral"]) == (False, 0.5)
    assert SettingsFile(path).current == file.current


def test_refused_update_changes_nothing(tmp_path):
    path = tmp_path / "config.json"
    file = SettingsFile(path)
    file.update({"eta_ancestral": 0.5})
    before = path.read_bytes()
    with pytest.raises(InputError):
        file.update({"samples_save": False, "eta_ancestral": "x"})
    assert path.read_bytes() == before
    assert file.current.saving.samples_save is True


def test_R10_unwritable_file_changes_nothing(tmp_path):
    (tmp_path / "data").write_text("a file where the folder should be")
    file = SettingsFile(tmp_path / "data" / "config.json")
    with pytest.raises(StorageError):
        file.update({"samples_save": False})
    assert file.current == Settings()


BROKEN = [
    b"",
    b"{",
    b"null",
    b"[]",
    b"7",
    b'"x"',
    b"\xff\xfe\x00",
    b'{"a": ',
    b"[" * 100_000,
    b'{"a": ' + b"9" * 5000 + b"}",
]


@pytest.mark.parametrize("content", BROKEN, ids=range(len(BROKEN)))
def test_C6_broken_file_is_kept_aside(tmp_path, content, caplog):
    path = tmp_path / "config.json"
    path.write_bytes(content)
    file = SettingsFile(path)
    assert file.current == Settings()
    assert "config.json.broken" in caplog.text
    assert path.with_suffix(".json.broken").read_bytes() == content
    file.update({"samples_save": False})
    assert SettingsFile(path).current.saving.samples_save is False


def test_C6_wrong_value_in_the_file_costs_that_value_only(tmp_path, caplog):
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"eta_ancestral": "high", "samples_save": False, "CLIP_stop_at_last_layers": 2}))
    settings = SettingsFile(path).current
    assert settings == Settings().changed({"samples_save": False, "CLIP_stop_at_last_layers": 2})
    assert "eta_ancestral" in caplog.text


def test_C6_folder_in_place_of_the_file(tmp_path):
    (tmp_path / "config.json").mkdir()
    assert SettingsFile(tmp_path / "config.json").current == Settings()


def test_D8_updates_from_many_threads_are_all_kept(tmp_path):
    file = SettingsFile(tmp_path / "config.json")
    changes = [
        {"samples_save": False},
        {"eta_ancestral": 0.5},
        {"CLIP_stop_at_last_layers": 3},
        {"randn_source": "CPU"},
    ]
    for _ in range(10):
        file.update(Settings().flat())
        threads = [threading.Thread(target=file.update, args=(change,)) for change in changes]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        merged = {key: value for change in changes for key, value in change.items()}
        assert file.current == Settings().changed(merged)
        assert SettingsFile(tmp_path / "config.json").current == file.current


def test_the_bar_holds_settings_that_are_here():
    given = ["sd_vae", "sd_unet", "sd_vae", "CLIP_stop_at_last_layers"]  # sd_unet means nothing here
    bar = Settings().changed({"quicksettings_list": given}).user_interface.quicksettings_list
    assert bar == ("sd_vae", "CLIP_stop_at_last_layers")
    with pytest.raises(UnknownName, match=r'quicksettings_list "sd_vea" is not known. Nearest: sd_vae'):
        Settings().changed({"quicksettings_list": ["sd_vea"]})
    for wrong in ("sd_vae", [1], {"a": 1}):
        with pytest.raises(InputError, match="quicksettings_list"):
            Settings().changed({"quicksettings_list": wrong})


def test_bars_of_a1111_are_read(tmp_path, caplog):
    path = tmp_path / "config.json"
    for stored, expected in (
        ({"quicksettings": "sd_model_checkpoint, sd_vae"}, ("sd_model_checkpoint", "sd_vae")),
        ({"quicksettings": "sd_vae", "quicksettings_list": ["eta_ancestral"]}, ("eta_ancestral",)),
        ({"quicksettings_list": ["sd_vae", "of_some_extension"]}, ("sd_vae",)),
        ({"quicksettings_list": 5}, ("sd_model_checkpoint",)),
    ):
        path.write_text(json.dumps(stored))
        assert SettingsFile(path).current.user_interface.quicksettings_list == expected
    assert "of_some_extension" in caplog.text
