"""Selecting: what clicks and boxes give with no network, and Segment Anything and Grounding DINO on random weights."""

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from modules.control.preprocessors.networks import from_aux
from modules.control.preprocessors.tools import Tools
from modules.control.selecting import select
from modules.core.errors import InputError, ModelFileError
from modules.core.paths import Paths
from modules.detect.detectors import Detectors
from modules.devices.choice import choose_compute
from modules.library.detectors import DetectorFiles
from modules.library.preprocessors import PreprocessorFiles
from modules.library.segmenters import Segmenters
from modules.requests.pictures import Picture
from modules.requests.select import GRABCUT, SIMILAR, make_select_request
from tests.control.random_weights import laid_out, write, write_folder

PICTURE = Picture.of(b"")


@pytest.fixture(scope="module")
def square() -> np.ndarray:
    """A red square on blue ground, both a little noisy."""
    pixels = np.empty((80, 120, 3), np.uint8)
    pixels[:] = (30, 60, 200)
    pixels[20:60, 40:90] = (200, 40, 30)
    return pixels + np.random.default_rng(0).integers(0, 8, pixels.shape, np.uint8)


@pytest.fixture(scope="module")
def inside() -> np.ndarray:
    mask = np.zeros((80, 120), bool)
    mask[20:60, 40:90] = True
    return mask


def selected(pixels: np.ndarray, data: Path = Path("/nowhere"), **values: Any) -> np.ndarray:
    paths = Paths(data=data)
    tools = Tools(PreprocessorFiles(paths), choose_compute(use_cpu=True), Detectors(DetectorFiles(paths)))
    request = make_select_request({"picture": PICTURE, **values})
    with torch.inference_mode():
        return select(pixels, request, Segmenters(paths), tools)


@pytest.mark.parametrize(
    "told",
    [
        {"method": SIMILAR, "points": [(60, 40)]},
        {"method": GRABCUT, "box": (34, 14, 96, 66)},
        {"method": GRABCUT, "box": (96, 66, 34, 14)},
        {"method": GRABCUT, "points": [(65, 40)]},
    ],
)
def test_a_thing_is_selected_without_a_network(square, inside, told):
    found = selected(square, **told)
    assert found.shape == inside.shape and (found & inside).sum() / (found | inside).sum() > 0.95
    assert np.array_equal(found, selected(square, **told))


def test_tolerance_and_clicks_outside(square, inside):
    assert selected(square, method=SIMILAR, points=[(60, 40)], tolerance=255).all()
    assert not selected(square, method=SIMILAR, points=[(-50, 1e9)])[inside].any()
    assert selected(square, method=GRABCUT, box=(-1e9, -1e9, 1e9, 1e9)).shape == inside.shape


@pytest.mark.parametrize("shape", [(1, 1), (1, 3000), (3000, 1), (1, 2_000_000)])
def test_odd_shapes(shape):
    pixels = np.zeros((*shape, 3), np.uint8)
    for told in ({"method": SIMILAR, "points": [(0, 0)]}, {"method": GRABCUT, "points": [(0, 0)]}):
        assert selected(pixels, **told).shape == shape
    if shape != (1, 1):
        with pytest.raises(InputError, match="too narrow for Segment Anything. Take GrabCut."):
            selected(pixels, points=[(0, 0)])


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({}, "send points, a box or text"),
        ({"method": SIMILAR, "box": (0, 0, 5, 5)}, "cannot be Similar colours with a box: it takes a click"),
        ({"method": "Magic", "points": [(0, 0)]}, "must be one of"),
        ({"points": [(float("nan"), 0)]}, "finite number"),
        ({"points": [(0, 0)] * 65}, "at most 64"),
        ({"points": [(0, 0)], "tolerance": 300, "method": SIMILAR}, "at most 255"),
        ({"text": "x" * 2000}, "at most 1000"),
    ],
)
def test_wrong_requests_are_told(values, words):
    with pytest.raises(InputError, match=words):
        make_select_request({"picture": PICTURE, **values})


def test_what_is_missing_is_told(square, tmp_path):
    with pytest.raises(ModelFileError, match=r"needs mobile_sam.pt \(41 MB, https://huggingface.co/.*GrabCut"):
        selected(square, tmp_path, points=[(1, 1)])
    with pytest.raises(ModelFileError, match=r"mobile_sam.pt .* and grounding-dino-tiny \(690 MB"):
        selected(square, tmp_path, text="a hat")


def test_the_authors_file(square, tmp_path):
    make = from_aux("segment_anything.build_sam").sam_model_registry["vit_t"]
    path = write(tmp_path / "models" / "sam" / "mobile_sam.pt", laid_out(make))
    assert Segmenters(Paths(data=tmp_path)).segmenter() == path
    found = selected(square, tmp_path, points=[(60, 40)], away=[(5, 5)], box=(30, 10, 100, 70))
    assert found.shape == (80, 120) and found.dtype == bool
    write(path, {"weight": torch.zeros(2)})
    with pytest.raises(ModelFileError, match="no Segment Anything of a known size"):
        selected(square, tmp_path, points=[(60, 40)])


def sam(data: Path) -> Path:
    """A small one in a folder."""
    t: Any = importlib.import_module("transformers")
    vision = t.SamVisionConfig(
        hidden_size=16,
        output_channels=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=64,
        patch_size=16,
        window_size=2,
        global_attn_indexes=[1],
        num_pos_feats=8,
        mlp_dim=16,
    )
    prompt = t.SamPromptEncoderConfig(hidden_size=16, image_size=64, patch_size=16)
    decoder = t.SamMaskDecoderConfig(
        hidden_size=16, mlp_dim=16, num_hidden_layers=1, num_attention_heads=2, iou_head_hidden_dim=16
    )
    config = t.SamConfig(vision_config=vision, prompt_encoder_config=prompt, mask_decoder_config=decoder)
    processor = t.SamProcessor(
        t.SamImageProcessor(
            size={"longest_edge": 64},
            mask_size={"longest_edge": 16},
            pad_size={"height": 64, "width": 64},
            mask_pad_size={"height": 16, "width": 16},
        )
    )
    torch.manual_seed(0)
    return write_folder(data / "models" / "sam" / "sam-tiny", t.SamModel(config), processor)


def sam2(data: Path) -> Path:
    """A small one of the second generation."""
    t: Any = importlib.import_module("transformers")
    backbone = t.Sam2HieraDetConfig(
        hidden_size=8,
        num_attention_heads=1,
        image_size=[64, 64],
        blocks_per_stage=[1, 1, 2, 1],
        embed_dim_per_stage=[8, 16, 32, 64],
        num_attention_heads_per_stage=[1, 2, 4, 8],
        window_size_per_stage=[8, 4, 4, 4],
        global_attention_blocks=[3],
        window_positional_embedding_background_size=[4, 4],
    )
    vision = t.Sam2VisionConfig(
        backbone_config=backbone,
        backbone_channel_list=[64, 32, 16, 8],
        backbone_feature_sizes=[[16, 16], [8, 8], [4, 4]],
        fpn_hidden_size=32,
    )
    prompt = {"hidden_size": 32, "image_size": 64, "patch_size": 16}
    decoder = {
        "hidden_size": 32,
        "mlp_dim": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "iou_head_hidden_dim": 32,
    }
    config = t.Sam2Config(vision_config=vision, prompt_encoder_config=prompt, mask_decoder_config=decoder)
    sides = {"size": {"height": 64, "width": 64}, "mask_size": {"height": 16, "width": 16}}
    torch.manual_seed(0)
    processor = t.Sam2Processor(t.Sam2ImageProcessor(**sides))
    return write_folder(data / "models" / "sams" / "sam2-tiny", t.Sam2Model(config), processor)


@pytest.mark.parametrize("make", [sam, sam2])
def test_a_folder_of_transformers(square, tmp_path, make):
    assert Segmenters(Paths(data=tmp_path)).segmenter() is None
    folder = make(tmp_path)
    assert Segmenters(Paths(data=tmp_path)).segmenter() == folder
    for told in ({"points": [(60, 40)], "away": [(3, 3)]}, {"box": (30, 10, 100, 70)}):
        assert selected(square, tmp_path, **told).shape == (80, 120)


def test_words(square, tmp_path):
    t: Any = importlib.import_module("transformers")
    sam(tmp_path)
    folder = tmp_path / "models" / "grounding-dino" / "tiny"
    folder.mkdir(parents=True)
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", "?", "a", "hat", "cat"]
    (folder / "vocab.txt").write_text("\n".join(words))
    backbone = t.SwinConfig(
        embed_dim=8,
        depths=[1, 1, 1, 1],
        num_heads=[1, 1, 1, 1],
        window_size=4,
        image_size=64,
        out_features=["stage2", "stage3", "stage4"],
    )
    text = t.BertConfig(vocab_size=10, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16)
    config = t.GroundingDinoConfig(
        backbone_config=backbone,
        text_config=text,
        d_model=32,
        encoder_layers=1,
        decoder_layers=2,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=16,
        decoder_ffn_dim=16,
        num_queries=6,
        num_feature_levels=4,
    )
    torch.manual_seed(0)
    images = t.GroundingDinoImageProcessor(size={"shortest_edge": 64, "longest_edge": 96})
    processor = t.GroundingDinoProcessor(images, t.BertTokenizer(str(folder / "vocab.txt")))
    write_folder(folder, t.GroundingDinoForObjectDetection(config), processor)
    assert selected(square, tmp_path, text="A hat, a cat", confidence=0.0).shape == (80, 120)
    with pytest.raises(InputError, match=r'text "a hat" is nowhere in the picture with confidence 1'):
        selected(square, tmp_path, text="a hat", confidence=1.0)
