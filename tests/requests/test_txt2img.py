"""The request: frozen, checked, picklable; and the catalogue that its names are looked up in."""

import pickle

import pytest
from pydantic import ValidationError

from modules.core.errors import InputError, UnknownName
from modules.requests.catalogue import SHIPPED, Catalogue, keep_catalogue, read_catalogue
from modules.requests.generation import MAX_SEED, limits
from modules.requests.txt2img import Txt2ImgRequest, make_request


def test_defaults_are_good():
    request = make_request({})
    assert (request.width, request.steps, request.count, request.save_images) == (512, 20, 1, True)


def test_frozen_and_picklable():
    request = make_request({"prompt": "x", "n_iter": 2, "batch_size": 3})
    with pytest.raises(ValidationError):
        request.steps = 5  # type: ignore[misc]
    assert pickle.loads(pickle.dumps(request)) == request
    assert Txt2ImgRequest.model_validate_json(request.model_dump_json()) == request
    assert request.count == 6


@pytest.mark.parametrize("field", ["steps", "cfg_scale", "width", "height", "n_iter", "batch_size", "seed"])
def test_limits_are_the_limits(field):
    found = limits(field)
    step = found.get("step", 1)
    for value in (found["minimum"], found["maximum"]):
        other = {"width": 64, "height": 64} if field == "batch_size" else {}
        assert getattr(make_request({**other, field: value}), field) == value
    for value in (found["minimum"] - step, found["maximum"] + step):
        with pytest.raises(InputError) as caught:
            make_request({field: value})
        assert caught.value.field == field
        assert str(value) in caught.value.message
        assert "at least" in caught.value.message or "at most" in caught.value.message


def test_one_step_off():
    with pytest.raises(InputError, match="multiple of 8"):
        make_request({"width": 513})


def test_unknown_field_is_named():
    with pytest.raises(InputError, match="stepz") as caught:
        make_request({"stepz": 1})
    assert caught.value.field == "stepz"


def test_seeds_of_all_pictures_fit():
    assert make_request({"seed": MAX_SEED - 3, "n_iter": 4}).count == 4
    with pytest.raises(InputError, match="seed"):
        make_request({"seed": MAX_SEED - 3, "n_iter": 5})
    assert make_request({"seed": -1, "n_iter": 1000}).seed == -1


def test_shipped_catalogue_is_read_when_nothing_else_is_there(tmp_path):
    shipped = Catalogue.model_validate_json(SHIPPED.read_bytes())
    assert shipped.samplers
    for content in (None, b"", b"{", b"[]", b'{"samplers": 7}', b"\xff", b"[" * 100_000):
        if content is not None:
            (tmp_path / "kept.json").write_bytes(content)
        assert read_catalogue(tmp_path / "kept.json") == shipped


def test_catalogue_is_kept(tmp_path):
    shipped = read_catalogue(SHIPPED)
    catalogue = Catalogue(samplers=shipped.samplers[:2], scripts=shipped.scripts, preprocessors=shipped.preprocessors)
    keep_catalogue(catalogue, tmp_path / "cache" / "kept.json")
    assert read_catalogue(tmp_path / "cache" / "kept.json") == catalogue
    keep_catalogue(Catalogue(samplers=shipped.samplers[:2]), tmp_path / "old.json")
    assert read_catalogue(tmp_path / "old.json") == shipped, "another version's, without these scripts"
    (tmp_path / "file").write_text("")
    keep_catalogue(catalogue, tmp_path / "file" / "kept.json")  # a cache that cannot be written is no fault


def test_every_name_and_alias_finds_its_sampler():
    catalogue = read_catalogue(SHIPPED)
    for sampler in catalogue.samplers:
        for name in (sampler.name, sampler.name.upper(), f" {sampler.name} ", *sampler.aliases):
            assert catalogue.sampler_and_schedule(name, None)[0] == sampler
    for schedule in catalogue.schedules:
        for name in (schedule.name, schedule.label, *schedule.aliases):
            assert catalogue.sampler_and_schedule("Euler", name)[1] == schedule


def test_old_combined_names():
    catalogue = read_catalogue(SHIPPED)
    sampler, schedule = catalogue.sampler_and_schedule("DPM++ 2M Karras", "Automatic")
    assert (sampler.name, schedule.label) == ("DPM++ 2M", "Automatic")  # Karras is what Automatic means for it
    sampler, schedule = catalogue.sampler_and_schedule("Euler Karras", None)
    assert (sampler.name, schedule.label) == ("Euler", "Karras")


@pytest.mark.parametrize("name", ["", " ", "Karras", "x" * 100_000, "\ud800", "Euler Nope"])
def test_unknown_samplers(name):
    with pytest.raises(UnknownName) as caught:
        read_catalogue(SHIPPED).sampler_and_schedule(name, None)
    assert caught.value.field == "sampler_name"
    assert len(caught.value.message) < 300


@pytest.mark.parametrize(
    ("given", "kept"), [(None, None), ("", None), ("None", None), (" ", None), ("x [0a]", "x [0a]")]
)
def test_refiner(given, kept):
    assert make_request({"refiner_checkpoint": given}).refiner_checkpoint == kept
    for wrong in (-0.1, 1.1):
        with pytest.raises(InputError, match="refiner_switch_at is"):
            make_request({"refiner_switch_at": wrong})
