"""Pictures too large for this machine: refused with both numbers before memory is asked for."""

import re
from types import SimpleNamespace

import numpy as np
import pytest

from modules.core.errors import InputError
from modules.core.paths import Paths
from modules.engine.build import build_engine
from modules.engine.sizes import check_memory, largest, least_for, least_for_any, per_cell
from modules.requests.events import Failed, ImageReady, Progress
from modules.requests.txt2img import make_request
from tests.engine.test_families import pictures, run
from tests.tiny import write_tiny

GIB = 2**30
SD1 = SimpleNamespace(block_out_channels=(320, 640, 1280, 1280))
FLUX = SimpleNamespace(num_attention_heads=24, attention_head_dim=128)


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    data = tmp_path_factory.mktemp("sizes")
    write_tiny(data / "models" / "Stable-diffusion" / "tiny.safetensors")
    return build_engine(paths=Paths(data=data), use_cpu=True)


def test_M22_16384_is_refused_with_need_and_have_before_a_step(engine, monkeypatch):
    models = engine._tools.models
    monkeypatch.setattr(models._kept, "_free", lambda device: 8 * GIB)
    *before, failed = run(engine, "tiny", width=16384, height=16384)
    assert isinstance(failed, Failed)
    assert (failed.kind, failed.field) == ("InputError", "width")
    need, have = re.findall(r"([\d,.]+) GB", failed.message)
    assert float(need.replace(",", "")) > float(have) == 8.0
    assert failed.message.startswith("width x height x batch_size is 16384 x 16384 x 1")
    assert not [event for event in before if isinstance(event, Progress | ImageReady)]
    assert len(pictures(run(engine, "tiny"))) == 1  # the next job


def test_more_than_the_pages_2048_is_drawn_where_it_fits(engine):
    found = pictures(run(engine, "tiny", width=2112, height=64, steps=1))
    assert np.asarray(found).shape[1:3] == (64, 2112)


def test_estimates_follow_the_family_the_batch_and_the_guidance(engine):
    model = engine._tools.models.load("tiny")
    one = least_for(make_request({"width": 1024, "height": 1024}), model, together=False)
    step = least_for(make_request({"width": 1024, "height": 1024, "batch_size": 8}), model, together=False)
    assert one < step
    assert least_for(make_request({"batch_size": 16}), model, together=True) > least_for(
        make_request({"batch_size": 16, "cfg_scale": 1}), model, together=True
    )
    assert per_cell(SD1, 2) * 64**2 < 0.1 * GIB  # 512 x 512
    assert per_cell(SD1, 4) * 2048**2 > 50 * GIB  # 16384 x 16384
    assert per_cell(FLUX, 2) * 2048**2 > 50 * GIB
    assert least_for_any(make_request({"width": 16384, "height": 16384}), 4) > 50 * GIB


def test_what_just_fits_is_not_refused():
    request = make_request({"width": 4096, "height": 4096})
    check_memory(request, GIB, GIB, "it")
    with pytest.raises(InputError, match="needs at least 1.0 GB of memory for that, 0.5 GB can be had"):
        check_memory(request, GIB, GIB // 2, "it")


@pytest.mark.parametrize(
    ("values", "pixels"),
    [
        ({"width": 640, "height": 512}, 640 * 512),
        ({"enable_hr": True}, 1024 * 1024),
        ({"enable_hr": True, "hr_resize_x": 2048}, 2048 * 2048),
        ({"enable_hr": True, "hr_resize_y": 768, "width": 256}, 384 * 768),
        ({"enable_hr": True, "hr_resize_x": 800, "hr_resize_y": 600}, 800 * 600),
    ],
)
def test_room_is_kept_for_the_largest_picture_asked_for(values, pixels):
    assert largest(make_request(values)) == pixels


def test_the_tier_is_chosen_for_the_size_asked_for(engine, monkeypatch):
    seen, tiers = [], engine._tools.models._tiers
    choose = tiers.choose

    def noted(*args, pixels, **more):
        seen.append(pixels)
        return choose(*args, pixels=pixels, **more)

    engine._tools.models.unload()
    monkeypatch.setattr(tiers, "choose", noted)
    run(engine, "tiny", width=128, height=64)
    assert seen == [128 * 64]
