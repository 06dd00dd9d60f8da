"""What a control file is, by the names and shapes of its tensors alone, and which family it is for."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from modules.control.control_keys import HINT, PREFIX
from modules.core.errors import ModelFileError, short
from modules.families import flux, qwen_image, sd1, sd2, sd3, sdxl, z_image

Shapes = Mapping[str, tuple[int, ...]]

CONTROLNET, UNION, T2I, T2I_STYLE = "ControlNet", "ControlNet Union", "T2I-Adapter", "T2I style adapter"
IP_ADAPTER, LLLITE, CONTROL_LORA = "IP-Adapter", "ControlNet-LLLite", "Control-LoRA"
TRANSFORMER = "ControlNet for transformers"

LABELS = {
    "sd1": sd1.LABEL,
    "sd2": sd2.LABEL,
    "sdxl": sdxl.LABEL,
    "sd3": sd3.LABEL,
    "flux": flux.LABEL,
    "qwen-image": qwen_image.LABEL,
    "z-image": z_image.LABEL,
}
"""A loaded model's family, and what users call it."""

UNETS = ("sd1", "sd2", "sdxl")
"""The families that have a U-Net."""

_WIDTHS = {768: "sd1", 1024: "sd2", 2048: "sdxl", 1280: "sdxl"}
"""Width of the text that cross attention reads -> family."""

DEEPER = re.compile(r"transformer_blocks_[1-9]")
OUTER = re.compile(r"lllite_unet_(input_blocks_[12]|output_blocks_(9|10|11)|down_blocks_0_attentions|up_blocks_3)_")
"""In the names of ControlNet-LLLite's modules."""

_OTHERS = {
    "image_proj_model.": "is an IP-Adapter in a layout that is not known here",
    "unet.": "is the training state of something else",
    "motion_modules": "belongs to AnimateDiff",
    "position_net": "is a GLIGEN network",
    "struct_cond_model": "is a StableSR network",
    ".x_rms.": "is a Qwen-Image ControlNet in DiffSynth's block-wise layout, which is not known here",
}


@dataclass(frozen=True, kw_only=True)
class Kind:
    """`name` is one of those above, `family` a loaded model's, "" where tensors do not tell."""

    name: str
    family: str = ""

    @property
    def label(self) -> str:
        """The family as users call it, or all whose U-Nets it may be for."""
        return " or ".join(LABELS[family] for family in ((self.family,) if self.family else UNETS))


def kind_of(shapes: Shapes, file: Path) -> Kind:
    """What that file is; raises ModelFileError for one that controls nothing here."""
    for find in (_lllite, _control_lora, _ip_adapter, _transformer, _controlnet, _t2i):
        if kind := find(shapes):
            return kind
    said = next((words for mark, words in _OTHERS.items() if any(mark in name for name in shapes)), "")
    said = (
        said or f"is no ControlNet, nor any other control model known here (it holds {short(next(iter(shapes), ''))})"
    )
    raise ModelFileError(f'"{file.name}" {said}. Choose another model for this unit.')


def _controlnet(shapes: Shapes) -> Kind | None:
    names = {name.removeprefix(PREFIX): shape for name, shape in shapes.items()}
    if "controlnet_cond_embedding.conv_in.weight" not in names and f"{HINT}.0.weight" not in names:
        return None
    union = any(name.startswith(("task_embedding", "control_add_embedding", "control_type")) for name in names)
    return Kind(name=UNION if union else CONTROLNET, family=_unet_family(names))


def _unet_family(names: Shapes) -> str:
    """The family of a copy of a U-Net's way down, under either names."""
    if any(name.startswith(("label_emb.", "add_embedding.", "class_embedding.")) for name in names):
        return "sdxl"
    middle = names.get("middle_block.1.proj_in.weight") or names.get("mid_block.attentions.0.proj_in.weight") or ()
    return "sd1" if len(middle) == 4 else "sd2"


def _lllite(shapes: Shapes) -> Kind | None:
    if not any(name.startswith("lllite_") for name in shapes):
        return None
    deep = any(DEEPER.search(name) for name in shapes)  # several transformer layers in one place: only XL has them
    outer = any(OUTER.match(name) for name in shapes)  # attention at the latents' own size: XL has none
    return Kind(name=LLLITE, family="sdxl" if deep and not outer else "sd1" if outer and not deep else "")


def _control_lora(shapes: Shapes) -> Kind | None:
    if "lora_controlnet" not in shapes:
        return None
    names = {name.removeprefix(PREFIX): shape for name, shape in shapes.items()}
    if any(name.startswith("label_emb.") for name in names):
        return Kind(name=CONTROL_LORA, family="sdxl")
    width = next((shape[1] for name, shape in names.items() if name.endswith("attn2.to_k.down")), 0)
    return Kind(name=CONTROL_LORA, family=_WIDTHS.get(width, ""))


def _ip_adapter(shapes: Shapes) -> Kind | None:
    if not any(name.startswith("ip_adapter.") for name in shapes):
        return None
    width = next((shape[1] for name, shape in shapes.items() if name.endswith("to_k_ip.weight")), 0)
    return Kind(name=IP_ADAPTER, family=_WIDTHS.get(width, ""))


def _t2i(shapes: Shapes) -> Kind | None:
    names = {name.removeprefix("adapter."): shape for name, shape in shapes.items()}
    if "style_embedding" in names and "ln_pre.weight" in names:
        return Kind(name=T2I_STYLE, family=_WIDTHS.get(names.get("proj", (0, 0))[1], ""))
    first = names.get("conv_in.weight") or names.get("body.0.in_conv.weight")
    if first is None or not any(name.startswith("body.0.") for name in names):
        return None
    return Kind(name=T2I, family="sdxl" if first[1] in (256, 768) else "")


def _transformer(shapes: Shapes) -> Kind | None:
    names = {name.removeprefix("module."): shape for name, shape in shapes.items()}
    if any(name.startswith(("control_layers.", "control_all_x_embedder", "control_noise_refiner")) for name in names):
        return Kind(name=TRANSFORMER, family="z-image")
    if "controlnet_blocks.0.weight" not in names:
        return None
    if "txt_norm.weight" in names:
        return Kind(name=TRANSFORMER, family="qwen-image")
    if "pos_embed_input.proj.weight" in names:
        return Kind(name=TRANSFORMER, family="sd3")
    return Kind(name=TRANSFORMER, family="flux")
