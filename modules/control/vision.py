"""The CLIP vision network that an image prompt goes by: found by its width among the user's files."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from modules.core.errors import ModelFileError
from modules.core.paths import Paths
from modules.families.assembly import count_of, empty_weights, filled, needed
from modules.families.weights import read_weights, shapes_of
from modules.library.controls import SUFFIXES
from modules.library.walk import walk

FOLDERS = ("clip_vision", "ControlNetPreprocessor", "ControlNet")
MEAN, DEVIATION = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
"""CLIP's, of pixels from 0 to 1."""

HEADS, LARGE = 16, 1024
"""Heads of networks of that width and above; OpenAI's, which have quick GELU, are no wider."""

PROJECTION, EMBEDDING = "visual_projection.weight", "vision_model.embeddings.class_embedding"


def find_vision(paths: Paths, width: int, *, whole: bool, who: str) -> Path:
    """The file of the vision network whose vectors (or, of all places, whose features) have that width; raises ModelFileError."""
    for kind in FOLDERS:
        for folder in paths.folders(kind):
            for seen in sorted(walk(folder, SUFFIXES), key=lambda seen: seen.name):
                if not seen.is_folder and _width(Path(seen.path), whole=whole) == width:
                    return Path(seen.path)
    raise ModelFileError(
        f'"{who}" needs a CLIP vision network of width {width}, which is not here. Put its file (the image_encoder of the '
        "adapter's own page, with transformers' names) into models/clip_vision."
    )


def _width(path: Path, *, whole: bool) -> int:
    try:
        shape = shapes_of(path).shapes.get(EMBEDDING if whole else PROJECTION, (0,))
    except ModelFileError:
        return 0
    return shape[0]


def open_vision(path: Path, device: torch.device) -> Any:
    """The network in that file, in float32; raises ModelFileError naming the first tensor that does not fit."""
    from transformers.models.clip.configuration_clip import CLIPVisionConfig
    from transformers.models.clip.modeling_clip import CLIPVisionModelWithProjection

    tensors = read_weights(path)
    width, _, patch, _ = needed(tensors, "vision_model.embeddings.patch_embedding.weight").shape
    places = needed(tensors, "vision_model.embeddings.position_embedding.weight").shape[0]
    config = CLIPVisionConfig(
        hidden_size=width,
        intermediate_size=needed(tensors, "vision_model.encoder.layers.0.mlp.fc1.weight").shape[0],
        projection_dim=needed(tensors, PROJECTION).shape[0],
        num_hidden_layers=count_of(tensors, "vision_model.encoder.layers"),
        num_attention_heads=HEADS if width >= LARGE else max(width // 64, 1),
        image_size=round((places - 1) ** 0.5) * patch,
        patch_size=patch,
        hidden_act="gelu" if width > LARGE else "quick_gelu",
    )
    with empty_weights():
        network = CLIPVisionModelWithProjection(config)
    return filled(network, tensors, device, torch.float32)


def look(network: Any, pixels: NDArray[np.uint8] | None, *, whole: bool, last: bool = False) -> Tensor:
    """What it says of a picture, uint8 (H, W, 3), or of none: the features of its last layer but one (1, N, C), or the `last` one, or its
    vector (1, P)."""
    side = network.config.image_size
    seen = torch.zeros(1, 3, side, side)
    if pixels is not None:
        square = torch.from_numpy(np.asarray(cv2.resize(pixels, (side, side), interpolation=cv2.INTER_AREA)))
        mean, deviation = (torch.tensor(values).view(1, 3, 1, 1) for values in (MEAN, DEVIATION))
        seen = (square.permute(2, 0, 1)[None].float() / 255 - mean) / deviation
    elif not whole:
        return torch.zeros(1, network.config.projection_dim)
    found = network(pixel_values=seen.to(next(network.parameters()).device), output_hidden_states=True)
    features = found.last_hidden_state if last else found.hidden_states[-2]
    return (features if whole else found.image_embeds).float().cpu()
