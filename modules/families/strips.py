"""The KL autoencoder's halves in strips of rows, for pictures that would not fit into memory as a whole.

Tiles that are decoded one by one differ from the whole, and show seams: normalisation and attention look at all of the picture.
Here every layer takes the picture in strips, with the rows beyond them that its convolutions see, and normalises by what all
strips together have: the numbers are those of the whole, but for rounding. The narrow middle, with its attention, is not divided.
"""

import logging
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, pad, silu

from modules.devices.memory import free_memory, give_back, out_of_memory

log = logging.getLogger(__name__)

Change = Callable[[Tensor], Tensor]

CPU = torch.device("cpu")

WHOLE_MAPS = 10
"""Maps of the outermost width and the picture's size that are there at once when it is computed as a whole."""

STRIP_MAPS = 5
"""Those that are there in strips: what a block is given, at most twice as wide, what it makes, and what lies between."""

STRIP_BYTES = 16 * 2**20
"""Of a strip as a convolution is given it; a few such are there at once."""


class Fitting(nn.Module):
    """A half of an autoencoder, in the way that fits: as a whole, in strips, or in strips with what lies between in the CPU's memory.

    Its parts are that half's own, under the same names. `free` tells how many bytes a device has left.
    """

    def __init__(self, half: Any, free: Callable[[torch.device], int] = free_memory, strip: int = STRIP_BYTES) -> None:
        super().__init__()
        for name, part in half.named_children():
            self.add_module(name, part)
        self._half = (half,)  # in a tuple it is no part
        self._free = free
        self._strip = strip

    def forward(self, x: Tensor, *_: Any) -> Tensor:
        """(B, C, h, w) -> what the half makes of it."""
        half = self._half[0]
        if torch.jit.is_tracing() or torch.compiler.is_compiling() or torch.is_grad_enabled():
            return half(x)
        ways = self._ways(x)
        while True:
            keep = ways.pop(0)
            try:
                return half(x) if keep is None else Strips(keep, x.device, self._strip).run(half, x)
            except Exception as error:
                if not ways or not out_of_memory(error):
                    raise
            give_back()
            log.warning("The memory did not suffice for the picture as it was; it goes on in strips.")

    def _ways(self, x: Tensor) -> list[torch.device | None]:
        """Where what lies between the layers is kept, None for the whole at once: the first that should fit, and all after it."""
        need = self.need(x)
        ways: list[torch.device | None] = [None, x.device] if x.device == CPU else [None, x.device, CPU]
        free = self._free(x.device)
        if need <= free:
            return ways
        fits = need * STRIP_MAPS // WHOLE_MAPS + 4 * self._strip <= free
        ways = ways[1:] if fits or len(ways) == 2 else ways[2:]
        log.info("The picture is taken in strips: %.1f GB are free, %.1f GB wanted.", free / 2**30, need / 2**30)
        return ways

    def need(self, x: Tensor) -> int:
        """Bytes that it takes as a whole."""
        half = self._half[0]
        decodes = hasattr(half, "up_blocks")
        width = half.conv_out.in_channels if decodes else half.conv_in.out_channels
        scale = 2 ** (len(half.up_blocks) - 1) if decodes else 1
        return WHOLE_MAPS * width * x.element_size() * len(x) * x.shape[-2] * x.shape[-1] * scale**2


class Strips:
    """Takes a half layer by layer; maps between two layers lie on `keep`, strips on `device`."""

    def __init__(self, keep: torch.device, device: torch.device, size: int) -> None:
        self._keep = keep
        self._device = device
        self._size = size

    def run(self, half: Any, x: Tensor) -> Tensor:
        """diffusers' Encoder or Decoder of x."""
        if hasattr(half, "up_blocks"):
            x = half.mid_block(half.conv_in(x)).to(self._keep)
            for block in half.up_blocks:
                x = self._block(block, x)
            out = self._convolved(half.conv_out, x, self._normed(half.conv_norm_out, x))
            return out.to(self._device)
        x = self._convolved(half.conv_in, x.to(self._keep))
        for block in half.down_blocks:
            x = self._block(block, x)
        x = half.mid_block(x.to(self._device))
        return half.conv_out(half.conv_act(half.conv_norm_out(x)))

    def _block(self, block: Any, x: Tensor) -> Tensor:
        for resnet in block.resnets:
            x = self._resnet(resnet, x)
        for sampler in getattr(block, "upsamplers", None) or ():
            x = self._doubled(sampler.conv, x)
        for sampler in getattr(block, "downsamplers", None) or ():
            x = self._halved(sampler.conv, x)
        return x

    def _resnet(self, resnet: Any, x: Tensor) -> Tensor:
        h = self._convolved(resnet.conv1, x, self._normed(resnet.norm1, x))
        change, conv, shortcut = self._normed(resnet.norm2, h), resnet.conv2, resnet.conv_shortcut
        out = (
            self._map(x, conv.out_channels, *x.shape[-2:]) if shortcut else x
        )  # in place: only the rows at hand are read
        for top, bottom in self._rows(h):
            given = x[:, :, top:bottom].to(self._device)
            made = conv(self._strip(h, top, bottom, conv, change))[:, :, 1:-1]
            out[:, :, top:bottom] = made + (shortcut(given) if shortcut else given)
        return out

    def _convolved(self, conv: Any, x: Tensor, change: Change | None = None) -> Tensor:
        """A 3x3 convolution of x, or of what `change` makes of it."""
        out = self._map(x, conv.out_channels, *x.shape[-2:])
        for top, bottom in self._rows(x):
            out[:, :, top:bottom] = conv(self._strip(x, top, bottom, conv, change))[:, :, 1:-1]
        return out

    def _doubled(self, conv: Any, x: Tensor) -> Tensor:
        """A 3x3 convolution of x at twice its size."""
        height, width = x.shape[-2:]
        out = self._map(x, conv.out_channels, 2 * height, 2 * width)
        for top, bottom in self._rows(x, scale=4):
            strip = interpolate(self._strip(x, top, bottom, conv), scale_factor=2.0, mode="nearest")
            out[:, :, 2 * top : 2 * bottom] = conv(strip)[:, :, 2:-2]
        return out

    def _halved(self, conv: Any, x: Tensor) -> Tensor:
        """A 3x3 convolution of x in steps of 2, with zeros below and on the right."""
        height, width = x.shape[-2:]
        out = self._map(x, conv.out_channels, (height - 2) // 2 + 1, (width - 2) // 2 + 1)
        for top, bottom in self._rows(out, scale=4):
            strip = x[:, :, 2 * top : 2 * bottom + 1].to(self._device)
            below = 2 * bottom + 1 - 2 * top - strip.shape[-2]
            out[:, :, top:bottom] = conv(pad(strip, (0, 1, 0, below)))
        return out

    def _map(self, like: Tensor, channels: int, height: int, width: int) -> Tensor:
        return torch.empty(len(like), channels, height, width, dtype=like.dtype, device=self._keep)

    def _rows(self, x: Tensor, scale: int = 1) -> Iterator[tuple[int, int]]:
        """The first row of each strip, and the first one after it."""
        step = max(1, self._size // (x[:, :, 0].numel() * 4 * scale))
        return ((top, min(top + step, x.shape[-2])) for top in range(0, x.shape[-2], step))

    def _strip(self, x: Tensor, top: int, bottom: int, conv: Any, change: Change | None = None) -> Tensor:
        """Rows of x, changed, with one more on each side: beyond the edge zeros, or the opposite one for pictures that tile."""
        change = change or (lambda rows: rows)
        height = x.shape[-2]
        if conv.padding_mode == "circular":
            rows = torch.arange(top - 1, bottom + 1, device=x.device) % height
            return change(x[:, :, rows].to(self._device))
        above, below = int(top == 0), int(bottom == height)
        inside = x[:, :, top - 1 + above : bottom + 1 - below].to(self._device)
        return pad(change(inside), (0, 0, above, below))

    def _normed(self, norm: nn.GroupNorm, x: Tensor) -> Change:
        """What normalises strips of x by the statistics of the whole, and applies SiLU."""
        count, mean, square = 0, 0.0, 0.0
        for top, bottom in self._rows(x):
            groups = x[:, :, top:bottom].to(self._device).float().unflatten(1, (norm.num_groups, -1)).flatten(2)
            variance, middle = torch.var_mean(groups.double() if self._device == CPU else groups, dim=2, correction=0)
            variance, middle, n = variance.double(), middle.double(), groups.shape[2]
            mean, square, count = mean + n * middle, square + n * (variance + middle**2), count + n
        mean, square = torch.as_tensor(mean) / count, torch.as_tensor(square) / count  # (B, groups)
        scale = (square - mean**2 + norm.eps).rsqrt()
        each = x.shape[1] // norm.num_groups
        weight, bias = norm.weight.to(self._device).float(), norm.bias.to(self._device).float()
        factor = weight * scale.float().repeat_interleave(each, dim=1)  # (B, C)
        offset = bias - factor * mean.float().repeat_interleave(each, dim=1)
        return lambda rows: silu(rows.float() * factor[..., None, None] + offset[..., None, None]).to(rows.dtype)
