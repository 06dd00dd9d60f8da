"""Tiny language models, their tokenizers, and the rest that families which read prompts with them share in tests."""

import io
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from PIL import Image
from safetensors.torch import save_file
from tokenizers import AddedToken, Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE
from torch import Tensor, nn
from transformers import PreTrainedTokenizerFast

from modules.core.paths import Paths
from modules.core.settings import Settings
from modules.devices.choice import choose_compute
from modules.engine.build import build_engine
from modules.families.kinds import FAMILIES, Family
from modules.families.ldm_keys import VAE, VaeShape, vae_keys
from modules.families.source import BACKBONE, Source, text_prefix
from modules.jobs.executors.base import Cancel
from modules.requests.events import Done, ImageReady, Order
from modules.requests.txt2img import make_request

COMPUTE = choose_compute(use_cpu=True)
SENTENCE = "a red fox in the snow, 雪"
MARKS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<think>", "</think>")
QWEN_CHAT = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}{% endfor %}"
    "{{ '<|im_start|>assistant\\n' }}"
    "{% if enable_thinking is defined and enable_thinking is false %}{{ '<think>\\n\\n</think>\\n\\n' }}{% endif %}"
)
"""What Qwen3's own template makes of one message."""
VOCABULARY = 300
SEED = 5


def byte_tokenizer(marks: Sequence[str] = MARKS) -> Tokenizer:
    """Each byte a token, and the marks behind them."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(BPE({letter: i for i, letter in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(mark, special=True) for mark in marks])
    return tokenizer


def write_tokenizer(folder: Path, tokenizer: Tokenizer) -> Path:
    """The folder with its tokenizer.json."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def transformers_tokenizer(tokenizer: Tokenizer, **options: Any) -> PreTrainedTokenizerFast:
    """The same for a pipeline."""
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **options)


def seeded(module: nn.Module, seed: int = 0, scale: float = 0.08) -> Any:
    """The module with random weights, none of them 0 or 1 throughout."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.copy_(1 + 0.1 * noise if parameter.ndim == 1 else scale * noise)
    return module.requires_grad_(False).eval()


def kl16(seed: int = 1) -> AutoencoderKL:
    """A tiny autoencoder of 16 channels, as FLUX.1's has them."""
    levels: dict[str, Any] = {
        "block_out_channels": (32,) * 4,
        "down_block_types": ("DownEncoderBlock2D",) * 4,
        "up_block_types": ("UpDecoderBlock2D",) * 4,
    }
    return seeded(
        AutoencoderKL(
            **levels,
            layers_per_block=1,
            latent_channels=16,
            use_quant_conv=False,
            use_post_quant_conv=False,
            scaling_factor=0.3611,
            shift_factor=0.1159,
        ),
        seed,
    )


def named(module: nn.Module) -> dict[str, Tensor]:
    """Its weights by name."""
    return {name: value.detach().clone() for name, value in module.state_dict().items()}


def checkpoint(
    backbone: Mapping[str, Tensor], vae: Mapping[str, Tensor], **texts: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """A single file of those parts."""
    whole = {BACKBONE: backbone, VAE: vae, **{text_prefix(kind): tensors for kind, tensors in texts.items()}}
    return {prefix + name: value.contiguous() for prefix, part in whole.items() for name, value in part.items()}


def ldm_vae(vae: AutoencoderKL) -> dict[str, Tensor]:
    """Its weights under ldm's names."""
    return vae_keys(VaeShape(levels=4, blocks=1)).to_ldm(named(vae))


def source(tensors: Mapping[str, Tensor], **tokenizers: Path) -> Source:
    """What a family loads."""
    return Source(tensors=tensors, name="tiny", compute=COMPUTE, tokenizers=tokenizers)


def claimants(tensors: Mapping[str, Tensor]) -> list[Family]:
    """The families that take these tensors for theirs."""
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    return [family for family in FAMILIES if family.detect(shapes)]


def noise(channels: int, height: int = 8, width: int = 8) -> Tensor:
    """The first noise of SEED."""
    return torch.randn(1, channels, height, width, generator=torch.Generator().manual_seed(SEED))


def drawing(monkeypatch: Any, folder: Path, tensors: Mapping[str, Tensor], tokenizers: Mapping[str, Path]) -> Any:
    """A function that draws with the checkpoint, if there are tensors, through the whole engine and gives its events."""
    file = folder / "models" / "Stable-diffusion" / "tiny.safetensors"
    if tensors:
        file.parent.mkdir(parents=True)
        save_file({name: tensor.clone() for name, tensor in tensors.items()}, file)
    for kind, place in tokenizers.items():
        shutil.copytree(place, folder / "models" / "tokenizers" / kind, dirs_exist_ok=True)
    engine = build_engine(paths=Paths(data=folder), use_cpu=True)

    def run(options: Mapping[str, Any] | None = None, **values: Any) -> list[Any]:
        settings = Settings().changed({"sd_model_checkpoint": "tiny", "randn_source": "CPU", **(options or {})})
        small = {
            "prompt": SENTENCE,
            "width": 64,
            "height": 64,
            "steps": 2,
            "sampler_name": "Euler",
            "scheduler": "Simple",
        }
        order = Order(job="t", request=make_request({**small, **values}), seed=SEED, options=settings.flat())
        return list(engine.run(order, Cancel()))

    return run


def picture(events: Iterable[Any]) -> np.ndarray:
    """The one picture of a job that ended well, (H, W, 3)."""
    events = list(events)
    assert isinstance(events[-1], Done), events[-1]
    (image,) = [Image.open(io.BytesIO(event.data)) for event in events if isinstance(event, ImageReady)]
    return np.asarray(image, dtype=int)
