"""The refiner: a second checkpoint that takes over in the middle of a picture."""

from collections.abc import Callable
from typing import Any

from torch import Tensor

from modules.core.errors import InputError
from modules.engine.conditions import Conditions, Guides
from modules.engine.models import Models
from modules.engine.plan import Plan
from modules.families.model import LoadedModel
from modules.sampling.denoiser import NoiseLevels
from modules.sampling.guidance import Guided


class Refiner:
    """The model that takes over, and what guides it; `label` is its name in the infotext."""

    def __init__(self, model: LoadedModel, guides: Guides, plan: Plan) -> None:
        self.model = model
        self.guides = guides
        self.took_over = False
        self._label = f"{model.name} [{model.sha256[:10]}]"
        self._at = plan.request.refiner_switch_at
        self._calls = plan.request.steps * (2 if plan.sampler.second_order else 1)
        self._by_steps = plan.options["refiner_switch_by_sample_steps"]

    @property
    def fields(self) -> dict[str, Any]:
        """What the infotext says of it, once it took over."""
        return {"Refiner": self._label, "Refiner switch at": self._at} if self.took_over else {}

    def after(self, base: Guided, refined: Callable[[int], Guided], levels: NoiseLevels) -> "Relay":
        """`base`, and from the switch on `refined`, which is made with the number of calls before it."""
        self.took_over = False
        return Relay(self, base, refined, levels)

    def due(self, call: int, sigma: Tensor, levels: NoiseLevels) -> bool:
        """Is it this model's turn at that call, at noise levels sigma (B,)?

        A1111's rule: by the part of the 1000 times that lies above the level nearest to sigma, or by that of the calls done.
        Without a point to switch at, it is from the beginning.
        """
        if self._at is None:
            return True
        t = int((levels.sigmas - sigma.max()).abs().argmin())
        return (call / self._calls if self._by_steps else (999 - t) / 1000) >= self._at


class Relay:
    """A denoiser that hands over to the refiner once, and for good."""

    def __init__(self, refiner: Refiner, base: Guided, refined: Callable[[int], Guided], levels: NoiseLevels) -> None:
        self._refiner = refiner
        self._runner = base
        self._refined = refined
        self._levels = levels
        self._calls = 0

    def __call__(self, x: Tensor, sigma: Tensor) -> Tensor:
        """x (B, C, H, W), sigma (B,) -> D (B, C, H, W)."""
        return self._next(sigma)(x, sigma)

    def both(self, x: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        """x (B, C, H, W), sigma (B,) -> D and D_u, each (B, C, H, W)."""
        return self._next(sigma).both(x, sigma)

    def _next(self, sigma: Tensor) -> Guided:
        if not self._refiner.took_over and self._refiner.due(self._calls, sigma, self._levels):
            self._refiner.took_over = True
            self._runner = self._refined(self._calls)
        self._calls += 1
        return self._runner


def refiner_of(
    plan: Plan, model: LoadedModel, models: Models, conditions: Conditions, on_read: Callable[[str], None]
) -> Refiner | None:
    """The refiner the plan's request asks for, loaded beside `model`; None without one, or if it is the model itself.

    Raises UnknownName, ModelFileError, or InputError for one that cannot go on with the model's latents.
    """
    name = plan.request.refiner_checkpoint
    if name is None:
        return None
    found = models.load(name, on_read, vae=plan.options["sd_vae"], refiner=True)
    if found.sha256 == model.sha256:
        return None
    flow = "flow" in (found.prediction, model.prediction) and found.prediction != model.prediction
    spaces = [(one.latent_channels, one.downscale, one.latent_scale) for one in (found, model)]
    if flow or spaces[0] != spaces[1]:
        raise InputError(
            "refiner_checkpoint",
            f'refiner_checkpoint "{found.name}" cannot go on with the latents of "{model.name}": choose one of the same family.',
        )
    return Refiner(found, conditions.guides(found, plan), plan)


def levels_of(model: LoadedModel, plan: Plan) -> NoiseLevels:
    """The model's noise levels as the settings change them."""
    levels = model.levels
    if plan.options["use_downcasted_alpha_bar"]:
        levels = levels.downcast()
    return levels.zero_terminal() if plan.options["sd_noise_schedule"] == "Zero Terminal SNR" else levels
