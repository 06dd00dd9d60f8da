"""Faces restored in whole jobs on a tiny model. The face and the network that restores it are stand-ins (tests/upscale has real ones)."""

import io

import numpy as np
import pytest
from PIL import Image

from modules.core.paths import Paths
from modules.core.settings import Settings
from modules.engine.build import build_engine
from modules.images.infotext import parse_infotext, to_request_values
from modules.jobs.executors.base import Cancel
from modules.requests.events import CopyReady, Failed, ImageReady, Order
from modules.requests.txt2img import make_request
from modules.upscale import faces
from modules.upscale.faces import Face
from modules.upscale.upscalers import Networks
from tests.detect.test_detectors import yolo
from tests.engine.test_detail import UNIT
from tests.tiny import write_tiny

SMALL = {"prompt": "a red star", "width": 64, "height": 64, "steps": 1, "sampler_name": "Euler a"}
GFPGAN = {"face_restoration_model": "GFPGAN"}


class Negative:
    """Stands for GFPGAN."""

    def raw(self, pixels, **options):
        assert options == {"randomize_noise": False}
        return -pixels


@pytest.fixture
def engine(tmp_path, monkeypatch):
    write_tiny(tmp_path / "models" / "Stable-diffusion" / "tiny.safetensors")
    yolo(tmp_path / "models" / "adetailer" / "spots.xml", [[32, 32, 16, 16, 0.9]])
    (tmp_path / "models" / "GFPGAN").mkdir()
    (tmp_path / "models" / "GFPGAN" / "GFPGANv1.4.pth").touch()
    monkeypatch.setattr(faces, "find_faces", lambda image: [Face(left=16, top=16, side=20)])
    monkeypatch.setattr(Networks, "open", lambda self, path, *, faces: Negative())
    return build_engine(paths=Paths(data=tmp_path), use_cpu=True)


def run(engine, options=None, **values):
    chosen = {"sd_model_checkpoint": "tiny", **(options or {})}
    order = Order(job="x", request=make_request({**SMALL, **values}), seed=7, options=Settings().changed(chosen).flat())
    return list(engine.run(order, Cancel()))


def pixels(event):
    return np.asarray(Image.open(io.BytesIO(event.data)).convert("RGB")).astype(int)


def test_faces_are_restored_where_the_request_or_the_setting_says_so(engine):
    (plain,) = (e for e in run(engine, GFPGAN) if isinstance(e, ImageReady))
    asked = run(engine, GFPGAN, restore_faces=True)
    (restored,) = (e for e in asked if isinstance(e, ImageReady))
    change = np.abs(pixels(restored) - pixels(plain)).max(axis=2)
    assert change[24:32, 24:32].max() > 8, "the negative of what was there"
    assert change[:4].max() == change[60:].max() == 0
    fields = parse_infotext(restored.infotext).fields
    assert fields["Face restoration"] == "GFPGAN" and "Face restoration" not in plain.infotext
    assert list(fields)[4:7] == ["Seed", "Face restoration", "Size"]
    assert to_request_values(parse_infotext(restored.infotext))["restore_faces"] is True
    assert asked[-1].info["restore_faces"] is True and asked[-1].info["face_restoration_model"] == "GFPGAN"
    on = {**GFPGAN, "face_restoration": True, "save_images_before_face_restoration": True}
    always = run(engine, on)
    assert [e.data for e in always if isinstance(e, ImageReady)] == [restored.data]
    (copy,) = (e for e in always if isinstance(e, CopyReady))
    assert copy.suffix == "-before-face-restoration" and (pixels(copy) == pixels(plain)).all()
    assert [e.data for e in run(engine, on, restore_faces=False) if isinstance(e, ImageReady)] == [plain.data]


def test_a_model_that_is_not_there_is_told_before_anything_is_drawn(engine):
    *rest, ended = run(engine, restore_faces=True)
    assert isinstance(ended, Failed) and ended.field == "restore_faces" and "choose GFPGAN" in ended.message
    assert not [e for e in rest if isinstance(e, ImageReady)]


def test_a_detail_pass_restores_its_own_faces(engine):
    unit = {**UNIT, "ad_denoising_strength": 0.1}
    first, second = (
        next(pixels(e) for e in run(engine, GFPGAN, detail=[given]) if isinstance(e, ImageReady))
        for given in (unit, {**unit, "ad_restore_face": True})
    )
    assert np.abs(first - second).max() > 8
