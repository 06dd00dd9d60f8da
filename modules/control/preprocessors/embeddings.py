"""What a picture means, as tensors of CLIP's vision networks (arXiv:2103.00020); and as a sentence."""

from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from PIL import Image

from modules.control.preprocessors.networks import batch_of, filled
from modules.control.preprocessors.pixels import rgb
from modules.control.preprocessors.preprocessor import Look, Work
from modules.core.errors import ModelFileError
from modules.core.picture_sections import Interrogate
from modules.detect.caption import Captioner
from modules.families.weights import read_weights
from modules.requests.preprocessors import PreprocessorEntry, Slider, WeightFile

LARGE = WeightFile(
    file="clip_vitl.pth",
    size=1_710_000_000,
    repo="openai/clip-vit-large-patch14",
    path="pytorch_model.bin",
    others=("clip_vision_vit_l.safetensors", "clip_vit_l.safetensors"),
)
HUGE = WeightFile(
    file="clip_h.pth",
    size=2_530_000_000,
    repo="h94/IP-Adapter",
    path="models/image_encoder/pytorch_model.bin",
    others=("CLIP-ViT-H-14-laion2B-s32B-b79K.safetensors", "clip_vision_h.safetensors"),
)
BIG = WeightFile(
    file="clip_g.pth",
    size=3_690_000_000,
    repo="lllyasviel/Annotators",
    path="clip_g.pth",
    others=("CLIP-ViT-bigG-14-laion2B-39B-b160k.safetensors", "clip_vision_g.safetensors"),
)
BLIP = WeightFile(
    file="blip-image-captioning-base",
    size=990_000_000,
    repo="Salesforce/blip-image-captioning-base",
    licence="BSD 3-clause",
)

MEAN, DEVIATION = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
HEADS = 16
QUICK = 1024
"""The width whose network computes with quick GELU: OpenAI's; LAION's wider ones do not."""


def open_vision(path: Path) -> Any:
    """CLIP's vision network in a file with transformers' names, its sizes read from the tensors' shapes."""
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    tensors = {
        name: t for name, t in read_weights(path).items() if name.startswith(("vision_model.", "visual_projection."))
    }
    tensors.pop("vision_model.embeddings.position_ids", None)
    try:
        width, _, patch, _ = tensors["vision_model.embeddings.patch_embedding.weight"].shape
        positions = tensors["vision_model.embeddings.position_embedding.weight"].shape[0]
        inner = tensors["vision_model.encoder.layers.0.mlp.fc1.weight"].shape[0]
        projection = tensors["visual_projection.weight"].shape[0]
    except KeyError as error:
        raise ModelFileError(
            f'"{path.name}" holds no CLIP vision network: {error} is missing. Choose another.'
        ) from error
    layers = {name.split(".")[3] for name in tensors if name.startswith("vision_model.encoder.layers.")}
    config = CLIPVisionConfig(
        hidden_size=width,
        intermediate_size=inner,
        projection_dim=projection,
        num_hidden_layers=len(layers),
        num_attention_heads=HEADS if width % HEADS == 0 else 1,
        image_size=round((positions - 1) ** 0.5) * patch,
        patch_size=patch,
        hidden_act="quick_gelu" if width == QUICK else "gelu",
    )
    return filled(lambda: CLIPVisionModelWithProjection(config), path, tensors)


def embed(work: Work, weight: WeightFile) -> dict[str, Any]:
    """`image_embeds` (1, P), `last_hidden_state` and the last but one, `penultimate` (1, N, C), float32; what a mask (alpha) covers
    is not seen."""
    network = work.tools.network(weight.file, [weight], open_vision)
    side = network.config.image_size
    square = np.asarray(cv2.resize(work.image, (side, side), interpolation=cv2.INTER_AREA), np.uint8)
    mean, deviation = (torch.tensor(v, device=work.tools.device).view(1, 3, 1, 1) for v in (MEAN, DEVIATION))
    seen = (batch_of(square[:, :, :3], work.tools.device) / 255 - mean) / deviation
    if square.shape[2] == 4:
        seen = seen * (1 - batch_of(square[:, :, 3:], work.tools.device) / 255)
    found = network(pixel_values=seen, output_hidden_states=True)
    return {
        "image_embeds": found.image_embeds.cpu(),
        "last_hidden_state": found.last_hidden_state.cpu(),
        "penultimate": found.hidden_states[-2].cpu(),
    }


def caption(work: Work) -> str:
    """A sentence about the picture."""
    teller = work.tools.network("composer_caption", [BLIP], _open_captioner)
    return str(teller.tell(Image.fromarray(rgb(work.image)), Interrogate.model_validate({}).model_dump()))


def _open_captioner(folder: Path) -> Captioner:
    return Captioner(folder, torch.device("cpu"))


NOISE = Slider(label="Noise Augmentation", minimum=0, maximum=1, default=0, step=0.01)
_CLIP = (
    ("ip-adapter_clip_sd15", "ip-adapter_clip_h", HUGE, "IP-Adapter", True),
    ("ip-adapter_clip_sdxl", "ip-adapter_clip_g", BIG, "IP-Adapter", False),
    ("ip-adapter_clip_sdxl_plus_vith", "ip-adapter_clip_sdxl_plus_vith", HUGE, "IP-Adapter", False),
    ("clip_vision", "t2ia_style_clipvision", LARGE, "T2I-Adapter", False),
    ("revision_clipvision", "revision_clipvision", BIG, "Revision", True),
    ("revision_ignore_prompt", "revision_ignore_prompt", BIG, "Revision", False),
    ("composer_semantics", "composer_semantics", LARGE, "IP-Adapter", False),
)
PREPROCESSORS: tuple[tuple[PreprocessorEntry, Look], ...] = (
    *(
        (
            PreprocessorEntry(
                name=name,
                label=label,
                types=(kind,),
                first_in=(kind,) if first else (),
                threshold_a=NOISE if kind == "Revision" else None,
                weights=(weight,),
                model_free=kind == "Revision",
                gives="tensors",
            ),
            partial(embed, weight=weight),
        )
        for name, label, weight, kind, first in _CLIP
    ),
    (
        PreprocessorEntry(name="composer_caption", label="composer_caption", weights=(BLIP,), gives="text"),
        caption,
    ),
)
