"""Preprocessors with networks, on random weights of the true layout: what they give, and what they say without weights."""

from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from modules.control.preprocessors import depth, embeddings, lineart, mlsd, normal_bae, openpose, soft_edges
from modules.control.preprocessors.networks import from_aux
from modules.control.preprocessors.registry import Preprocessors
from modules.control.preprocessors.tools import Tools
from modules.core.errors import ModelFileError, UnsafeModelFile
from modules.core.paths import Paths
from modules.detect.detectors import Detectors
from modules.devices.choice import choose_compute
from modules.library.detectors import DetectorFiles
from modules.library.preprocessors import PreprocessorFiles
from tests.control.random_weights import laid_out, write

SINGLE = (
    *("hed", "hed_safe", "scribble_hed", "pidinet", "pidinet_safe", "pidinet_scribble", "pidinet_sketch"),
    *("composer_sketch", "softedge_teed", "softedge_anyline", "lineart", "lineart_coarse", "lineart_anime", "mlsd"),
    *("depth", "normal_map", "composer_depth", "depth_leres", "normal_bae", "openpose_full", "openpose_faceonly"),
)


def build(data: Path) -> Preprocessors:
    paths = Paths(data=data)
    return Preprocessors(Tools(PreprocessorFiles(paths), choose_compute(use_cpu=True), Detectors(DetectorFiles(paths))))


def staged(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """OpenPose's files leave out the stage before a name."""
    return {name.partition(".")[2]: tensor for name, tensor in tensors.items()}


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """A data folder with every file, in folders as A1111's extension sorts them."""
    root = tmp_path_factory.mktemp("data")
    home = root / "models" / "ControlNetPreprocessor"
    models = from_aux("open_pose.model")
    norm = partial(torch.nn.InstanceNorm2d, affine=False, track_running_stats=False)
    teed = laid_out(from_aux("teed.ted").TED)
    files = {
        f"hed/{soft_edges.HED.file}": laid_out(from_aux("hed").ControlNetHED_Apache2),
        f"pidinet/{soft_edges.PIDINET.file}": {
            "state_dict": {f"module.{name}": t for name, t in laid_out(from_aux("pidi").pidinet).items()}
        },
        f"TEED/{soft_edges.TEED.file}": teed,
        f"Anyline/{soft_edges.MTEED.file}": teed,
        f"lineart/{lineart.FINE.file}": laid_out(partial(from_aux("lineart").Generator, 3, 1, 3)),
        f"lineart/{lineart.COARSE.file}": laid_out(partial(from_aux("lineart").Generator, 3, 1, 3), seed=1),
        f"lineart_anime/{lineart.ANIME.file}": laid_out(
            partial(from_aux("lineart_anime").UnetGenerator, 3, 1, 8, 64, norm_layer=norm, use_dropout=False)
        ),
        f"mlsd/{mlsd.WEIGHTS.file}": laid_out(from_aux("mlsd").MobileV2_MLSD_Large),
        f"midas/{depth.MIDAS.file}": laid_out(
            partial(from_aux("midas.midas.dpt_depth").DPTDepthModel, path=None, backbone="vitb_rn50_384")
        ),
        f"leres/{depth.LERES.file}": {
            "depth_model": laid_out(
                partial(from_aux("leres.leres.multi_depth_model_woauxi").RelDepthModel, backbone="resnext101")
            )
        },
        f"normal_bae/{normal_bae.WEIGHTS.file}": {
            "model": laid_out(
                lambda: from_aux("normalbae.nets.NNET").NNET(
                    SimpleNamespace(architecture="BN", sampling_ratio=0.4, importance_ratio=0.7)
                )
            )
        },
        f"openpose/{openpose.BODY.file}": staged(laid_out(models.bodypose_model)),
        f"openpose/{openpose.HAND.file}": staged(laid_out(models.handpose_model)),
        f"openpose/{openpose.FACE.file}": laid_out(from_aux("open_pose.face").FaceNet),
    }
    for name, tensors in files.items():
        write(home / name, tensors)
    return root


@pytest.fixture(scope="module")
def preprocessors(data):
    return build(data)


@pytest.fixture(scope="module")
def noise() -> np.ndarray:
    return np.random.default_rng(3).integers(0, 255, (48, 64, 3), np.uint8)


@pytest.mark.parametrize("name", SINGLE)
def test_what_a_network_gives(preprocessors, noise, name):
    with torch.inference_mode():
        found = preprocessors.get(name).run(noise, 64, *((64, 2) if name == "softedge_anyline" else ()))
    assert found.dtype == np.uint8 and found.shape == (64, 85, 3)


def test_hands_and_faces_are_looked_at(preprocessors):
    """No body is found by random weights: the two networks that look at parts of one, by themselves."""
    detector = preprocessors.tools.network("OpenPose", [openpose.BODY, openpose.HAND, openpose.FACE], openpose._open)
    crop = np.random.default_rng(4).integers(0, 255, (40, 40, 3), np.uint8)
    with torch.inference_mode():
        assert detector.face_estimation(crop).shape == (71, 40, 40)
        assert detector.hand_estimation.model(torch.zeros(1, 3, 64, 64)).shape == (1, 22, 8, 8)


def test_weights_make_the_picture(preprocessors, noise):
    with torch.inference_mode():
        fine, coarse = (preprocessors.get(name).run(noise, 64) for name in ("lineart", "lineart_coarse"))
    assert not np.array_equal(fine, coarse)


def test_two_networks_are_kept_and_let_go(preprocessors, noise):
    with torch.inference_mode():
        for name in ("hed", "pidinet", "softedge_teed"):
            preprocessors.get(name).run(noise, 64)
    assert len(preprocessors.tools._kept) == 2
    preprocessors.unload()
    assert not preprocessors.tools._kept


def test_what_is_missing_is_told(tmp_path, noise):
    with pytest.raises(
        ModelFileError, match=r"HED needs ControlNetHED.pth \(29 MB, https://huggingface.co/lllyasviel/"
    ):
        build(tmp_path).get("hed").run(noise)
    for name, preprocessor in build(tmp_path).items():
        if preprocessor.entry.weights and not preprocessor.entry.mask:
            with pytest.raises(ModelFileError, match="put it into models/ControlNetPreprocessor as"):
                preprocessor.run(noise)
            assert all(w.size > 10_000 and w.source.startswith("https://") for w in preprocessor.entry.weights), name


def test_wrong_files_are_refused(tmp_path, noise):
    home = tmp_path / "models" / "ControlNetPreprocessor"
    write(home / soft_edges.HED.file, laid_out(from_aux("pidi").pidinet))
    with pytest.raises(ModelFileError, match=r'"ControlNetHED.pth": not what HED is made of'):
        build(tmp_path).get("hed").run(noise)
    (home / lineart.FINE.file).write_bytes(b"<html>login</html>")
    with pytest.raises(ModelFileError, match="web page"):
        build(tmp_path).get("lineart").run(noise)

    class Worse:
        def __reduce__(self):
            import os

            return os.system, (f"touch {tmp_path / 'PWNED'}",)

    write(home / mlsd.WEIGHTS.file, {"state_dict": {}, "optimizer": Worse()})
    with pytest.raises(UnsafeModelFile, match="system"):
        build(tmp_path).get("mlsd").run(noise)
    assert not (tmp_path / "PWNED").exists()


def test_clip_vision_of_any_size(tmp_path, noise):
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    config = CLIPVisionConfig(
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=3,
        num_attention_heads=16,
        image_size=28,
        patch_size=14,
        hidden_act="gelu",
    )
    config.projection_dim = 8
    torch.manual_seed(0)
    model = CLIPVisionModelWithProjection(config).eval()
    write(tmp_path / "models" / "clip_vision" / embeddings.HUGE.file, model.state_dict())
    found = build(tmp_path).get("ip-adapter_clip_h").run(noise)
    assert {name: tuple(t.shape) for name, t in found.items()} == {
        "image_embeds": (1, 8),
        "last_hidden_state": (1, 5, 32),
        "penultimate": (1, 5, 32),
    }
    masked = (
        build(tmp_path)
        .get("ip-adapter_clip_h")
        .run(np.concatenate([noise, np.full((48, 64, 1), 255, np.uint8)], axis=2))
    )
    with torch.inference_mode():
        blank = model(pixel_values=torch.zeros(1, 3, 28, 28)).image_embeds
    assert torch.allclose(masked["image_embeds"], blank, atol=1e-6)
    assert not torch.allclose(found["image_embeds"], blank, atol=1e-3)
