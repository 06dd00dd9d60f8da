"""FreeU (arXiv:2309.11497): in the decoder a stronger backbone, and skip connections with weaker low frequencies."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from modules.patches.hooks import argument, hooks

RADIUS = 1  # of the low frequencies, in each direction


def amplified(h: Tensor, b: float, *, adaptive: bool) -> Tensor:
    """The first half of the channels of backbone features h (B, C, H, W) times b (version 1 of the paper's code), or times
    alpha = (b - 1) (m - min m) / (max m - min m) + 1, m the mean over channels (version 2, adaptive; section 3)."""
    half = h.shape[1] // 2
    factor: float | Tensor = b
    if adaptive:
        m = h.float().mean(dim=1, keepdim=True)  # (B, 1, H, W)
        low, high = m.amin(dim=(2, 3), keepdim=True), m.amax(dim=(2, 3), keepdim=True)
        factor = ((b - 1) * (m - low) / (high - low).clamp(min=torch.finfo(m.dtype).tiny) + 1).to(h.dtype)
    return torch.cat([h[:, :half] * factor, h[:, half:]], dim=1)


def dampened(skip: Tensor, s: float) -> Tensor:
    """Skip features (B, C, H, W) with their lowest frequencies times s (section 3)."""
    height, width = skip.shape[-2:]
    spectrum = torch.fft.fftshift(torch.fft.fft2(skip.float()), dim=(-2, -1))
    row, column = height // 2, width // 2
    mask = torch.ones(height, width, device=skip.device)
    mask[max(row - RADIUS, 0) : row + RADIUS, max(column - RADIUS, 0) : column + RADIUS] = s
    return torch.fft.ifft2(torch.fft.ifftshift(spectrum * mask, dim=(-2, -1))).real.to(skip.dtype)


@contextmanager
def freeu(
    unet: Any,
    *,
    b: tuple[float, float],
    s: tuple[float, float],
    adaptive: bool = True,
    times: tuple[float, float] | None = None,
) -> Iterator[None]:
    """FreeU in a diffusers U-Net. The first factors are for backbone features of the greatest width (1280 in Stable
    Diffusion), the second ones for those of the next (640). `times`: only at the model's times t from the first down to the
    second; all of them by default."""
    widths = sorted(set(unet.config.block_out_channels), reverse=True)
    factors = dict(zip(widths, zip(b, s, strict=True), strict=False))  # width -> (b, s)
    active = [True]

    def look(args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if times:
            t = torch.as_tensor(argument(args, kwargs, 1, "timestep")).flatten()[0].item()
            active[0] = times[1] <= t <= times[0]

    with hooks() as hook:
        hook.before(unet, look)
        for layer, width in _decoder(unet):
            if width in factors:
                hook.before(layer, _Layer(width, *factors[width], adaptive, active).before)
        yield


def _decoder(unet: Any) -> Iterator[tuple[nn.Module, int]]:
    """The residual layers of the decoder, each with the number of backbone channels in its input; the rest are the skip's."""
    width = unet.config.block_out_channels[-1]
    for block in unet.up_blocks:
        for layer in block.resnets:
            yield layer, width
            width = layer.out_channels


class _Layer:
    """One residual layer's input, changed."""

    def __init__(self, width: int, b: float, s: float, adaptive: bool, active: list[bool]) -> None:
        self._width, self._b, self._s = width, b, s
        self._adaptive, self._active = adaptive, active

    def before(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        if not self._active[0] or args[0].shape[1] <= self._width:  # DeepCache leaves this layer out
            return None
        h, skip = args[0][:, : self._width], args[0][:, self._width :]
        changed = [amplified(h, self._b, adaptive=self._adaptive), dampened(skip, self._s)]
        return (torch.cat(changed, dim=1), *args[1:]), kwargs
