"""LoRAs (arXiv:2106.09685) as kohya's trainer writes them, and LoCons: weights that are added to a model's.

W' = W + w * (alpha / r) * B A, where A (r, in) is `down` and B (out, r) is `up`; of convolutions A has a kernel, or, in Tucker
form, a core of kernels stands between them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from modules.core.errors import ModelFileError, short
from modules.families.weights import read_weights
from modules.library.header import read_header
from modules.networks.kinds.lora import Lora as ChangeOfLora

UP, DOWN, MIDDLE, ALPHA = "lora_up.weight", "lora_down.weight", "lora_mid.weight", "alpha"
_OTHER_KINDS = (
    ("hada_", "a LoHa"),
    ("lokr_", "a LoKr"),
    ("oft_", "an OFT network"),
    ("dora_scale", "a DoRA"),
    ("on_input", "an (IA)3 network"),
    ("diff", "a network of full differences"),
    ("w_norm", "a network of full differences"),
    ("string_to_param", "a bundle with a textual inversion"),
    ("lora_A", "a LoRA in diffusers' form"),
    ("lora_B", "a LoRA in diffusers' form"),
    ("lora.up", "a LoRA in diffusers' form"),
    ("lora_linear_layer", "a LoRA in diffusers' form"),
)


@dataclass(frozen=True, kw_only=True)
class Module:
    """One layer's. `up` (out, r, ...), `down` (r, in, ...), `middle` (r, r, kh, kw) or None, as in the file; `scale` is alpha / r."""

    up: Tensor
    down: Tensor
    middle: Tensor | None
    scale: float

    @property
    def rank(self) -> int:
        """r."""
        return self.down.shape[0]

    @property
    def shape(self) -> tuple[int, ...]:
        """(out, in, ...) of the weight it is for, with the kernel of a convolution."""
        kernel = self.down.shape[2:] if self.middle is None else self.middle.shape[2:]
        return (self.up.shape[0], self.down.shape[1], *kernel)

    def factors(self) -> tuple[Tensor, Tensor]:
        """B (out, r) and A (r, in, ...), float32; a Tucker core is part of A."""
        change = ChangeOfLora(up=self.up, down=self.down, mid=self.middle, scale=self.scale)
        up, down = change.factors(self.up, None)
        return up, down.reshape(self.rank, *self.shape[1:])


@dataclass(frozen=True, kw_only=True)
class Lora:
    """A LoRA's modules by kohya's names, mapped from its file."""

    name: str
    modules: Mapping[str, Module]
    metadata: Mapping[str, str]

    @property
    def for_xl(self) -> bool:
        """Are its modules named as those of XL's?"""
        signs = ("lora_te1_", "lora_te2_", "lora_unet_input_", "lora_unet_middle_", "lora_unet_output_")
        return any(name.startswith(signs) for name in self.modules)


def read_lora(path: Path, name: str) -> Lora:
    """That file's; raises ModelFileError for a network of another kind, naming it, and for a damaged one."""
    grouped: dict[str, dict[str, Tensor]] = {}
    for key, tensor in read_weights(path).items():
        module, _, part = key.partition(".")
        if part not in (UP, DOWN, MIDDLE, ALPHA):
            kind = next((words for sign, words in _OTHER_KINDS if sign in key), "no LoRA")
            raise ModelFileError(
                f'"{path.name}" is {kind} (it holds {short(key)}): this version merges plain LoRAs and LoCons. Choose another.'
            )
        grouped.setdefault(module, {})[part] = tensor
    headed = path.suffix.lower() == ".safetensors"
    metadata = read_header(path).metadata if headed else {}
    return Lora(name=name, modules={m: _module(path, m, parts) for m, parts in grouped.items()}, metadata=metadata)


def _module(path: Path, name: str, parts: Mapping[str, Tensor]) -> Module:
    up, down, middle = parts.get(UP), parts.get(DOWN), parts.get(MIDDLE)
    if up is None or down is None:
        raise ModelFileError(f'"{path.name}" lacks a part of {name}; it is damaged. Download it again.')
    rank = down.shape[0] if down.ndim in (2, 4) else 0
    inner = middle.shape[:2] == (rank, rank) and middle.ndim == 4 if middle is not None else True
    if not rank or up.ndim not in (2, 4) or up.flatten(1).shape[1] != rank or not inner:
        raise ModelFileError(
            f'"{path.name}" has parts of {name} that do not fit together, {tuple(up.shape)} and {tuple(down.shape)}. Download it again.'
        )
    alpha = parts[ALPHA].float().item() if ALPHA in parts and parts[ALPHA].numel() == 1 else float(rank)
    return Module(up=up, down=down, middle=middle, scale=alpha / rank)
