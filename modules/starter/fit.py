"""The training loop all stages share: resumable, seeded, its learning rate timed by the clock or by steps."""

import copy
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

from .muon import optimisers
from .share import Share

M = TypeVar("M", bound=nn.Module)


@dataclass(frozen=True, kw_only=True)
class Budget:
    """When training ends: after `minutes` of training (resumed time counted in) or `steps`, whichever is given."""

    minutes: float | None = None
    steps: int | None = None

    def progress(self, step: int, seconds: float) -> float:
        """How much is spent, from 0 to 1."""
        parts = [step / self.steps] if self.steps else []
        parts += [seconds / 60 / self.minutes] if self.minutes else []
        return min(1.0, max(parts))


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """The optimiser's settings."""

    rate: float
    warmup: int = 100
    beta2: float = 0.99
    decay: float = 0.01
    ema: float = 0.999
    clip: float = 1.0
    save_seconds: float = 120.0


class Average(Generic[M]):
    """Exponential moving average of a module's parameters, quick at first: decay min(ema, (1 + n) / (10 + n))."""

    def __init__(self, module: M, ema: float) -> None:
        self.module, self._ema = copy.deepcopy(module).requires_grad_(False).eval(), ema

    def update(self, module: nn.Module, step: int) -> None:
        decay = min(self._ema, (1 + step) / (10 + step))
        torch._foreach_lerp_(list(self.module.parameters()), [p.detach() for p in module.parameters()], 1 - decay)


def fit(
    module: M,
    loss_at: Callable[[int], tuple[Tensor, dict[str, float]]],
    *,
    path: Path,
    budget: Budget,
    recipe: Recipe,
    on_save: Callable[[nn.Module, int], None] = lambda module, step: None,
    until_step: int | None = None,
) -> M:
    """Trains `module` by `loss_at(step)` until the budget is spent; returns the averaged module.

    Everything random in `loss_at` must be drawn from the step alone: then a run that was stopped and resumed from
    `path` gives the losses of one that was not. `until_step` stops early, as a kill would, after a save.
    """
    optimiser = optimisers(module, rate=recipe.rate, beta2=recipe.beta2, decay=recipe.decay)
    average, step, seconds = Average(module, recipe.ema), 0, 0.0
    if path.exists():
        state = torch.load(path, weights_only=True)
        module.load_state_dict(state["module"])
        average.module.load_state_dict(state["average"])
        for one, kept in zip(optimiser, state["optimiser"], strict=True):
            one.load_state_dict(kept)
        step, seconds = state["step"], state["seconds"]

    def save() -> None:
        parts = {
            "module": module.state_dict(),
            "average": average.module.state_dict(),
            "optimiser": [one.state_dict() for one in optimiser],
        }
        _save({**parts, "step": step, "seconds": seconds}, path)
        on_save(average.module, step)

    shown = saved = time.monotonic()
    means: dict[str, float] = {}
    share = Share() if budget.minutes else None  # a run of so many steps repeats to the last bit
    while (progress := budget.progress(step, seconds)) < 1 and step != until_step:
        if share:
            share.adapt()
        start = time.monotonic()
        rate = (
            recipe.rate * min(1, (step + 1) / recipe.warmup) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * progress)))
        )
        for group in (group for one in optimiser for group in one.param_groups):
            group["lr"] = rate
        module.train()
        loss, parts = loss_at(step)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(module.parameters(), recipe.clip)
        for one in optimiser:
            if torch.isfinite(norm):
                one.step()
            one.zero_grad(set_to_none=True)
        average.update(module, step)
        step += 1
        seconds += time.monotonic() - start
        for name, value in {"loss": loss.item(), **parts}.items():
            means[name] = means.get(name, value) * 0.98 + value * 0.02
        if time.monotonic() - shown > 10:
            shown = time.monotonic()
            numbers = "  ".join(f"{name} {value:.4f}" for name, value in means.items())
            print(
                f"{path.stem}  {progress:5.1%}  step {step}  {numbers}  {seconds / step * 1000:.0f} ms/step  {torch.get_num_threads()} threads",
                flush=True,
            )
        if time.monotonic() - saved > recipe.save_seconds:
            save()
            saved = time.monotonic()
    save()
    return average.module


def trained(module: M, path: Path) -> M:
    """`module` with the averaged weights of a checkpoint, for use."""
    module.load_state_dict(torch.load(path, weights_only=True)["average"])
    return module.requires_grad_(False).eval()


def _save(state: dict, path: Path) -> None:
    """Written beside and renamed, so that a kill leaves the old file or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(".tmp")
    torch.save(state, beside)
    beside.replace(path)
