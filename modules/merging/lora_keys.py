"""The names of LoRA modules, as kohya's trainer writes them, and the weights of a checkpoint that they stand for.

U-Nets of SD 1.x and 2.x have diffusers' names there, XL's CompVis's (diffusers' are read too); text encoders transformers'. A module of
OpenCLIP's is a third of a matrix: queries, keys and values stand in one.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from modules.core.errors import ModelFileError
from modules.families import sd2, sdxl
from modules.families.ldm_keys import TEXT, UNET, unet_keys, unet_shape
from modules.families.open_clip_keys import to_clip
from modules.families.source import without_prefix

Group = Literal["transformer", "other", "text"]

CLIP = {TEXT: "lora_te_", sdxl.CLIP_L: "lora_te1_"}
OPEN_CLIP = {sd2.TEXT: "lora_te_", sdxl.BIG_G: "lora_te2_", sdxl.REFINER_BIG_G: "lora_te2_"}
_NOT_TRAINED = ("conv_in", "conv_out", "time_embedding", "class_embedding")


@dataclass(frozen=True, kw_only=True)
class Place:
    """A weight of a checkpoint, or the rows that are number `part` of `parts` equal ones. `group`: linear layers of transformers
    and the convolutions around them, the U-Net's other layers, or a text encoder's. `common`: that is what LoRAs are trained for."""

    key: str
    group: Group
    part: int = 0
    parts: int = 1
    common: bool = True

    def of(self, weight: Tensor) -> Tensor:
        """The rows of that weight, as a view."""
        rows = weight.shape[0] // self.parts
        return weight[self.part * rows : (self.part + 1) * rows]


class Places:
    """The modules that a checkpoint of these tensors has. `by_name`: by every name that is read; `written`: by kohya's own.

    Raises ModelFileError for one without a U-Net of Stable Diffusion's.
    """

    def __init__(self, tensors: Mapping[str, Tensor], name: str) -> None:
        unet = without_prefix(tensors, UNET)
        if "input_blocks.0.0.weight" not in unet:
            raise ModelFileError(
                f'"{name}" has no U-Net of Stable Diffusion: LoRAs are extracted from and merged into SD 1.x, 2.x and XL. Choose another.'
            )
        xl = "label_emb.0.0.weight" in unet
        self.base = "sdxl_base_v1-0" if xl else "sd_v2" if f"{sd2.TEXT}ln_final.weight" in tensors else "sd_v1"
        self.by_name: dict[str, Place] = {}
        self.written: dict[str, Place] = {}
        for theirs, ours, place in _of_unet(unet):
            self.by_name |= {theirs: place, ours: place} if xl else {theirs: place}
            self.written |= {ours if xl else theirs: place} if place.common else {}
        for found, place in _of_texts(tensors):
            self.by_name[found] = self.written[found] = place


def _of_unet(unet: Mapping[str, Tensor]) -> Iterator[tuple[str, str, Place]]:
    """(name by diffusers, name by CompVis, place) of every matrix and convolution."""
    keys = unet_keys(unet_shape(unet))
    for key, tensor in unet.items():
        if tensor.ndim < 2 or not key.endswith(".weight"):
            continue
        for module in keys.to_module({key: tensor}):
            common = not module.startswith(_NOT_TRAINED)
            place = Place(key=UNET + key, group="transformer" if ".attentions." in module else "other", common=common)
            yield _kohya("lora_unet_", module), _kohya("lora_unet_", key), place


def _of_texts(tensors: Mapping[str, Tensor]) -> Iterator[tuple[str, Place]]:
    for prefix, start in (*CLIP.items(), *OPEN_CLIP.items()):
        for key, tensor in without_prefix(tensors, prefix).items():
            modules = list(to_clip({key: tensor})) if prefix in OPEN_CLIP else [key]
            for part, module in enumerate(modules):
                if tensor.ndim == 2 and module.startswith("encoder.layers.") and module.endswith(".weight"):
                    place = Place(key=prefix + key, group="text", part=part, parts=len(modules))
                    yield _kohya(f"{start}text_model_", module), place


def _kohya(start: str, module: str) -> str:
    return start + module.removesuffix(".weight").replace(".", "_")
