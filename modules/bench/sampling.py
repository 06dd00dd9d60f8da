"""What prompts and samplers cost beside the model.

prompt              median of 1,000 prompts of 200 tokens, read and encoded by the starter
Euler, ...          a sampler's own time a step at 512x512 (4x64x64 latents), its model answering at once, and what share
                    that is of one guided step (batch 2) of a U-Net of SD 1.5's size on this machine
"""

import random
import statistics
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from modules.bench.subject import Subject
from modules.bench.table import NAME, Column, Row, Table, timed
from modules.devices.choice import choose_compute
from modules.families import sd1
from modules.families.source import Source
from modules.families.weights import read_weights
from modules.prompting.tokenizer import build_tokenizer
from modules.sampling.denoiser import NoiseLevels, scaled_linear_alphas_cumprod
from modules.sampling.noise import NoiseSource
from modules.sampling.registry import build_samplers
from modules.sampling.sampler import Sampler
from modules.sampling.schedules import build_schedules
from modules.starter.evaluate import CHECKPOINT

STEPS = 20


PROMPTS = 1000
COLUMNS = (
    replace(NAME, label="beside the model"),
    Column(name="seconds", label="time", form="{:.5f} s"),
    Column(name="share", label="share of a step", form="{:.2%}"),
)


def tables(subject: Subject) -> Iterator[Table]:
    """One."""
    rows = measured(choose_compute(use_cpu=subject.flags.use_cpu).device, subject.rounds)
    yield Table(name="sampling", title="Prompts and samplers", columns=COLUMNS, rows=rows)


def measured(device: torch.device, rounds: int) -> Iterator[Row]:
    """Prompts, a step of SD 1.5's U-Net, and each sampler."""
    yield {"name": "prompt of 200 tokens", "seconds": prompt_seconds(PROMPTS)}
    step = unet_seconds(device)
    yield {"name": "U-Net of SD 1.5's size, one guided step", "seconds": step}
    for name, sampler in build_samplers().items():
        own = statistics.median(sampler_seconds(sampler, device) for _ in range(rounds)) / STEPS
        yield {"name": name, "seconds": own, "share": own / step}


def prompt_seconds(count: int) -> float:
    """Median time to encode one of `count` different prompts of 200 tokens, some of them weighed."""
    model = sd1.load(
        Source(tensors=read_weights(CHECKPOINT), name="starter", native_size=128, compute=choose_compute(use_cpu=True))
    )
    tokenizer, rng = build_tokenizer(), random.Random(0)
    times = []
    with torch.inference_mode():
        for _ in range(count):
            text = _prompt(tokenizer, rng)
            times.append(timed(lambda text=text: model.prompts.encode([text])))
    return statistics.median(times)


def _prompt(tokenizer, rng: random.Random) -> str:
    """200 tokens of known words, a tenth of them in attention brackets."""
    words = []
    while len(words) < 200:
        token = tokenizer.id_to_token(rng.randrange(1000, 40000))
        word = token.removesuffix("</w>")
        if token.endswith("</w>") and word.isalpha() and len(tokenizer.encode(word, add_special_tokens=False).ids) == 1:
            words.append(f"({word}:1.2)" if rng.random() < 0.1 else word)
    return " ".join(words)


def unet_seconds(device: torch.device) -> float:
    """Median time of one step of a U-Net with SD 1.5's widths and random weights, 2 x 4 x 64 x 64, float32."""
    from diffusers import UNet2DConditionModel

    unet: Any = UNet2DConditionModel(sample_size=64, cross_attention_dim=768, attention_head_dim=8).eval()
    unet.to(device)
    x, t, context = torch.randn(2, 4, 64, 64), torch.tensor([500, 500]), torch.randn(2, 77, 768)
    parts = [part.to(device) for part in (x, t, context)]
    with torch.inference_mode():
        return statistics.median([timed(lambda: _finish(unet(*parts).sample)) for _ in range(4)][1:])


def sampler_seconds(sampler: Sampler, device: torch.device) -> float:
    """Time of STEPS steps when the model answers at once."""
    levels = NoiseLevels(scaled_linear_alphas_cumprod().to(device))
    sigmas = sampler.sigmas(STEPS, build_schedules().get(sampler.entry.schedule), levels).to(device)
    noise = NoiseSource([1], (4, 64, 64), device=device)

    class Instant:
        def __call__(self, x: Tensor, sigma: Tensor) -> Tensor:
            return x

        def both(self, x: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
            return x, x

    def work() -> None:
        _finish(
            sampler.sample(
                Instant(),
                sampler.start(noise.first(), sigmas),
                sampler.path(STEPS, sigmas, levels),
                noise_sampler=sampler.noise_sampler(noise, sigmas),
                **sampler.fixed,
            )
        )

    with torch.inference_mode():
        return timed(work)


def _finish(result: Tensor) -> None:
    """Waits for the device."""
    result.flatten()[0].item()
