"""The program's own engine with what is bundled, drawing for evaluation: requests in, pictures out."""

import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from modules.core.paths import Paths
from modules.core.settings import Settings
from modules.engine.build import build_engine
from modules.engine.engine import Engine
from modules.jobs.executors.base import Cancel
from modules.requests.events import Failed, ImageReady, Order, Warned
from modules.requests.txt2img import make_request

from .export import DEFAULTS
from .train_autoencoder import to_tensor


class Program:
    """An engine whose user data lie in `data`; the bundled models are found from any folder."""

    def __init__(self, data: Path) -> None:
        self._engine: Engine = build_engine(paths=Paths(data=data), use_cpu=True)
        changes = {"sd_model_checkpoint": "starter", "live_previews_enable": False, "enable_pnginfo": False}
        self._options = Settings().changed(changes).flat()

    def draw(self, prompt: str, *, seed: int, **values: Any) -> Image.Image:
        """One picture, 128 pixels square; raises RuntimeError with what the engine said instead of drawing, or warned of."""
        asked = {**DEFAULTS, **values, "prompt": prompt, "seed": seed}
        order = Order(job="evaluation", request=make_request(asked), seed=seed, options=self._options)
        events = list(self._engine.run(order, Cancel()))
        said = [event.message for event in events if isinstance(event, Failed | Warned)]
        pictures = [event.data for event in events if isinstance(event, ImageReady)]
        if said or not pictures:
            raise RuntimeError(f"{prompt}: {' '.join(said)}")
        return Image.open(io.BytesIO(pictures[0])).convert("RGB")

    def pixels(self, prompts: Iterable[str], *, seed: int, **values: Any) -> Tensor:
        """A picture a prompt, seeds counting up: (N, 3, 128, 128) in [-1, 1]."""
        return to_tensor([self.draw(prompt, seed=seed + i, **values) for i, prompt in enumerate(prompts)])


def as_array(pixels: Tensor) -> np.ndarray:
    """(3, H, W) in [-1, 1] -> (H, W, 3) uint8."""
    return ((pixels.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).permute(1, 2, 0).numpy()
