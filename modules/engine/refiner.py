"""The refiner: a second checkpoint that takes over in the middle of a picture."""

from collections.abc import Callable
from typing import Any

from torch import Tensor

from modules.core.errors import InputError
from modules.engine.conditions import Conditions, Guides
from modules.engine.kept import keeping_of
from modules.engine.models import Models
from modules.engine.plan import Plan
from modules.engine.techniques import asked_of_unets
from modules.families.model import LoadedModel
from modules.sampling.denoiser import NoiseLevels
from modules.sampling.guidance import Guided
from modules.sampling.tiles import Regional

Asked = Guided | Regional

USUAL_PASS = "second pass"
"""In which a refiner takes part with hires fix, unless its infotext says otherwise."""


class Refiner:
    """The model that takes over, and what guides it; `label` is its name in the infotext."""

    def __init__(self, model: LoadedModel, guides: Guides, plan: Plan) -> None:
        self.model = model
        self.guides = guides
        self.took_over = False
        self._at = plan.request.refiner_switch_at
        self._calls = plan.request.steps * (2 if plan.sampler.second_order else 1)
        self._passes = (
            plan.options["hires_fix_refiner_pass"] if getattr(plan.request, "enable_hr", False) else USUAL_PASS
        )
        self._by_steps = plan.options["refiner_switch_by_sample_steps"]

    @property
    def fields(self) -> dict[str, Any]:
        """What the infotext says of it, once it took over."""
        if not self.took_over:
            return {}
        which = {"Hires refiner": self._passes} if self._passes != USUAL_PASS else {}
        return {**which, "Refiner": f"{self.model.name} [{self.model.sha256()[:10]}]", "Refiner switch at": self._at}

    def after(self, base: Asked, refined: Callable[[int], Asked], levels: NoiseLevels) -> "Relay":
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

    def __init__(self, refiner: Refiner, base: Asked, refined: Callable[[int], Asked], levels: NoiseLevels) -> None:
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

    def _next(self, sigma: Tensor) -> Asked:
        if not self._refiner.took_over and self._refiner.due(self._calls, sigma, self._levels):
            self._refiner.took_over = True
            self._runner = self._refined(self._calls)
        self._calls += 1
        return self._runner


def refiner_of(
    plan: Plan,
    model: LoadedModel,
    models: Models,
    conditions: Conditions,
    on_read: Callable[[str], None],
    check: Callable[[], None],
    beside: int = 1,
) -> Refiner | None:
    """The refiner the plan's request asks for, loaded beside `model` and others, so many in all; None without one, or if it is
    the model itself.

    Raises what Models.load raises, or InputError for one that cannot go on with the model's latents.
    """
    name = plan.request.refiner_checkpoint
    if name is None:
        return None
    keeping = keeping_of(plan.options)
    found = models.load(
        name,
        on_read,
        vae=plan.options["sd_vae"],
        field="refiner_checkpoint",
        beside=beside,
        keeping=keeping,
        check=check,
        plain=bool(asked_of_unets(plan)),
        float8=plan.options["fp8_storage"],
    )
    if found is model:
        return None
    flow = "flow" in (found.prediction, model.prediction) and found.prediction != model.prediction
    if flow or found.autoencoder.space != model.autoencoder.space:
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
