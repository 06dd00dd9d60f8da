"""U-Nets, text encoders and autoencoders that run compiled, in the shape of the modules of diffusers and transformers they stand for."""

import logging
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from modules.core.errors import ModelFileError
from modules.devices.choice import Compute
from modules.devices.compiled import CompiledPart, CompiledRuntime
from modules.devices.memory import free_memory
from modules.families.alterable import Alterable, Build, kept_type
from modules.families.source import Source, Tell, untold
from modules.families.tracing import traced_part, unet_inputs
from modules.families.unet import build_unet, unet_config
from modules.families.vae import build_vae, read_vae
from modules.prompting.words import VECTORS

log = logging.getLogger(__name__)

NORM, TABLE = "final_layer_norm.", "embeddings.token_embedding.weight"

MAPS = 8
"""Maps of the outermost width and the picture's size that OpenVINO takes for an autoencoder at once; 6 were measured at 512 x 512."""


def unet_of(source: Source) -> Any:
    """The U-Net, compiled where its compute says so; raises ModelFileError naming the first tensor that does not fit."""
    tensors, compute = source.backbone, source.compute

    def build(dtype: torch.dtype) -> Any:
        return build_unet(tensors, replace(compute, dtype=dtype))

    return compiled_or_plain(
        compute.compiled,
        lambda runtime: CompiledUNet(runtime, tensors, unet_config(tensors), build, source.tell),
        lambda: build(compute.dtype),
    )


def text_of(tensors: Mapping[str, Tensor], build: Build, compute: Compute, tell: Tell = untold) -> Any:
    """The CLIP that `build` makes of those tensors, which have transformers' names; compiled where its compute says so."""
    return compiled_or_plain(
        compute.compiled,
        lambda runtime: CompiledText(runtime, tensors, build, tell),
        lambda: build(compute.dtype),
    )


def vae_of(tensors: Mapping[str, Tensor], compute: Compute, tell: Tell = untold) -> Any:
    """The autoencoder, compiled where its compute says so; raises ModelFileError naming the first tensor that does not fit."""

    def build(dtype: torch.dtype) -> Any:
        return build_vae(tensors, compute.home, dtype)

    return compiled_or_plain(
        compute.compiled,
        lambda runtime: CompiledVae(runtime, tensors, build, tell),
        lambda: build(compute.vae_dtype),
    )


def compiled_or_plain(
    runtime: CompiledRuntime | None, make: Callable[[CompiledRuntime], Any], plain: Callable[[], Any]
) -> Any:
    """What the compiled runtime makes, or without one, or where it fails, PyTorch's."""
    if runtime:
        try:
            return make(runtime)
        except ModelFileError:
            raise
        except Exception as error:  # OpenVINO raises RuntimeError for much, and the disk may be full
            log.warning("OpenVINO cannot run this (%s: %s); PyTorch does.", type(error).__name__, error)
    return plain()


class CompiledUNet(Alterable):
    """Called as diffusers' UNet2DConditionModel is, with a ControlNet's residuals too; `config` is what that would have."""

    _within = "unet."

    def __init__(
        self,
        runtime: CompiledRuntime,
        tensors: Mapping[str, Tensor],
        config: Mapping[str, Any],
        build: Build,
        tell: Tell,
    ) -> None:
        self.config = SimpleNamespace(**config)
        self._part: Any = traced_part(runtime, "U-Net", tensors, _UNet, build, unet_inputs(config), tell)
        super().__init__(self._part, lambda: build(kept_type(tensors)))

    def __call__(
        self,
        x: Tensor,
        t: Tensor,
        encoder_hidden_states: Tensor,
        class_labels: Tensor | None = None,
        down_block_additional_residuals: Sequence[Tensor] | None = None,
        mid_block_additional_residual: Tensor | None = None,
        **_: Any,
    ) -> tuple[Tensor]:
        """x (B, C, h, w), t (B,), states (B, T, D), labels (B, V) -> (B, 4, h, w).

        Residuals, each (B, ...) as the skip or the middle that it is added to, come all together or not at all.
        """
        told = [] if class_labels is None else [class_labels.float()]
        added: list[Tensor] = []
        if down_block_additional_residuals is not None and mid_block_additional_residual is not None:
            added = [one.float() for one in (*down_block_additional_residuals, mid_block_additional_residual)]
        return (self._part(x.float(), t.float(), encoder_hidden_states.float(), *told, residuals=added)[0],)

    @property
    def part(self) -> CompiledPart:
        """What computes."""
        return self._part

    @contextmanager
    def watched(self, samples: list[tuple[Tensor, ...]]) -> Iterator[None]:
        """Each row that it computes meanwhile is added to `samples`."""
        part = self._part

        def watching(*inputs: Tensor, **more: Any) -> tuple[Tensor, ...]:
            samples.extend(tuple(one[i : i + 1].clone() for one in inputs) for i in range(len(inputs[0])))
            return part(*inputs, **more)

        self._part = watching
        try:
            yield
        finally:
            self._part = part


class _UNet(nn.Module):
    def __init__(self, unet: Any) -> None:
        super().__init__()
        self.unet = unet

    def forward(self, x: Tensor, t: Tensor, context: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.unet(x, t, encoder_hidden_states=context, class_labels=labels, return_dict=False)[0]


class CompiledText(Alterable):
    """Called as transformers' CLIPTextModel is, for all its hidden states."""

    _within = "text."
    _keeps = True

    def __init__(self, runtime: CompiledRuntime, tensors: Mapping[str, Tensor], build: Build, tell: Tell) -> None:
        ids = torch.zeros(2, 77, dtype=torch.int64), (None, 77)
        self._part = traced_part(runtime, "text encoder", tensors, _Text, build, [ids], tell)
        super().__init__(self._part, lambda: build(kept_type(tensors)))
        self._norm = {name: tensors[f"{NORM}{name}"].float() for name in ("weight", "bias")}
        self._table = tensors[TABLE]
        self._words = 0

    def __call__(self, ids: Tensor, **_: Any) -> SimpleNamespace:
        """ids (B, 77) -> last_hidden_state and hidden_states, each (B, 77, D)."""
        if self._words:
            ids = torch.where(ids >= VECTORS, ids - VECTORS + len(self._table), ids)
        last, *states = self._part(ids)
        return SimpleNamespace(last_hidden_state=last, hidden_states=states)

    def final_layer_norm(self, states: Tensor) -> Tensor:
        """The norm after the last layer, as networks have it now."""
        found = {name: self.altered.get(f"{NORM}{name}", own).float() for name, own in self._norm.items()}
        return functional.layer_norm(states, found["weight"].shape, found["weight"], found["bias"])

    @property
    def width(self) -> int:
        """Of its tokens' vectors."""
        return self._table.shape[1]

    @contextmanager
    def knowing(self, key: Hashable, rows: Tensor) -> Iterator[None]:
        """Meanwhile ids from VECTORS on mean these rows (n, D)."""
        table = self.altered.get(TABLE, self._table)
        self._words = len(rows)
        longer = torch.cat([table, rows.to(table.dtype)])
        self.alter("vectors", key, lambda: {TABLE: longer})
        try:
            yield
        finally:
            self.restore("vectors")
            self._words = 0


class _Text(nn.Module):
    def __init__(self, text: Any) -> None:
        super().__init__()
        # tracing asks for every attribute, and transformers warns that it knows no loss of a text encoder
        text.loss_function = None
        self.text = text

    def forward(self, ids: Tensor) -> tuple[Tensor, ...]:
        out = self.text(ids, output_hidden_states=True)
        return (out.last_hidden_state, *out.hidden_states)


class CompiledVae:
    """Called as diffusers' AutoencoderKL is. What is too large for the memory goes to PyTorch's, which takes it in strips.

    `free` tells how many bytes a device has left.
    """

    def __init__(
        self,
        runtime: CompiledRuntime,
        tensors: Mapping[str, Tensor],
        build: Build,
        tell: Tell,
        free: Callable[[torch.device], int] = free_memory,
    ) -> None:
        self._build = build
        self._free = free
        self._itemsize = 4 if runtime.precision == "fp32" else 2
        self.config = SimpleNamespace(**read_vae(tensors)[1])

        def traced(role: str, channels: int, wrap: type[nn.Module], size: int) -> CompiledPart:
            picture = torch.zeros(1, channels, size, size), (1, channels, -1, -1)
            return traced_part(runtime, role, tensors, wrap, build, [picture], tell)

        self._decode = traced("decoder", self.config.latent_channels, _Decoder, 8)
        self._encode: Callable[[], CompiledPart] = lambda: traced("encoder", 3, _Encoder, 64)
        self._encoder: CompiledPart | None = None

    def decode(self, z: Tensor, **_: Any) -> tuple[Tensor]:
        """(B, C, h, w) -> (B, 3, H, W) in [-1, 1]."""
        z = z.float()
        if not self._fits(z.shape[-2] * z.shape[-1] * 4 ** (len(self.config.block_out_channels) - 1)):
            return self._build(torch.float32).decode(z, return_dict=False)
        return (self._decode(z)[0],)

    def encode(self, x: Tensor, **_: Any) -> tuple[Any]:
        """(B, 3, H, W) in [-1, 1] -> the distribution of its latents."""
        from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution

        if not self._fits(x.shape[-2] * x.shape[-1]):
            return self._build(torch.float32).encode(x.float(), return_dict=False)
        if self._encoder is None:
            self._encoder = self._encode()  # most pictures need none
        return (DiagonalGaussianDistribution(self._encoder(x.float())[0]),)

    def _fits(self, pixels: int) -> bool:
        """Is there memory for a picture of that size as a whole, one at a time?"""
        need = MAPS * self.config.block_out_channels[0] * self._itemsize * pixels
        free = self._free(torch.device("cpu"))
        if need > free:
            log.info(
                "PyTorch takes the picture in strips: %.1f GB are free, OpenVINO wants %.1f.", free / 1e9, need / 1e9
            )
        return need <= free


class _Decoder(nn.Module):
    def __init__(self, vae: Any) -> None:
        super().__init__()
        self.vae = vae

    def forward(self, z: Tensor) -> Tensor:
        return self.vae.decode(z, return_dict=False)[0]


class _Encoder(nn.Module):
    def __init__(self, vae: Any) -> None:
        super().__init__()
        self.vae = vae

    def forward(self, x: Tensor) -> Tensor:
        return self.vae.encode(x, return_dict=False)[0].parameters
