"""The device and dtype of this machine."""

import logging
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from modules.devices.compiled import CompiledRuntime, compiled_trouble
from modules.devices.faults import gpu_trouble
from modules.devices.precision import card_of, types_for

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Compute:
    """Where the networks run (`device`, `dtype`); the autoencoder may need more range (`vae_dtype`).

    `upcast`: U-Nets compute in float32 all the same. `bfloat16`: the device computes in that itself. `compiled`: what the parts of U-Net families run on instead of PyTorch, where there is one. `lent`: weights stay in the CPU's memory, and are lent to the device while they are used. `float8`: the weights of PyTorch's layers but the autoencoder's are kept so.
    """

    device: torch.device
    dtype: torch.dtype
    vae_dtype: torch.dtype
    upcast: bool = False
    bfloat16: bool = False
    compiled: CompiledRuntime | None = None
    lent: bool = False
    float8: bool = False

    @property
    def home(self) -> torch.device:
        """Where the weights of networks are kept."""
        return torch.device("cpu") if self.lent else self.device

    @property
    def plain(self) -> "Compute":
        """The same on PyTorch alone."""
        return replace(self, compiled=None)

    @property
    def wide(self) -> "Compute":
        """For networks trained in bfloat16, whose values overflow float16: the same, with that for half precision."""
        return replace(self, dtype=torch.bfloat16) if self.dtype is torch.float16 else self

    @property
    def unet_dtype(self) -> torch.dtype:
        """What U-Nets compute in."""
        return torch.float32 if self.upcast else self.dtype

    @property
    def words(self) -> str:
        """What it computes in, for people."""
        if self.compiled:
            return f"OpenVINO's {self.compiled.precision}"
        name = str(self.dtype).removeprefix("torch.")
        if self.float8:
            return f"{name} with weights in float8"
        return f"float32 with weights in {name}" if self.upcast else name

    def finer(self, *, upcasts: bool) -> "Compute | None":
        """The next more precise one, or None after float32; `upcasts`: the network is one that heeds `upcast`."""
        if self.compiled and self.compiled.precision != "fp32":
            return replace(self.plain, dtype=torch.float32, vae_dtype=torch.float32)
        if self.dtype is torch.float32:
            return None
        if self.dtype is torch.float16 and not self.upcast:
            if self.bfloat16:
                return replace(self, dtype=torch.bfloat16)
            if upcasts:
                return replace(self, upcast=True)
        return replace(self, dtype=torch.float32, upcast=False)


def choose_compute(*, use_cpu: bool = False, precision: Collection[str] = ()) -> Compute:
    """The first CUDA device in the types it does well or these flags ask for, else the CPU in float32.

    `precision`: as Flags has it. A GPU that cannot be used is told of.
    """
    trouble = None if use_cpu else gpu_trouble()
    if trouble:
        log.warning("%s", trouble)
    if use_cpu or trouble or not torch.cuda.is_available():
        return Compute(device=torch.device("cpu"), dtype=torch.float32, vae_dtype=torch.float32)
    device = torch.device("cuda", 0)
    card = card_of(device)
    types = types_for(card, precision)
    return Compute(
        device=device, dtype=types.dtype, vae_dtype=types.vae_dtype, upcast=types.upcast, bfloat16=card.bfloat16
    )


def quick_cpu(compute: Compute, precision: str, folder: Path) -> Compute:
    """The quickest way to compute on this CPU: OpenVINO, or where it cannot be used PyTorch; in bfloat16 where the CPU has it.

    `precision` is "auto", "bf16", "fp32" or "int8"; what OpenVINO makes of models is kept below `folder`.
    """
    if precision == "auto":
        precision = "bf16" if torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported() else "fp32"
    dtype = torch.float32 if precision == "fp32" else torch.bfloat16
    compute = replace(compute, dtype=dtype)
    if trouble := compiled_trouble():
        log.warning("%s PyTorch computes in %s.", trouble, precision)
        return compute
    log.info("OpenVINO computes on the CPU in %s.", precision)
    return replace(compute, compiled=CompiledRuntime(folder, precision))
