"""What a request's ControlNet units ask for: checked, and put under the names they have here, before anything is drawn."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from modules.control.face_adapter import INSTANT, INSTANT_ID, FaceAdapter
from modules.control.kinds import CONTROLNET, LABELS
from modules.control.models import LoadedControl
from modules.control.preprocessors.faces import KEYPOINTS
from modules.core.errors import InputError
from modules.engine.plan import Plan
from modules.engine.toolbox import Toolbox
from modules.families.model import LoadedModel
from modules.families.unet import UNetNetwork
from modules.requests.control import NONE, ControlUnit


def works_alone(number: int, unit: ControlUnit, tools: Toolbox) -> bool:
    """Does the unit's preprocessor control by itself, whatever its model? Raises InputError for a unit that lacks one."""
    entry = tools.catalogue.preprocessor(unit.module, f"control.{number}.module")
    if entry.model_free:
        return True
    if unit.model.strip() not in ("", NONE):
        return False
    field = f"control.{number}.model"
    raise InputError(
        field, f"{field} is None, and {entry.name} alone changes no picture. Choose a model, or turn the unit off."
    )


def check_reference(number: int, unit: ControlUnit, plan: Plan, model: LoadedModel) -> None:
    """Raise InputError where a model has no self-attention that references could be shown to, or something else is in their way."""
    field, request = f"control.{number}.module", plan.request
    if not isinstance(model.network, UNetNetwork):
        label = LABELS.get(model.family, model.family)
        raise InputError(
            field,
            f'{field} is {unit.module}, which works in the U-Nets of Stable Diffusion 1.x, 2.x and XL; "{model.name}" is of the '
            f"family {label}. Turn the unit off, or choose another checkpoint.",
        )
    if request.deep_cache:
        raise InputError(
            "deep_cache", f"deep_cache leaves out layers that {unit.module} is shown to. Turn one of them off."
        )
    if unit.effective_region_mask:
        check_merging(plan, f"the region of control.{number}")


def goes_by_face(unit: ControlUnit, loaded: LoadedControl) -> bool:
    """Is it Instant-ID's ControlNet, which reads the words of a face instead of the prompt?"""
    named = unit.module == KEYPOINTS or bool(INSTANT.search(loaded.name.casefold()))
    return named and loaded.kind.name == CONTROLNET


def check_faces(units: Sequence[tuple[int, ControlUnit, LoadedControl | None]]) -> None:
    """Raise InputError for Instant-ID's ControlNet without its adapter."""
    adapters = [one.network for _, _, one in units if one and isinstance(one.network, FaceAdapter)]
    if any(adapter.kind == INSTANT_ID for adapter in adapters):
        return
    for number, unit, loaded in units:
        if loaded and goes_by_face(unit, loaded):
            raise InputError(
                f"control.{number}.model",
                f'control.{number}.model is "{loaded.name}", Instant-ID\'s ControlNet, which reads what its IP-Adapter says of the face. '
                "Choose that adapter in another unit.",
            )


def check_merging(plan: Plan, who: str) -> None:
    """Raise InputError if places are merged that somebody has to tell apart."""
    if ratio := plan.options["token_merging_ratio"]:
        raise InputError(
            "token_merging_ratio",
            f"token_merging_ratio is {ratio:g}: {who} cannot tell merged places apart. Set it to 0, or leave that out.",
        )


def asked_of_control(plan: Plan, tools: Toolbox) -> list[str]:
    """The fields of units that change how a network computes; a ControlNet only adds to what it computes. Raises UnknownName, ModelFileError."""
    return [
        f"control.{n}" for n, unit in enumerate(plan.request.control) if unit.active and not _only_adds(n, unit, tools)
    ]


def _only_adds(number: int, unit: ControlUnit, tools: Toolbox) -> bool:
    """Is it a ControlNet?"""
    if tools.catalogue.preprocessor(unit.module, f"control.{number}.module").model_free:
        return False
    named = unit.model.strip() not in ("", NONE)
    return named and tools.controls.kind(unit.model, f"control.{number}.model").name == CONTROLNET


def named_units(plan: Plan, tools: Toolbox) -> Plan:
    """The plan with its units' models and preprocessors under the names they have here; raises UnknownName."""
    units = []
    for number, unit in enumerate(plan.request.control):
        if unit.active:
            unit = unit.model_copy(update=_named(number, unit, tools))
        units.append(unit)
    return replace(plan, request=plan.request.model_copy(update={"control": tuple(units)}))


def _named(number: int, unit: ControlUnit, tools: Toolbox) -> dict[str, Any]:
    """The names of preprocessor and model as they are here, and the numbers that -1 stands for."""
    entry = tools.catalogue.preprocessor(unit.module, f"control.{number}.module")
    sliders = (entry.resolution, entry.threshold_a, entry.threshold_b)
    asked = dict(zip(("processor_res", "threshold_a", "threshold_b"), sliders, strict=True))
    settled = {name: slider.settled(getattr(unit, name)) if slider else -1 for name, slider in asked.items()}
    settled["processor_res"] = round(settled["processor_res"])
    model = NONE
    if not entry.model_free and unit.model.strip() not in ("", NONE):
        model = tools.controls.files.find(unit.model, f"control.{number}.model").title
    return {"module": entry.name, "model": model, **settled}
