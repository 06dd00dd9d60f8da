"""Names of tensors in CompVis single files ("ldm") and in diffusers' and transformers' modules, both ways.

A `KeyMap` is a table of module prefixes read off nothing but the shape of the network: how many levels, how many blocks a
level, where attention sits. The same table loads a checkpoint and writes one.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch

UNET = "model.diffusion_model."
VAE = "first_stage_model."
TEXT = "cond_stage_model.transformer.text_model."

_RESNET = (
    ("in_layers.0", "norm1"),
    ("in_layers.2", "conv1"),
    ("emb_layers.1", "time_emb_proj"),
    ("out_layers.0", "norm2"),
    ("out_layers.3", "conv2"),
    ("skip_connection", "conv_shortcut"),
)
_VAE_RESNET = (
    ("norm1", "norm1"),
    ("conv1", "conv1"),
    ("norm2", "norm2"),
    ("conv2", "conv2"),
    ("nin_shortcut", "conv_shortcut"),
)
_VAE_ATTENTION = (("norm", "group_norm"), ("q", "to_q"), ("k", "to_k"), ("v", "to_v"), ("proj_out", "to_out.0"))


@dataclass(frozen=True, kw_only=True)
class UNetShape:
    """Levels of the U-Net, ResNet blocks a level on the way down, and which levels have attention."""

    levels: int
    blocks: int
    attention: tuple[bool, ...]


@dataclass(frozen=True, kw_only=True)
class VaeShape:
    """Levels of the autoencoder and ResNet blocks a level in its encoder."""

    levels: int
    blocks: int


class KeyMap:
    """Pairs of (ldm prefix, module prefix); every key of either side begins with exactly one of its prefixes."""

    def __init__(self, pairs: Iterable[tuple[str, str]], *, linear_as_conv: str = "") -> None:
        self._pairs = tuple(pairs)
        self._to_module = dict(self._pairs)
        self._to_ldm = {module: ldm for ldm, module in self._pairs}
        self._conv = re.compile(linear_as_conv) if linear_as_conv else None

    @property
    def pairs(self) -> tuple[tuple[str, str], ...]:
        """The table."""
        return self._pairs

    def to_module(self, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """ldm names to module names; names in no table are left out. 1x1 convolutions that the module has as linear lose two axes."""
        found = {}
        for key, tensor in tensors.items():
            name = _renamed(key, self._to_module)
            if name is not None:
                conv = self._conv and self._conv.search(name) and tensor.ndim == 4
                found[name] = tensor[:, :, 0, 0] if conv else tensor
        return found

    def to_ldm(self, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Module names to ldm names; raises KeyError for a name in no table."""
        found = {}
        for key, tensor in tensors.items():
            name = _renamed(key, self._to_ldm)
            if name is None:
                raise KeyError(key)
            conv = self._conv and self._conv.search(key) and tensor.ndim == 2
            found[name] = tensor[:, :, None, None] if conv else tensor
        return found


def _renamed(key: str, table: Mapping[str, str]) -> str | None:
    """`key` with its longest prefix in `table` replaced."""
    end = len(key)
    while (end := key.rfind(".", 0, end)) > 0:
        if (new := table.get(key[:end])) is not None:
            return new + key[end:]
    return None


def unet_keys(shape: UNetShape) -> KeyMap:
    """ldm's UNetModel <-> diffusers' UNet2DConditionModel (keys without `model.diffusion_model.`)."""
    pairs = [
        ("time_embed.0", "time_embedding.linear_1"),
        ("time_embed.2", "time_embedding.linear_2"),
        ("label_emb.0.0", "class_embedding.linear_1"),
        ("label_emb.0.2", "class_embedding.linear_2"),
        ("input_blocks.0.0", "conv_in"),
        ("out.0", "conv_norm_out"),
        ("out.2", "conv_out"),
        *_resnet("middle_block.0", "mid_block.resnets.0"),
        ("middle_block.1", "mid_block.attentions.0"),
        *_resnet("middle_block.2", "mid_block.resnets.1"),
    ]
    number = 1
    for level in range(shape.levels):
        for block in range(shape.blocks):
            pairs += _resnet(f"input_blocks.{number}.0", f"down_blocks.{level}.resnets.{block}")
            pairs.append((f"input_blocks.{number}.1", f"down_blocks.{level}.attentions.{block}"))
            number += 1
        pairs.append((f"input_blocks.{number}.0.op", f"down_blocks.{level}.downsamplers.0.conv"))
        number += 1
    number = 0
    for level in range(shape.levels):
        attention = shape.attention[shape.levels - 1 - level]
        for block in range(shape.blocks + 1):
            pairs += _resnet(f"output_blocks.{number}.0", f"up_blocks.{level}.resnets.{block}")
            if attention:
                pairs.append((f"output_blocks.{number}.1", f"up_blocks.{level}.attentions.{block}"))
            number += 1
        pairs.append(
            (f"output_blocks.{number - 1}.{2 if attention else 1}.conv", f"up_blocks.{level}.upsamplers.0.conv")
        )
    return KeyMap(pairs)


def vae_keys(shape: VaeShape) -> KeyMap:
    """ldm's AutoencoderKL <-> diffusers' (keys without `first_stage_model.`)."""
    pairs = [("quant_conv", "quant_conv"), ("post_quant_conv", "post_quant_conv")]
    for side in ("encoder", "decoder"):
        pairs += [
            (f"{side}.conv_in", f"{side}.conv_in"),
            (f"{side}.conv_out", f"{side}.conv_out"),
            (f"{side}.norm_out", f"{side}.conv_norm_out"),
        ]
        pairs += _nested(f"{side}.mid.block_1", f"{side}.mid_block.resnets.0", _VAE_RESNET)
        pairs += _nested(f"{side}.mid.attn_1", f"{side}.mid_block.attentions.0", _VAE_ATTENTION)
        pairs += _nested(f"{side}.mid.block_2", f"{side}.mid_block.resnets.1", _VAE_RESNET)
    for level in range(shape.levels):
        for block in range(shape.blocks):
            pairs += _nested(
                f"encoder.down.{level}.block.{block}", f"encoder.down_blocks.{level}.resnets.{block}", _VAE_RESNET
            )
        pairs.append((f"encoder.down.{level}.downsample.conv", f"encoder.down_blocks.{level}.downsamplers.0.conv"))
        mirrored = shape.levels - 1 - level
        for block in range(shape.blocks + 1):
            pairs += _nested(
                f"decoder.up.{mirrored}.block.{block}", f"decoder.up_blocks.{level}.resnets.{block}", _VAE_RESNET
            )
        pairs.append((f"decoder.up.{mirrored}.upsample.conv", f"decoder.up_blocks.{level}.upsamplers.0.conv"))
    return KeyMap(pairs, linear_as_conv=r"mid_block\.attentions\.0\.to_(q|k|v|out\.0)\.weight$")


def text_keys() -> KeyMap:
    """CLIP text encoder (keys without `cond_stage_model.transformer.text_model.`): transformers 5 has the very same names."""
    return KeyMap([(name, name) for name in ("embeddings", "encoder", "final_layer_norm")])


def _resnet(ldm: str, module: str) -> list[tuple[str, str]]:
    return _nested(ldm, module, _RESNET)


def _nested(ldm: str, module: str, inner: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    return [(f"{ldm}.{a}", f"{module}.{b}") for a, b in inner]


def unet_shape(keys: Iterable[str]) -> UNetShape:
    """The shape that the ldm keys of a U-Net (without their prefix) tell."""
    names = set(keys)
    inputs = {int(k.split(".")[1]) for k in names if k.startswith("input_blocks.")}
    downs = sorted(n for n in inputs if f"input_blocks.{n}.0.op.weight" in names)
    blocks = (downs[0] - 1) if downs else max(inputs)
    levels = len(downs) + 1
    attention = tuple(f"input_blocks.{1 + level * (blocks + 1)}.1.norm.weight" in names for level in range(levels))
    return UNetShape(levels=levels, blocks=blocks, attention=attention)


def vae_shape(keys: Iterable[str]) -> VaeShape:
    """The shape that the ldm keys of an autoencoder (without their prefix) tell."""
    found = [re.match(r"encoder\.down\.(\d+)\.block\.(\d+)\.", key) for key in keys]
    pairs = {(int(m[1]), int(m[2])) for m in found if m}
    return VaeShape(levels=max(level for level, _ in pairs) + 1, blocks=max(block for _, block in pairs) + 1)
