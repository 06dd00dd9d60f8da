"""The benchmark's topics on a small checkpoint of its own making: rows that hold what was measured."""

import json
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from modules.bench import caching, control, img2img, loading, networks, overhead, runtimes, tiers
from modules.bench.__main__ import main, parser, subject_of
from modules.bench.drawing import Drawing, Drawn, apart, decibels
from modules.bench.seeded import SD15, Sizes, _unet, sd_shapes, write_seeded
from modules.bench.subject import Subject, make_subject
from modules.bench.table import Column, Table, ratio
from modules.core.errors import AtelierError
from modules.core.flags import Flags
from modules.core.paths import CHECKPOINT, Paths
from modules.core.settings import Settings
from modules.devices.choice import choose_compute
from modules.library.checkpoints import Checkpoints
from modules.library.hashes import HashCache
from modules.requests.txt2img import make_request

SMALL = Sizes(unet=(32, 64), vae=(32,) * 4, blocks=1, text=64, layers=1)


@pytest.fixture
def subject(tmp_path) -> Subject:
    paths = Paths(data=tmp_path)
    write_seeded(paths.own(CHECKPOINT) / "small.safetensors", SMALL)
    checkpoint = Checkpoints(paths.networks, HashCache(tmp_path)).find("small")
    return Subject(
        checkpoint=checkpoint,
        folder=tmp_path,
        paths=paths,
        steps=2,
        size=64,
        pictures=1,
        rounds=1,
        flags=Flags(use_cpu=True, precision=("no_half",)),
        runtimes=("PyTorch bfloat16", "PyTorch float32, fused"),
    )


def test_a_checkpoint_by_its_path(tmp_path):
    """Whatever is called alike elsewhere."""
    write_seeded(tmp_path / "elsewhere" / "starter.safetensors", SMALL)
    subject = make_subject(
        tmp_path, ckpt=str(tmp_path / "elsewhere" / "starter.safetensors"), flags=["--use-cpu", "all"]
    )
    assert subject.checkpoint.path == tmp_path / "elsewhere" / "starter.safetensors"
    assert subject.flags.use_cpu
    assert subject.words[-2:] == ("--ckpt-dir", str(tmp_path / "elsewhere"))


def drawn(seconds, latent, pixel):
    latents, pixels = torch.full((1, 4, 8, 8), latent), torch.full((3, 64, 64), pixel)
    return Drawn(whole=seconds, sampling=seconds, used=seconds, calls=seconds, latents=latents, pixels=pixels)


def test_likeness_of_pictures_that_are_known():
    plain = drawn(4.0, 2.0, 0.5)
    pairs = [(drawn(1.0, 2.2, 0.6), plain), (drawn(2.0, 2.2, 0.6), plain), (drawn(3.0, 2.2, 0.6), plain)]
    assert apart(pairs) == pytest.approx(0.1)
    assert decibels(pairs) == pytest.approx(20.0)
    assert ratio((ours.used, base.used) for ours, base in pairs) == 0.5
    assert decibels([(plain, plain)]) is None


def test_a_table_for_people_and_its_rows():
    columns = (Column(name="name", label="who"), Column(name="share", label="share", form="{:.1%}"))
    rows = [{"name": "a", "share": 0.125}, {"name": "b", "share": "same"}, {"name": "c"}]
    said: list[str] = []
    assert Table(name="t", title="T", columns=columns, rows=iter(rows)).print(said.append) == rows
    assert said == ["\nT\n", "| who | share |", "|---|---:|", "| a | 12.5% |", "| b | same |", "| c |  |"]


def test_options_that_are_measured_are_requests():
    for values in (*caching.UNETS.values(), *caching.TRANSFORMERS.values()):
        Settings().changed(make_request(values).override_settings)


def test_the_seeded_checkpoint_is_of_sd_15s_size():
    counts: dict[str, int] = dict.fromkeys(("model.diffusion_model.", "first_stage_model.", "cond_stage_model."), 0)
    for name, shape in sd_shapes(SD15):
        prefix = next(prefix for prefix in counts if name.startswith(prefix))
        counts[prefix] += torch.Size(shape).numel()
    assert list(counts.values()) == [859_520_964, 83_653_863, 123_060_480]  # as published


def test_runtimes_and_their_fidelity(subject):
    (table,) = runtimes.tables(subject)
    row, fused = table.rows
    assert (row["name"], fused["name"]) == subject.runtimes
    assert fused["call"] < 1e-4
    assert 1e-4 < row["call"] < 0.1
    assert 0 < row["latents"] < 0.2
    assert row["psnr"] > 20
    assert all(row[name] > 0 for name in ("seconds", "quicker", "first", "ready"))


def test_a_runtime_that_turned_out_otherwise_says_so(subject):
    model = Drawing(subject, choose_compute(use_cpu=True)).load()
    said = ["The U-Net stays in bfloat16."]
    assert runtimes.told("OpenVINO int8", model, said) == "OpenVINO int8 (The U-Net stays in bfloat16.)"
    assert runtimes.told("OpenVINO int8", model, []) == "OpenVINO int8"


def test_tiers_hold_less_and_draw_the_same(subject):
    (table,) = tiers.tables(subject)
    whole, one, layer = table.rows
    assert whole["share"] == 1 > max(one["share"], layer["share"])
    assert min(one["weights"], layer["weights"]) > 0
    assert [row["latents"] for row in (whole, one, layer)] == [0, 0, 0]


def test_loading_is_held_against_reading(subject):
    (table,) = loading.tables(subject)
    rows = {row["name"]: row for row in table.rows}
    assert rows["switch"]["ratio"] > 0
    assert rows["after 2 switches"]["memory"] > 0


def test_computing_less_and_previews(subject):
    drawing = Drawing(subject, choose_compute(use_cpu=True))
    options = {name: caching.UNETS[name] for name in (caching.NONE, "DeepCache, interval 2")}
    again, deep = caching.measured(drawing, 1, options)
    assert (again["latents"], again["psnr"]) == (0, "same")
    assert deep["latents"] > 0
    shares = {row["name"]: row["share"] for row in caching.preview_shares(drawing, drawing.load(), subject)}
    assert set(shares) == {"Approx cheap", "Full"}


def test_a_whole_picture_is_more_than_its_steps(subject):
    (table,) = overhead.tables(subject)
    (row,) = table.rows
    assert row["name"] == "float32"
    assert row["whole"] > row["steps"] > 0 < row["decoding"]


def test_a_control_nets_share_of_a_step(subject):
    (row,) = control.table(subject, networks.computes(subject)).rows
    assert row["name"] == "float32" and min(row["with"], row["plain"]) > 0
    assert 0 < row["reckoned"] < 10  # of so small a network what takes the pixels in is most
    assert row["share"] == pytest.approx(row["with"] / row["plain"] - 1)


def test_a_seeded_controlnet_is_of_sd_15s_size(tmp_path):
    model: Any = SimpleNamespace(backbone=_unet(SD15)[0])
    assert sum(torch.Size(shape).numel() for _, shape in control.control_shapes(model)) == 361_279_120  # as published
    assert control.operations(model, 64, 64) == pytest.approx(0.353, abs=0.001)


def test_what_the_engine_refuses_is_told(subject):
    drawing = Drawing(subject, choose_compute(use_cpu=True))
    with pytest.raises(AtelierError, match="first_block_cache is for transformers"):
        drawing.draw(0, {"first_block_cache": {"threshold": 0.1}})


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["steps"], 'There is no topic "steps". Choose of runtimes, tiers'),
        (["--rounds", "0"], "--rounds is 0. Use 1 or more."),
        (["--size", "100"], "--size is 100. Use a multiple of 8"),
        (["--ckpt", "nothing"], "nothing"),
        (["--ckpt", "x", "--seeded"], "--seeded contradicts"),
        (["--flags=--nonsense"], "--nonsense"),
        (["--flags='"], "Close the quotes"),
        (["--rounds", "many"], "invalid int value: 'many'. See --help."),
        (["runtimes", "--runtimes", "OpenVINO bf"], "OpenVINO bf16"),
        (["--folder", "/nowhere/at/all"], "cannot be written"),
    ],
)
def test_bad_input_is_one_sentence(arguments, words, capsys):
    assert main(["--flags=--use-cpu all", *arguments]) == 2
    said = capsys.readouterr().err.strip()
    assert words in said
    assert "\n" not in said


def test_json_for_machines(monkeypatch):
    monkeypatch.setattr(overhead, "tables", lambda subject: [Table(name="t", title="", columns=(), rows=[{"a": 1}])])
    said: list[str] = []
    assert main(["overhead", "--json"], said.append) == 0
    found = json.loads(said[0])
    assert found["topics"] == {"t": [{"a": 1}]}
    assert found["machine"]["cores"] > 0


def test_modes_of_img2img_are_held_against_the_network(subject):
    (table,) = img2img.tables(subject)
    rows = {row["name"]: row for row in table.rows}
    assert list(rows) == list(img2img.modes(subject))
    for row in rows.values():
        assert row["whole"] > row["calls"] + row["coding"] > row["calls"] > 0
    assert rows["Ultimate SD upscale"]["calls"] > rows["img2img"]["calls"]  # four tiles are counted, not the last one


@pytest.mark.starter
def test_what_the_starter_draws_is_judged(tmp_path):
    subject = subject_of(parser().parse_args(["img2img"]), tmp_path)
    assert [table.name for table in img2img.tables(subject)] == ["img2img", "img2img times"]


def test_trials_of_img2img_are_scenes_of_one_thing_and_another_wish():
    first, again = ([*img2img.trials(4)] for _ in range(2))
    assert [trial.wish for trial in first] == [trial.wish for trial in again]
    for trial in first:
        assert trial.thing.kind != trial.other.things[0].kind
        left, top, right, bottom = trial.box
        assert 0 <= left < trial.thing.x < right <= 128 and 0 <= top < trial.thing.y < bottom <= 128
