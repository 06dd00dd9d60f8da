"""In which types a GPU computes, by what it does well and what A1111's flags ask for."""

import logging
from collections.abc import Collection
from dataclasses import dataclass

import torch
from torch import nn

from modules.devices.residence import layers

log = logging.getLogger(__name__)

FAULTY = ("GTX 16", "T500", "T550", "T600", "MX450", "MX550", "CMP 30HX", "T1000", "T1200", "T2000")
"""Turing cards without tensor cores, whose convolutions in float16 give NaN."""

TURING = (7, 5)
FIRST_HALF = (6, 0)
"""The first CUDA capability whose cards compute in float16."""


@dataclass(frozen=True, kw_only=True)
class Card:
    """A GPU: its name, CUDA capability, and whether it computes in bfloat16 itself (from Ampere on)."""

    name: str
    capability: tuple[int, int]
    bfloat16: bool

    @property
    def faulty(self) -> bool:
        """Does it get float16 wrong?"""
        return self.capability == TURING and any(part in self.name for part in FAULTY)


@dataclass(frozen=True, kw_only=True)
class Types:
    """Of the weights (`dtype`) and of the autoencoder; `upcast`: U-Nets compute in float32 with those weights."""

    dtype: torch.dtype
    vae_dtype: torch.dtype
    upcast: bool = False


def card_of(device: torch.device) -> Card:
    """What PyTorch knows of a CUDA device."""
    return Card(
        name=torch.cuda.get_device_name(device),
        capability=torch.cuda.get_device_capability(device),
        bfloat16=torch.cuda.is_bf16_supported(including_emulation=False),
    )


def types_for(card: Card, flags: Collection[str] = ()) -> Types:
    """The types for that card under flags as Flags.precision has them.

    `--upcast-sampling` means bfloat16 where the card has it, which does not overflow and is quicker.
    """
    if "no_half" in flags or (card.capability < FIRST_HALF and "half" not in flags):
        return Types(dtype=torch.float32, vae_dtype=torch.float32)
    wide_vae = "no_half_vae" in flags
    if "half" in flags:
        return Types(dtype=torch.float16, vae_dtype=torch.float32 if wide_vae else torch.float16)
    if "upcast_sampling" in flags and card.bfloat16:
        return Types(dtype=torch.bfloat16, vae_dtype=torch.float32 if wide_vae else torch.bfloat16)
    if card.faulty:
        log.info("%s: U-Nets compute in float32 with weights in float16, which it gets wrong.", card.name)
    upcast = card.faulty or "upcast_sampling" in flags
    return Types(
        dtype=torch.float16, vae_dtype=torch.float32 if wide_vae or card.faulty else torch.float16, upcast=upcast
    )


def upcast_layers(network: nn.Module) -> None:
    """The network's layers compute in float32 from now on; their weights stay as they are, but for the layer in work."""
    for layer in layers(network):
        caster = _Caster()
        layer.register_forward_pre_hook(caster.before)
        layer.register_forward_hook(caster.after, always_call=True)


class _Caster:
    """Lends one layer its weights in float32."""

    def __init__(self) -> None:
        self._kept: list[tuple[nn.Parameter, torch.Tensor]] = []

    def before(self, layer: nn.Module, inputs: object) -> None:
        self._kept = [(one, one.data) for one in layer.parameters() if one.dtype is not torch.float32]
        for one, data in self._kept:
            if data.is_floating_point():
                one.data = data.float()

    def after(self, layer: nn.Module, inputs: object, output: object) -> None:
        for one, data in self._kept:
            one.data = data
        self._kept = []
