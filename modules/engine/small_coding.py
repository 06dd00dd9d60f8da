"""TAESD instead of the model's autoencoder, where the settings want it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from modules.core.errors import InputError
from modules.families.model import LoadedModel
from modules.families.small_decoders import TAESD, encoder_name, file_name, find, read_decoder, read_encoder

ENCODE, DECODE = "sd_vae_encode_method", "sd_vae_decode_method"


class SmallCoding:
    """Reads TAESD's files when they are first asked for, and keeps those of the last model."""

    def __init__(self, folders: Sequence[Path] = ()) -> None:
        self._folders = folders
        self._kept: dict[tuple[object, ...], nn.Module] = {}

    def check(self, model: LoadedModel, options: Mapping[str, Any]) -> None:
        """Raise InputError for a file that is wanted and not there, ModelFileError for one that is none."""
        for option in (ENCODE, DECODE):
            if options[option] == TAESD:
                self._network(model, option)

    def decode(self, model: LoadedModel, latents: Tensor) -> Tensor:
        """Latents (B, C, h, w) -> pictures (B, 3, H, W) in [0, 1], float32, on the CPU."""
        decoder = self._network(model, DECODE)
        return decoder(latents.to(model.compute.device, model.compute.dtype)).float().cpu().add(1).div(2).clamp(0, 1)

    def encode(self, model: LoadedModel, pixels: Tensor) -> Tensor:
        """Pictures (B, 3, H, W) in [0, 1] -> latents (B, C, h, w), float32."""
        encoder = self._network(model, ENCODE)
        return encoder(pixels.to(model.compute.device, model.compute.dtype)).float()

    def _network(self, model: LoadedModel, option: str) -> nn.Module:
        space, compute = model.autoencoder.space, model.compute
        name = encoder_name(space) if option == ENCODE else file_name(TAESD, space)
        file = find(self._folders, name) if name else None
        if file is None:
            said = f"the file {name} in models/VAE-approx, which is not there" if name else "latents it was trained for"
            raise InputError(option, f'{option} is TAESD: "{model.name}" needs {said}. Choose Full.')
        key = (option, file, file.stat().st_mtime_ns, compute.device, compute.dtype)
        if key not in self._kept:
            self._kept = {kept: one for kept, one in self._kept.items() if kept[0] != option}
            read = read_encoder if option == ENCODE else (lambda *given: read_decoder(TAESD, *given))
            self._kept[key] = read(file, model.latent_channels, compute.device, compute.dtype)
        return self._kept[key]
