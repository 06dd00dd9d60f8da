"""Depth, normals and segmentation by models in folders as transformers and diffusers write them."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from modules.control.preprocessors.networks import batch_of, from_aux, normalised, quiet, spread
from modules.control.preprocessors.pixels import Pixels, at_resolution, resized, rgb, to_bytes
from modules.control.preprocessors.preprocessor import Look, Work
from modules.requests.preprocessors import RESOLUTION, PreprocessorEntry, Slider, WeightFile

DEPTH_ANYTHING = WeightFile(
    file="depth-anything-large-hf",
    size=1_340_000_000,
    repo="LiheYoung/depth-anything-large-hf",
    others=("depth-anything-base-hf", "depth-anything-small-hf"),
    licence="Apache 2.0",
)
DEPTH_ANYTHING_2 = WeightFile(
    file="Depth-Anything-V2-Large-hf",
    size=1_340_000_000,
    repo="depth-anything/Depth-Anything-V2-Large-hf",
    others=("Depth-Anything-V2-Base-hf", "Depth-Anything-V2-Small-hf"),
    licence="CC BY-NC 4.0; Depth-Anything-V2-Small-hf is Apache 2.0",
)
MARIGOLD = WeightFile(
    file="marigold-depth-lcm-v1-0",
    size=5_200_000_000,
    repo="prs-eth/marigold-depth-lcm-v1-0",
    others=("marigold-depth-v1-1",),
)
MARIGOLD_NORMALS = WeightFile(
    file="marigold-normals-lcm-v0-1",
    size=5_200_000_000,
    repo="prs-eth/marigold-normals-lcm-v0-1",
    others=("marigold-normals-v1-1",),
)
UPERNET = WeightFile(
    file="upernet-convnext-small", size=328_000_000, repo="openmmlab/upernet-convnext-small", licence="MIT"
)
INSTANCES = WeightFile(
    file="mask2former-swin-small-coco-instance", size=275_000_000, repo="facebook/mask2former-swin-small-coco-instance"
)
ONEFORMER = WeightFile(
    file="oneformer_ade20k_swin_large",
    size=880_000_000,
    repo="shi-labs/oneformer_ade20k_swin_large",
    others=("oneformer_ade20k_swin_tiny",),
    licence="MIT",
)

STEPS = 4
"""Of Marigold's sampler."""

SHORT, LONG = 640, 2560
"""Pixels of the shorter side of what OneFormer sees, and at most of the longer."""


def _open(model: str, folder: Path) -> tuple[Any, Any]:
    """The image processor and the model (the class of transformers of that name) in a folder."""
    import transformers

    with quiet():
        network = getattr(transformers, model).from_pretrained(folder, local_files_only=True)
        processor = transformers.AutoImageProcessor.from_pretrained(folder, local_files_only=True)
    return processor, network.eval().requires_grad_(False)


def _open_depth(folder: Path) -> tuple[Any, Any]:
    return _open("AutoModelForDepthEstimation", folder)


def _open_segmenter(folder: Path) -> tuple[Any, Any]:
    return _open("AutoModelForSemanticSegmentation", folder)


def _open_instances(folder: Path) -> tuple[Any, Any]:
    return _open("AutoModelForUniversalSegmentation", folder)


def depth(work: Work, weight: WeightFile) -> Pixels:
    """White is near."""
    pixels = at_resolution(work.image, work.resolution)
    processor, network = work.tools.network(weight.file, [weight], _open_depth)
    network.to(work.tools.device)
    seen = processor(images=Image.fromarray(pixels), return_tensors="pt").to(work.tools.device)
    found = network(**seen).predicted_depth[None].float()
    found = torch.nn.functional.interpolate(found, pixels.shape[:2], mode="bicubic", align_corners=False)
    return rgb(to_bytes(spread(found[0, 0].cpu().numpy()) * 255))


def coloured(classes: np.ndarray, palette: np.ndarray) -> Pixels:
    """A map of class numbers (H, W) in the colours of a palette (N, 3); numbers beyond it begin again."""
    return np.ascontiguousarray(palette[classes.astype(np.int64) % len(palette)].astype(np.uint8))


def ade_palette() -> np.ndarray:
    """The 150 colours of ADE20K's classes, as segmentation models for ControlNet know them."""
    return np.array(from_aux("util").ade_palette(), np.uint8)


def upernet(work: Work) -> Pixels:
    """ADE20K's classes in their colours."""
    pixels = at_resolution(work.image, work.resolution)
    processor, network = work.tools.network("seg_ufade20k", [UPERNET], _open_segmenter)
    network.to(work.tools.device)
    seen = processor(images=Image.fromarray(pixels), return_tensors="pt").to(work.tools.device)
    found = processor.post_process_semantic_segmentation(network(**seen), target_sizes=[pixels.shape[:2]])[0]
    return coloured(found.cpu().numpy(), ade_palette())


def instances(work: Work) -> Pixels:
    """Each thing that was found in a colour of its own on black."""
    pixels = at_resolution(work.image, work.resolution)
    processor, network = work.tools.network("composer_instances", [INSTANCES], _open_instances)
    network.to(work.tools.device)
    seen = processor(images=Image.fromarray(pixels), return_tensors="pt").to(work.tools.device)
    found = processor.post_process_instance_segmentation(network(**seen), target_sizes=[pixels.shape[:2]])[0]
    numbers = found["segmentation"].cpu().numpy().astype(np.int64)  # -1 (or 0 of no segment) is the background
    known = {segment["id"] for segment in found["segments_info"]}
    colours = coloured(numbers.clip(0) + 1, ade_palette())
    return np.where(np.isin(numbers, list(known))[:, :, None], colours, 0).astype(np.uint8)


def _open_oneformer(folder: Path) -> tuple[Any, Any]:
    import transformers

    with quiet():
        network = transformers.OneFormerForUniversalSegmentation.from_pretrained(folder, local_files_only=True)
        tokenizer = transformers.CLIPTokenizer.from_pretrained(folder, local_files_only=True)
    return tokenizer, network.eval().requires_grad_(False)


def oneformer(work: Work) -> Pixels:
    """ADE20K's classes in their colours, by OneFormer (arXiv:2211.06220) asked for semantic segmentation."""
    pixels = at_resolution(work.image, work.resolution)
    tokenizer, network = work.tools.network("seg_ofade20k", [ONEFORMER], _open_oneformer)
    network.to(work.tools.device)
    height, width = pixels.shape[:2]
    scale = min(SHORT / min(height, width), LONG / max(height, width))
    small = resized(pixels, *(max(round(side * scale), 32) for side in (width, height)))
    asked = tokenizer(
        ["the task is semantic"],
        padding="max_length",
        truncation=True,
        max_length=network.config.task_seq_len,
        return_tensors="pt",
    )
    found = network(
        pixel_values=normalised(batch_of(small, work.tools.device)), task_inputs=asked.input_ids.to(work.tools.device)
    )
    classes = found.class_queries_logits.softmax(dim=-1)[..., :-1]
    scores = torch.einsum("bqc,bqhw->bchw", classes, found.masks_queries_logits.sigmoid())
    scores = torch.nn.functional.interpolate(scores, (height, width), mode="bilinear", align_corners=False)
    return coloured(scores[0].argmax(dim=0).cpu().numpy(), ade_palette())


def _open_marigold(folder: Path) -> Any:
    import diffusers

    with quiet():
        return diffusers.MarigoldDepthPipeline.from_pretrained(folder, local_files_only=True)


def _open_marigold_normals(folder: Path) -> Any:
    import diffusers

    with quiet():
        return diffusers.MarigoldNormalsPipeline.from_pretrained(folder, local_files_only=True)


def marigold(work: Work) -> Pixels:
    """Depth by Marigold (arXiv:2312.02145), white is near; always the same noise."""
    found = _predicted(work, "depth_marigold", MARIGOLD, _open_marigold)
    return rgb(to_bytes((1 - found[..., 0]) * 255))


def marigold_normals(work: Work) -> Pixels:
    """Surface normals by Marigold: x, y and z as red, green and blue."""
    found = _predicted(work, "normal_marigold", MARIGOLD_NORMALS, _open_marigold_normals)
    return to_bytes((found + 1) / 2 * 255)


def _predicted(work: Work, name: str, weight: WeightFile, build: Any) -> np.ndarray:
    pixels = at_resolution(work.image, work.resolution)
    pipeline = work.tools.network(name, [weight], build).to(work.tools.device)
    pipeline.set_progress_bar_config(disable=True)
    found = pipeline(
        Image.fromarray(pixels),
        num_inference_steps=round(work.values.a),
        ensemble_size=1,
        generator=torch.Generator("cpu").manual_seed(0),
    )
    return np.nan_to_num(np.asarray(found.prediction[0], np.float32))


MARIGOLD_STEPS = Slider(label="Steps", minimum=1, maximum=50, default=STEPS)
PREPROCESSORS: tuple[tuple[PreprocessorEntry, Look], ...] = (
    (
        PreprocessorEntry(name="depth_anything", label="depth_anything", types=("Depth",), weights=(DEPTH_ANYTHING,)),
        lambda work: depth(work, DEPTH_ANYTHING),
    ),
    (
        PreprocessorEntry(
            name="depth_anything_v2", label="depth_anything_v2", types=("Depth",), weights=(DEPTH_ANYTHING_2,)
        ),
        lambda work: depth(work, DEPTH_ANYTHING_2),
    ),
    (
        PreprocessorEntry(
            name="depth_marigold",
            label="depth_marigold",
            types=("Depth",),
            resolution=RESOLUTION,
            threshold_a=MARIGOLD_STEPS,
            weights=(MARIGOLD,),
        ),
        marigold,
    ),
    (
        PreprocessorEntry(
            name="normal_marigold",
            label="normal_marigold",
            types=("NormalMap",),
            resolution=RESOLUTION,
            threshold_a=MARIGOLD_STEPS,
            weights=(MARIGOLD_NORMALS,),
        ),
        marigold_normals,
    ),
    (
        PreprocessorEntry(
            name="oneformer_ade20k",
            label="seg_ofade20k",
            types=("Segmentation",),
            first_in=("Segmentation",),
            weights=(ONEFORMER,),
        ),
        oneformer,
    ),
    (
        PreprocessorEntry(
            name="segmentation",
            label="seg_ufade20k",
            types=("Segmentation",),
            resolution=RESOLUTION,
            weights=(UPERNET,),
        ),
        upernet,
    ),
    (
        PreprocessorEntry(
            name="composer_instances",
            label="composer_instances",
            types=("Segmentation",),
            resolution=RESOLUTION,
            weights=(INSTANCES,),
        ),
        instances,
    ),
)
