"""DeepCache (arXiv:2312.00858): deep features of a U-Net change little from step to step, and are used again.

The encoder's outputs are its skip connections: s_0 that of the first convolution, then one a layer. With branch b, steps that use
the cache compute what leads to s_(b+1) and the decoder's layers from the one that reads it; into that one goes the cached
feature of the last full step (section 3.2). What is left out answers with one channel, so that the U-Net's own code runs on.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from modules.patches.caching import Rows
from modules.patches.hooks import argument, hooks


def branches(config: Any) -> int:
    """How many branches a U-Net of that configuration has."""
    levels = len(config.block_out_channels)
    return levels * config.layers_per_block + levels - 1


@contextmanager
def deep_cache(unet: Any, rows: Rows, *, interval: int, branch: int) -> Iterator[None]:
    """Compute a diffusers U-Net in full at every `interval`th step of `rows`, and the part above that branch in between. A call
    with rows that were not told of is computed in full. Raises IndexError for a branch that it does not have."""
    if branch >= branches(unet.config):
        raise IndexError(branch)
    cache = _Cache(rows, interval, branch + 1)
    encoder, decoder = _encoder(unet)[branch + 1 :], _decoder(unet)
    place = len(decoder) - 2 - branch  # of the layer that reads s_(b+1)
    with hooks() as hook:
        hook.before(unet, cache.look)
        for layers in encoder:
            for layer in layers:
                hook.around(layer, cache.leave_out)
        hook.around(unet.mid_block, cache.leave_out)
        for layers in decoder[:place]:
            for layer in layers:
                hook.around(layer, cache.leave_out)
        reader: Any = decoder[place][0]
        hook.before(reader, _Reader(cache, _width_into(unet, reader), reader.in_channels).before, first=True)
        yield


def _encoder(unet: Any) -> list[list[nn.Module]]:
    """What leads to s_1, s_2 ...: layers with their attention, and downsamplers."""
    found: list[list[nn.Module]] = []
    for block in unet.down_blocks:
        found += _layers(block)
        found += [[sampler] for sampler in block.downsamplers or ()]
    return found


def _decoder(unet: Any) -> list[list[nn.Module]]:
    """The decoder's layers with their attention, in order; an upsampler belongs to the layer before it."""
    found: list[list[nn.Module]] = []
    for block in unet.up_blocks:
        layers = _layers(block)
        layers[-1] += list(block.upsamplers or ())
        found += layers
    return found


def _layers(block: Any) -> list[list[nn.Module]]:
    attentions = getattr(block, "attentions", None)
    parts = zip(block.resnets, attentions, strict=True) if attentions else ([layer] for layer in block.resnets)
    return [list(layers) for layers in parts]


def _width_into(unet: Any, reader: nn.Module) -> int:
    """Channels of the backbone in that decoder layer's input."""
    width = unet.config.block_out_channels[-1]
    for block in unet.up_blocks:
        for layer in block.resnets:
            if layer is reader:
                return width
            width = layer.out_channels
    raise ValueError("The layer is none of the decoder.")


class _Cache:
    """The features of each group of rows, and whether this call uses them."""

    def __init__(self, rows: Rows, interval: int, kept: int) -> None:
        self._rows = rows
        self._interval = interval
        self._kept = kept  # encoder layers that are computed at every step
        self._features: dict[str, tuple[int, Tensor]] = {}
        self._groups: tuple[tuple[str, int], ...] = ()
        self._reuses = False

    def look(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        """Before the U-Net: does it use the cache?"""
        self._groups = self._rows.of(argument(args, kwargs, 0, "sample"))
        adapted = kwargs.get("down_intrablock_additional_residuals") is not None
        self._reuses = bool(self._groups) and not adapted and all(self._fresh(*group) for group in self._groups)
        added = kwargs.get("down_block_additional_residuals")
        if not self._reuses or added is None:
            return None
        kept = [*added[: self._kept + 1], *(0.0 for _ in added[self._kept + 1 :])]  # a ControlNet's
        return args, {**kwargs, "down_block_additional_residuals": kept, "mid_block_additional_residual": 0.0}

    def _fresh(self, group: str, count: int) -> bool:
        call, feature = self._features.get(group, (0, torch.empty(0)))
        return len(feature) == count and 0 <= self._rows.call - call < self._interval

    def leave_out(self, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """What stands for a layer."""
        if not self._reuses:
            return forward(*args, **kwargs)
        answer = argument(args, kwargs, 0, "hidden_states")[:, :1]
        return answer if kwargs.get("return_dict", True) else (answer,)

    def feature(self, h: Tensor) -> Tensor:
        """The backbone feature (B, C, H, W) to go on with."""
        if self._reuses:
            return torch.cat([self._features[group][1] for group, _ in self._groups])
        if self._groups:
            parts = h.split([count for _, count in self._groups])
            for (group, _), part in zip(self._groups, parts, strict=True):
                self._features[group] = self._rows.call, part
        return h

    @property
    def reuses(self) -> bool:
        """Does this call use the cache?"""
        return self._reuses


class _Reader:
    """The layer where the cached feature goes in."""

    def __init__(self, cache: _Cache, width: int, channels: int) -> None:
        self._cache = cache
        self._width = width  # of the backbone
        self._skip = channels - width  # of the skip connection

    def before(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        x = args[0]
        left = x.shape[1] - self._skip if self._cache.reuses else self._width
        h = self._cache.feature(x[:, :left])
        return (torch.cat([h, x[:, left:]], dim=1) if self._cache.reuses else x, *args[1:]), kwargs
