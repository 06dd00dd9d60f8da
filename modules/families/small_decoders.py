"""Small networks that decode latents roughly, for previews and where the settings want it, and encode pictures: TAESD
(github.com/madebyollin/taesd) and A1111's "VAE approx".

Which one is for which latents is told by the file's name; its tensors tell the sizes.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, interpolate, leaky_relu, pad

from modules.core.errors import ModelFileError
from modules.families.assembly import filled
from modules.families.weights import read_weights

TAESD, APPROX = "TAESD", "Approx NN"

# channels and scale of the latents -> the files' names without suffix
FILES: Mapping[str, Mapping[tuple[object, object], str]] = {
    TAESD: {
        (4, 0.18215): "taesd_decoder",
        (4, 0.13025): "taesdxl_decoder",
        (16, 1.5305): "taesd3_decoder",
        (16, 0.3611): "taef1_decoder",
    },
    APPROX: {(4, 0.18215): "model", (4, 0.13025): "vaeapprox-sdxl", (16, 1.5305): "vaeapprox-sd3"},
}
SUFFIXES = (".safetensors", ".pth", ".pt")


def file_name(method: str, space: Sequence[object]) -> str | None:
    """What the decoder's file for those latents (channels, downscale, scale, ...) is called, without suffix; None: there is none."""
    return FILES[method].get((space[0], space[2])) if len(space) > 2 else None


def encoder_name(space: Sequence[object]) -> str | None:
    """What TAESD's encoder for those latents is called."""
    name = file_name(TAESD, space)
    return name.replace("_decoder", "_encoder") if name else None


def find(folders: Sequence[Path], name: str) -> Path | None:
    """The first file of that name."""
    files = (folder / f"{name}{suffix}" for folder in folders for suffix in SUFFIXES)
    return next((file for file in files if file.is_file()), None)


def read_decoder(method: str, file: Path, channels: int, device: torch.device, dtype: torch.dtype) -> nn.Module:
    """The decoder in that file: latents (B, C, h, w) -> (B, 3, H, W), about [-1, 1]; raises ModelFileError if it is none."""
    tensors = read_weights(file)
    decoder = (_taesd if method == TAESD else _approx)(tensors, file.name)
    found = next(iter(decoder.parameters())).shape[1]
    if found != channels:
        raise ModelFileError(
            f'"{file.name}" decodes latents of {found} channels, and these have {channels}. Get the file of that name anew.'
        )
    return decoder.to(device, dtype).eval().requires_grad_(False)


def read_encoder(file: Path, channels: int, device: torch.device, dtype: torch.dtype) -> nn.Module:
    """TAESD's encoder in that file: pictures (B, 3, H, W) in [0, 1] -> latents (B, C, h, w) as networks take them. Raises ModelFileError."""
    from diffusers.models.autoencoders.vae import EncoderTiny

    weights = _layers(read_weights(file), "encoder", first=0)
    first, last = weights.get("layers.0.weight"), weights.get("layers.14.weight")
    if first is None or last is None or first.ndim != 4 or last.shape[0] != channels:
        raise ModelFileError(
            f'"{file.name}" holds no TAESD encoder for latents of {channels} channels. Download it again.'
        )
    sizes: dict[str, Any] = {"num_blocks": (1, 3, 3, 3), "block_out_channels": (first.shape[0],) * 4}
    encoder = EncoderTiny(3, channels, act_fn="relu", **sizes)
    try:
        found = filled(encoder, weights, torch.device("cpu"), torch.float32)
    except ModelFileError as error:
        raise ModelFileError(f'"{file.name}" holds no TAESD encoder of the known kind. {error.message}') from error
    return found.to(device, dtype).eval().requires_grad_(False)


def _layers(tensors: Mapping[str, Tensor], part: str, first: int) -> dict[str, Tensor]:
    """The weights under diffusers' names, from those or the original ones, which count layers from `first`."""
    pattern = re.compile(rf"(?:{part}\.)?(layers\.)?(\d+\.(?:conv\.\d+\.)?(?:weight|bias))$")
    weights = {}
    for name, tensor in tensors.items():
        if match := pattern.match(name):
            number, rest = match[2].split(".", 1)
            weights[f"layers.{int(number) - (0 if match[1] else first)}.{rest}"] = tensor
    return weights


def _taesd(tensors: Mapping[str, Tensor], file: str) -> nn.Module:
    """diffusers' DecoderTiny of those tensors, under the original names ("1.weight") or diffusers' ("decoder.layers.0.weight")."""
    from diffusers.models.autoencoders.vae import DecoderTiny

    weights = _layers(tensors, "decoder", first=1)  # the original begins with a clamp
    first = weights.get("layers.0.weight")
    if first is None or first.ndim != 4:
        raise ModelFileError(f'"{file}" holds no TAESD decoder. Download it again.')
    sizes: dict[str, Any] = {"num_blocks": (3, 3, 3, 1), "block_out_channels": (first.shape[0],) * 4}
    decoder = DecoderTiny(first.shape[1], 3, upsampling_scaling_factor=2, act_fn="relu", upsample_fn="nearest", **sizes)
    try:
        return filled(decoder, weights, torch.device("cpu"), torch.float32)
    except ModelFileError as error:
        raise ModelFileError(f'"{file}" holds no TAESD decoder of the known kind. {error.message}') from error


def _approx(tensors: Mapping[str, Tensor], file: str) -> nn.Module:
    weights = [tensors.get(f"conv{i}.{kind}") for i in range(1, 9) for kind in ("weight", "bias")]
    found = [tensor for tensor in weights if tensor is not None]
    if len(found) < len(weights) or not _chained(found[::2]):
        raise ModelFileError(f'"{file}" holds no VAE approximation. Download it again.')
    return ApproxDecoder([*zip(found[::2], found[1::2], strict=True)])


def _chained(weights: Sequence[Tensor]) -> bool:
    """Are these convolutions of pictures, each with the channels that the one before gives, and three at the end?"""
    if any(weight.ndim != 4 for weight in weights) or weights[-1].shape[0] != 3:
        return False
    return all(after.shape[1] == before.shape[0] for before, after in zip(weights, weights[1:], strict=False))


class ApproxDecoder(nn.Module):
    """Eight convolutions over latents of twice the size: pictures of a quarter of the sides."""

    def __init__(self, layers: Sequence[tuple[Tensor, Tensor]]) -> None:
        super().__init__()
        self.layers = nn.ParameterList(
            [nn.Parameter(part.float(), requires_grad=False) for pair in layers for part in pair]
        )

    def forward(self, latents: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, 3, 2 h, 2 w)."""
        parts = [*self.layers]
        x = interpolate(latents, size=(latents.shape[2] * 2, latents.shape[3] * 2))
        margin = sum((weight.shape[-1] - 1) // 2 for weight in parts[::2])
        x = pad(x, (margin,) * 4)
        for weight, bias in zip(parts[::2], parts[1::2], strict=True):
            x = leaky_relu(conv2d(x, weight, bias), 0.1)
        return x
