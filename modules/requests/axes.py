"""The axes of an X/Y/Z plot: what one value of each changes in a request. Names and order are A1111's."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ValidationError

from modules.core.errors import InputError, short
from modules.core.settings import fields
from modules.core.validation import input_error
from modules.requests.generation import GenerationRequest

Request = TypeVar("Request", bound=GenerationRequest)
Kind = Literal["nothing", "whole", "number", "text", "switch", "size", "replace", "order", "faces"]


@dataclass(frozen=True, kw_only=True)
class Axis:
    """`field` of a request or `option` of the settings takes the value. `tab`: the only one that has it; `cost` of changing it, 0 to 1;
    `choices`: what is offered as values; `bare`: legends show the value without the axis' name; `unit`: the value is that part of the first of
    the units in `field`."""

    name: str
    kind: Kind
    field: str = ""
    option: str = ""
    tab: str = ""
    cost: float = 0.0
    choices: str = ""
    bare: bool = False
    unit: str = ""

    def usable(self, known: Mapping[str, Any]) -> bool:
        """Can requests with these fields, and the settings, take its values?"""
        return (
            self.kind in ("nothing", "size", "replace", "order", "faces")
            or self.field in known
            or self.option in OPTIONS
        )

    def changed(self, request: Request, value: Any, values: Sequence[Any]) -> Request:
        """The request with that one of the axis' values; raises InputError."""
        if self.kind == "nothing":
            return request
        if self.kind in ("replace", "order"):
            texts = _replaced if self.kind == "replace" else _ordered
            return remade(request, texts(request, value, values))
        if self.kind == "faces":
            return remade(request, _restoring(request, value))
        if self.kind == "size":
            return remade(request, _size(value))
        if self.unit:
            return remade(request, {self.field: _units(request, self, value)})
        if self.option:
            return remade(request, {"override_settings": {**request.override_settings, self.option: value}})
        return remade(request, {self.field: value})

    def words(self, value: Any) -> str:
        """The value as legends show it."""
        if self.kind == "nothing":
            return ""
        if isinstance(value, tuple):
            return ", ".join(value)
        if isinstance(value, float):
            value = round(value, 8)
        if self.choices == "checkpoints":
            value = str(value).replace("\\", "/").rpartition("/")[2]
        return str(value) if self.bare else f"{self.name}: {value}"


RESTORERS = ("CodeFormer", "GFPGAN")
YES, NO = ("true", "yes", "y", "1"), ("none", "false", "no", "n", "0")
OPTIONS = frozenset(key for _, key, _ in fields())


def _field(name: str, kind: Kind, field: str, **more: Any) -> Axis:
    return Axis(name=name, kind=kind, field=field, **more)


def _option(name: str, kind: Kind, option: str, **more: Any) -> Axis:
    return Axis(name=name, kind=kind, option=option, **more)


CONTROL: tuple[tuple[str, Kind, str], ...] = (
    ("Enabled", "switch", "enabled"),
    ("Model", "text", "model"),
    ("Weight", "number", "weight"),
    ("Guidance Start", "number", "guidance_start"),
    ("Guidance End", "number", "guidance_end"),
    ("Control Mode", "text", "control_mode"),
    ("Resize Mode", "text", "resize_mode"),
    ("Preprocessor", "text", "module"),
    ("Pre Resolution", "whole", "processor_res"),
    ("Pre Threshold A", "number", "threshold_a"),
    ("Pre Threshold B", "number", "threshold_b"),
)
DETAIL: tuple[tuple[str, Kind, str], ...] = (
    ("ADetailer model", "text", "ad_model"),
    ("ADetailer prompt", "text", "ad_prompt"),
    ("ADetailer negative prompt", "text", "ad_negative_prompt"),
    ("Mask erosion / dilation", "whole", "ad_dilate_erode"),
    ("Inpaint denoising strength", "number", "ad_denoising_strength"),
)
"""The axes that both extensions add behind A1111's."""

AXES = (
    Axis(name="Nothing", kind="nothing"),
    _field("Seed", "whole", "seed"),
    _field("Var. seed", "whole", "subseed"),
    _field("Var. strength", "number", "subseed_strength"),
    _field("Steps", "whole", "steps"),
    _field("Hires steps", "whole", "hr_second_pass_steps", tab="txt2img"),
    _field("CFG Scale", "number", "cfg_scale"),
    _field("Image CFG Scale", "number", "image_cfg_scale", tab="img2img"),
    Axis(name="Prompt S/R", kind="replace", bare=True),
    Axis(name="Prompt order", kind="order", bare=True),
    _field("Sampler", "text", "sampler_name", tab="txt2img", choices="samplers", bare=True),
    _field("Hires sampler", "text", "hr_sampler_name", tab="txt2img", choices="samplers", bare=True),
    _field("Sampler", "text", "sampler_name", tab="img2img", choices="samplers", bare=True),
    _option("Checkpoint name", "text", "sd_model_checkpoint", cost=1.0, choices="checkpoints", bare=True),
    _field("Negative Guidance minimum sigma", "number", "s_min_uncond"),
    _field("Sigma Churn", "number", "s_churn"),
    _field("Sigma min", "number", "s_tmin"),
    _field("Sigma max", "number", "s_tmax"),
    _field("Sigma noise", "number", "s_noise"),
    _field("Schedule type", "text", "scheduler", choices="schedules"),
    _option("Schedule min sigma", "number", "sigma_min"),
    _option("Schedule max sigma", "number", "sigma_max"),
    _option("Schedule rho", "number", "rho"),
    _option("Beta schedule alpha", "number", "beta_dist_alpha"),
    _option("Beta schedule beta", "number", "beta_dist_beta"),
    _field("Eta", "number", "eta"),
    _option("Clip skip", "whole", "CLIP_stop_at_last_layers"),
    _field("Denoising", "number", "denoising_strength"),
    _field("Initial noise multiplier", "number", "initial_noise_multiplier"),
    _option("Extra noise", "number", "img2img_extra_noise"),
    _field("Hires upscaler", "text", "hr_upscaler", tab="txt2img", choices="upscalers"),
    _option("Cond. Image Mask Weight", "number", "inpainting_mask_weight", tab="img2img"),
    _option("VAE", "text", "sd_vae", cost=0.7, choices="vaes"),
    _field("Styles", "text", "styles", choices="styles"),
    _option("UniPC Order", "whole", "uni_pc_order", cost=0.5),
    Axis(name="Face restore", kind="faces", choices="restorers"),
    _option("Token merging ratio", "number", "token_merging_ratio"),
    _option("Token merging ratio high-res", "number", "token_merging_ratio_hr"),
    _option("Always discard next-to-last sigma", "switch", "always_discard_next_to_last_sigma", choices="switch"),
    _option("SGM noise multiplier", "switch", "sgm_noise_multiplier", choices="switch"),
    _field("Refiner checkpoint", "text", "refiner_checkpoint", cost=1.0, choices="refiners", bare=True),
    _field("Refiner switch at", "number", "refiner_switch_at"),
    _option("RNG source", "text", "randn_source", choices="sources"),
    _option("FP8 mode", "text", "fp8_storage", cost=0.9, choices="float8"),
    Axis(name="Size", kind="size"),
    *(
        Axis(name=f"[ControlNet] {name}", kind=kind, field="control", unit=unit, choices="switch" * (kind == "switch"))
        for name, kind, unit in CONTROL
    ),
    *(Axis(name=f"[ADetailer] {name} 1st", kind=kind, field="detail", unit=unit) for name, kind, unit in DETAIL),
)


def axes_of(tab: str) -> tuple[Axis, ...]:
    """The axes of that tab: an axis' place is its number in the API."""
    return tuple(axis for axis in AXES if axis.tab in ("", tab))


def remade(request: Request, changes: Mapping[str, Any]) -> Request:
    """The request with some values changed and everything checked again; raises InputError."""
    cls = type(request)
    try:
        return cls.model_validate({**{name: getattr(request, name) for name in cls.model_fields}, **changes})
    except ValidationError as error:
        raise input_error(error) from error


def _size(value: str) -> dict[str, Any]:
    width, cross, height = value.strip().lower().partition("x")
    if not cross:
        raise InputError("script_args", f"{short(value)} is no size: it must look like 512x768.")
    return {"width": width.strip(), "height": height.strip()}


def _restoring(request: GenerationRequest, value: str) -> dict[str, Any]:
    """Face restore: a model's name, or yes or no."""
    said = value.strip().casefold()
    models = {name.casefold(): name for name in RESTORERS}
    if said in models:
        options = {**request.override_settings, "face_restoration_model": models[said]}
        return {"restore_faces": True, "override_settings": options}
    if said not in (*YES, *NO):
        known = ", ".join((*RESTORERS, "None", "True"))
        raise InputError("script_args", f"{short(value)} restores no faces: it must be one of {known}.")
    return {"restore_faces": said in YES}


def _units(request: GenerationRequest, axis: Axis, value: Any) -> tuple[Any, ...]:
    """The units of the axis' field, the first of them changed."""
    units: tuple[BaseModel, ...] = getattr(request, axis.field)
    if not units:
        raise InputError(
            "script_args", f'The axis "{axis.name}" changes the first unit, and there is none. Set one up.'
        )
    first = {name: getattr(units[0], name) for name in type(units[0]).model_fields}
    return {**first, axis.unit: value}, *units[1:]


def _replaced(request: GenerationRequest, value: str, values: Sequence[str]) -> dict[str, Any]:
    """Prompt S/R: every other value stands where the first one stands."""
    first = values[0]
    if first not in request.prompt and first not in request.negative_prompt:
        raise InputError(
            "script_args",
            f"Prompt S/R looks for {short(first)}, which is neither in the prompt nor in the negative prompt.",
        )
    return {
        "prompt": request.prompt.replace(first, value),
        "negative_prompt": request.negative_prompt.replace(first, value),
    }


def _ordered(request: GenerationRequest, value: tuple[str, ...], values: Sequence[Any]) -> dict[str, Any]:
    """Prompt order: the words change places among themselves, the text between them stays."""
    places = []
    for word in value:
        at = request.prompt.find(word)
        if at < 0:
            raise InputError("script_args", f"Prompt order looks for {short(word)}, which is not in the prompt.")
        places.append((at, word))
    prompt, end = "", 0
    for (at, old), new in zip(sorted(places), value, strict=True):
        prompt += request.prompt[end:at] + new
        end = at + len(old)
    return {"prompt": prompt + request.prompt[end:]}
