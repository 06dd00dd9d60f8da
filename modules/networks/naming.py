"""The names of tensors in network files, whoever wrote them: which layer, and which part of what is to be done to it.

kohya's trainer and LyCORIS write a layer's path with underscores behind `lora_unet_`, diffusers, PEFT and ComfyUI's users with dots
behind the network's name. Here a layer is (role, path with underscores).
"""

import re
from dataclasses import dataclass

from modules.networks.kinds.ia3 import PEFT
from modules.networks.kinds.peft_oft import SCALES, UPPER, WHOLE

UNET, TEXT_1, TEXT_2, TEXT_3 = "unet", "text 1", "text 2", "text 3"
"""Roles: the denoising network, whatever it is, and the text encoders in the order that trainers number them."""

BUNDLED = "bundle_emb."

_PREFIXES = (
    ("lora_unet_", UNET),
    ("lora_te1_", TEXT_1),
    ("lora_te2_", TEXT_2),
    ("lora_te3_", TEXT_3),
    ("lora_te_", TEXT_1),
    ("lora_transformer_", UNET),
    ("lycoris_", UNET),
    ("unet.", UNET),
    ("transformer.", UNET),
    ("model.diffusion_model.", UNET),
    ("diffusion_model.", UNET),
    ("text_encoder.", TEXT_1),
    ("text_encoder_2.", TEXT_2),
    ("text_encoder_3.", TEXT_3),
    ("text_encoders.clip_l.transformer.", TEXT_1),
    ("text_encoders.clip_g.transformer.", TEXT_2),
    ("text_encoders.t5xxl.transformer.", TEXT_3),
)
_WRAPPER = "base_model.model."  # PEFT's

_PARTS: tuple[tuple[str, str], ...] = (
    (r"lora_up\.weight", "up"),
    (r"lora_down\.weight", "down"),
    (r"lora_mid\.weight", "mid"),
    (r"lora_B(?:\.[^.]+)?\.weight", "up"),
    (r"lora_A(?:\.[^.]+)?\.weight", "down"),
    (r"lora_[AB]", ""),  # whole tensors, as some adapters of experts have them: not read
    (r"lora\.up\.weight", "up"),
    (r"lora\.down\.weight", "down"),
    (r"lora_linear_layer\.up\.weight", "up"),
    (r"lora_linear_layer\.down\.weight", "down"),
    (r"(?:lora\.|lora_linear_layer\.|lora_[AB]\.)?alpha", "alpha"),
    (r"lora_magnitude_vector(?:\.[^.]+)?(?:\.weight)?", "magnitude"),
    (r"dora_scale", "dora_scale"),
    (r"(hada_w[12]_[ab]|hada_t[12]|lokr_w[12](?:_[ab])?|lokr_t2)", r"\1"),
    (r"(oft_blocks|oft_diag|rescale)", r"\1"),
    (r"oft_R(?:\.[^.]+)?\.weight", UPPER),
    (r"oft_r(?:\.[^.]+)?", WHOLE),
    (r"oft_s(?:\.[^.]+)?", SCALES),
    (r"ia3_l(?:\.[^.]+)?", PEFT),
    (r"([ab][12])\.weight", r"\1"),
    (r"(diff_b|diff|w_norm|b_norm|on_input)", r"\1"),
    (r"weight", "weight"),
    (r"scale", "scale"),
)
_PART = re.compile(r"(?P<layer>.+?)\.(?:" + "|".join(f"(?P<p{i}>{p})" for i, (p, _) in enumerate(_PARTS)) + r")")
_PROCESSOR = re.compile(r"(.+)\.processor\.(to_(?:q|k|v|out))_lora\.(up|down)\.weight")


@dataclass(frozen=True)
class Name:
    """A layer by its role and flat path, and the part of its change that a tensor is."""

    role: str
    layer: str
    part: str


def read_name(key: str) -> Name | None:
    """What a tensor of that name is; None for names that nobody is known to give."""
    if old := _PROCESSOR.fullmatch(key):
        path = f"{old[1]}.{old[2]}" + (".0" if old[2] == "to_out" else "")
        return Name(*read_layer(path), old[3])
    match = _PART.fullmatch(key)
    if not match:
        return None
    found = next(i for i in range(len(_PARTS)) if match[f"p{i}"] is not None)
    part = re.sub(_PARTS[found][0], _PARTS[found][1], match[f"p{found}"])
    return Name(*read_layer(match["layer"]), part) if part else None


def read_layer(path: str) -> tuple[str, str]:
    """The role and flat path of a layer."""
    path = path.removeprefix(_WRAPPER)
    role = UNET
    for prefix, of in _PREFIXES:
        if path.startswith(prefix):
            path, role = path[len(prefix) :].removeprefix(_WRAPPER), of
            break
    flat = path.replace(".", "_")
    if role == UNET and flat.startswith("text_model_"):
        role = TEXT_1  # LyCORIS names both networks alike
    return role, flat.removeprefix("text_model_") if role != UNET else flat
