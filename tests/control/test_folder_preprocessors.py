"""Preprocessors whose models lie in folders as transformers and diffusers write them: their true classes, small, with random weights."""

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from modules.control.preprocessors import transformers_maps as maps
from modules.control.preprocessors.registry import Preprocessors
from modules.control.preprocessors.tools import Tools
from modules.core.paths import Paths
from modules.detect.detectors import Detectors
from modules.devices.choice import choose_compute
from modules.library.detectors import DetectorFiles
from modules.library.preprocessors import PreprocessorFiles
from modules.requests.preprocessors import WeightFile
from tests.control.random_weights import write_folder


def library(name: str) -> Any:
    """A library whose classes say less of their arguments than they take."""
    return importlib.import_module(name)


def depth_anything() -> tuple[Any, ...]:
    t = library("transformers")

    backbone = t.Dinov2Config(
        hidden_size=16,
        num_hidden_layers=4,
        num_attention_heads=2,
        image_size=28,
        patch_size=14,
        out_features=["stage1", "stage2", "stage3", "stage4"],
        apply_layernorm=True,
        reshape_hidden_states=False,
    )
    config = t.DepthAnythingConfig(
        backbone_config=backbone,
        reassemble_hidden_size=16,
        neck_hidden_sizes=[4, 8, 12, 16],
        fusion_hidden_size=8,
        head_hidden_size=4,
        patch_size=14,
    )
    processor = t.DPTImageProcessor(size={"height": 56, "width": 56}, ensure_multiple_of=14, keep_aspect_ratio=True)
    return t.DepthAnythingForDepthEstimation(config), processor


def upernet() -> tuple[Any, ...]:
    t = library("transformers")

    backbone = t.ConvNextConfig(
        hidden_sizes=[4, 8, 8, 16], depths=[1, 1, 1, 1], out_features=["stage1", "stage2", "stage3", "stage4"]
    )
    config = t.UperNetConfig(
        backbone_config=backbone, hidden_size=8, auxiliary_in_channels=8, auxiliary_channels=8, num_labels=150
    )
    return t.UperNetForSemanticSegmentation(config), t.SegformerImageProcessor(size={"height": 64, "width": 64})


def mask2former() -> tuple[Any, ...]:
    t = library("transformers")

    config = t.Mask2FormerConfig(
        backbone_config=swin(t.SwinConfig),
        feature_size=32,
        mask_feature_size=32,
        hidden_dim=32,
        encoder_feedforward_dim=32,
        encoder_layers=1,
        decoder_layers=2,
        num_attention_heads=2,
        dim_feedforward=32,
        num_queries=5,
        num_labels=3,
    )
    return t.Mask2FormerForUniversalSegmentation(config), t.Mask2FormerImageProcessor(size={"height": 64, "width": 64})


def swin(cls: Any) -> Any:
    return cls(
        embed_dim=8,
        depths=[1, 1, 1, 1],
        num_heads=[1, 1, 1, 1],
        window_size=4,
        image_size=64,
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )


def build(data: Path) -> Preprocessors:
    paths = Paths(data=data)
    return Preprocessors(Tools(PreprocessorFiles(paths), choose_compute(use_cpu=True), Detectors(DetectorFiles(paths))))


@pytest.fixture(scope="module")
def noise() -> np.ndarray:
    return np.random.default_rng(3).integers(0, 255, (48, 64, 3), np.uint8)


def home(data: Path, weight: WeightFile, number: int = -1) -> Path:
    """Where it is put, under a name that it may have."""
    return data / "models" / "ControlNetPreprocessor" / (weight.file, *weight.others)[number]


@pytest.mark.parametrize(
    ("name", "weight", "make"),
    [
        ("depth_anything", maps.DEPTH_ANYTHING, depth_anything),
        ("depth_anything_v2", maps.DEPTH_ANYTHING_2, depth_anything),
        ("seg_ufade20k", maps.UPERNET, upernet),
        ("composer_instances", maps.INSTANCES, mask2former),
    ],
)
def test_what_a_model_in_a_folder_gives(tmp_path, noise, name, weight, make):
    torch.manual_seed(0)
    write_folder(home(tmp_path, weight), *make())
    with torch.inference_mode():
        found = build(tmp_path).get(name).run(noise, 64)
    assert found.dtype == np.uint8 and found.shape == (64, 85, 3)
    if name.startswith("depth"):
        assert found.min() == 0 and found.max() == 255
    elif name.startswith("seg"):
        colours = {tuple(colour) for colour in np.unique(found.reshape(-1, 3), axis=0).tolist()}
        assert colours <= {tuple(colour) for colour in maps.ade_palette().tolist()}


def test_oneformer(tmp_path, noise):
    t = library("transformers")

    torch.manual_seed(0)
    config = t.OneFormerConfig(
        backbone_config=swin(t.SwinConfig),
        num_labels=150,
        num_queries=6,
        text_encoder_width=32,
        text_encoder_num_layers=1,
        text_encoder_vocab_size=600,
        text_encoder_context_length=8,
        text_encoder_n_ctx=2,
        conv_dim=32,
        mask_dim=32,
        hidden_dim=32,
        encoder_feedforward_dim=32,
        encoder_layers=1,
        decoder_layers=2,
        num_attention_heads=2,
        dim_feedforward=32,
        task_seq_len=8,
        is_training=False,
    )
    folder = write_folder(home(tmp_path, maps.ONEFORMER), t.OneFormerForUniversalSegmentation(config))
    words = [
        "<|startoftext|>",
        "<|endoftext|>",
        *"abcdefghijklmnopqrstuvwxyz",
        *(f"{c}</w>" for c in "abcdefghijklmnopqrstuvwxyz"),
    ]
    t.CLIPTokenizer(vocab={word: i for i, word in enumerate(words)}, merges=[]).save_pretrained(folder)
    with torch.inference_mode():
        found = build(tmp_path).get("oneformer_ade20k").run(noise, 64)
    assert found.shape == (64, 85, 3)
    colours = {tuple(colour) for colour in np.unique(found.reshape(-1, 3), axis=0).tolist()}
    assert colours <= {tuple(colour) for colour in maps.ade_palette().tolist()}


@pytest.mark.parametrize(
    ("name", "weight", "cls"),
    [
        ("depth_marigold", maps.MARIGOLD, "MarigoldDepthPipeline"),
        ("normal_marigold", maps.MARIGOLD_NORMALS, "MarigoldNormalsPipeline"),
    ],
)
def test_marigold(tmp_path, noise, name, weight, cls):
    diffusers = library("diffusers")
    t = library("transformers")

    torch.manual_seed(0)
    folder = home(tmp_path, weight)
    tokens = {word: i for i, word in enumerate(["<|startoftext|>", "<|endoftext|>", "a", "a</w>"])}
    pipeline = getattr(diffusers, cls)(
        unet=diffusers.UNet2DConditionModel(
            block_out_channels=(8, 16),
            layers_per_block=1,
            sample_size=8,
            in_channels=8,
            out_channels=4,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
            cross_attention_dim=16,
            attention_head_dim=4,
            norm_num_groups=4,
        ),
        vae=diffusers.AutoencoderKL(
            block_out_channels=(4, 8, 8, 8),
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            latent_channels=4,
            norm_num_groups=4,
        ),
        scheduler=diffusers.DDIMScheduler(),
        text_encoder=t.CLIPTextModel(
            t.CLIPTextConfig(
                vocab_size=4,
                hidden_size=16,
                intermediate_size=16,
                num_hidden_layers=1,
                num_attention_heads=2,
                eos_token_id=1,
                bos_token_id=0,
            )
        ),
        tokenizer=t.CLIPTokenizer(vocab=tokens, merges=[], model_max_length=8),
        default_processing_resolution=64,
        **({"scale_invariant": True, "shift_invariant": True} if "Depth" in cls else {"use_full_z_range": True}),
        default_denoising_steps=1,
        prediction_type="depth" if "Depth" in cls else "normals",
    )
    pipeline.save_pretrained(folder)
    with torch.inference_mode():
        first, again = (build(tmp_path).get(name).run(noise, 64, 1) for _ in range(2))
    assert first.shape == (64, 85, 3) and np.array_equal(first, again) and first.std() > 0


def test_a_caption(tmp_path, noise):
    t = library("transformers")

    torch.manual_seed(0)
    folder = tmp_path / "models" / "BLIP" / "blip-image-captioning-base"
    text = {
        "vocab_size": 40,
        "hidden_size": 16,
        "encoder_hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "bos_token_id": 5,
        "eos_token_id": 3,
        "sep_token_id": 3,
        "pad_token_id": 0,
    }
    vision = {
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "image_size": 32,
        "patch_size": 16,
    }
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[DEC]", *(f"w{i}" for i in range(34))]
    folder.mkdir(parents=True)
    (folder / "vocab.txt").write_text("\n".join(words))
    tokenizer = t.BertTokenizer(str(folder / "vocab.txt"))
    processor = t.BlipProcessor(t.BlipImageProcessor(size={"height": 32, "width": 32}), tokenizer)
    write_folder(
        folder, t.BlipForConditionalGeneration(t.BlipConfig(text_config=text, vision_config=vision)), processor
    )
    said = build(tmp_path).get("composer_caption").run(noise)
    assert isinstance(said, str)
