"""The settings: one table of frozen sections, in A1111's option names.

Each field carries its label, help and range; the Settings tab, `/sdapi/v1/options` and the docs are made from them.
"""

import json
import logging
import threading
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic.fields import FieldInfo

from modules.core.errors import InputError, UnknownName, short
from modules.core.files import write_atomic
from modules.core.left_out import LEFT_OUT, ONLY_DEFAULT, check_left_out
from modules.core.page_sections import Alternatives, Extensions, Notifications, UserInterface
from modules.core.picture_sections import FaceRestoration, Infotext, Interrogate, Postprocessing
from modules.core.prompt_sections import DynamicPrompts, PromptCompletion, PromptEditing
from modules.core.repairs import tell
from modules.core.saving_sections import Grids, Saving
from modules.core.sections import (
    Compatibility,
    ControlNet,
    Detail,
    Downloads,
    ExtraNetworks,
    Gallery,
    ImageToImage,
    LivePreviews,
    SamplerParameters,
    Section,
    StableDiffusion3,
    Upscaling,
)
from modules.core.validation import Number, Text, Whole, input_error

log = logging.getLogger(__name__)


class StableDiffusion(Section):
    """Stable Diffusion"""

    sd_model_checkpoint: Text = Field(
        "", title="Stable Diffusion checkpoint", max_length=1000, description="Empty: the first one found."
    )
    sd_checkpoints_limit: Whole = Field(
        1,
        title="Maximum number of checkpoints loaded at the same time",
        ge=1,
        le=10,
        description="The one used least goes first, earlier where memory does not suffice. A refiner is one more.",
    )
    sd_checkpoints_keep_in_cpu: bool = Field(
        True,
        title="Only keep one model on device",
        description="Those not in use wait in the computer's memory instead of the GPU's.",
    )
    unload_idle_minutes: Whole = Field(
        0,
        title="Unload checkpoints after this many minutes without a job",
        ge=0,
        le=10_080,
        description="0: never. The next job loads its checkpoint by itself.",
    )
    sd_vae: Text = Field(
        "Automatic",
        title="SD VAE",
        max_length=1000,
        description="Automatic: the one that the checkpoint's card prefers, else the one named as it, beside it or in models/VAE. None: the checkpoint's own.",
    )
    auto_vae_precision_bfloat16: bool = Field(
        False,
        title="Automatically convert VAE to bfloat16",
        description="When it gives NaN in float16, on GPUs that have bfloat16.",
    )
    auto_vae_precision: bool = Field(
        True,
        title="Automatically revert VAE to 32-bit floats",
        description="When it gives NaN in half precision; the picture is decoded again. It stays so until the next start.",
    )
    sd_vae_encode_method: Literal["Full", "TAESD"] = Field(
        "Full",
        title="VAE type for encode",
        description="TAESD is quicker and rougher; its files are in models/VAE-approx.",
    )
    sd_vae_decode_method: Literal["Full", "TAESD"] = Field("Full", title="VAE type for decode")
    forge_additional_modules: tuple[Text, ...] = Field(
        (),
        title="VAE / Text Encoder",
        max_length=16,
        description="Files of models/VAE and models/text_encoder that come before the checkpoint's own parts. Empty: what fits.",
    )
    emphasis: Literal["None", "Ignore", "Original", "No norm"] = Field(
        "Original",
        title="Emphasis mode",
        description="None: (text) stays text. Ignore: its brackets are read without effect. No norm: the mean may change.",
    )
    comma_padding_backtrack: Whole = Field(
        20,
        title="Prompt word wrap length limit",
        ge=0,
        le=74,
        description="In tokens; shorter ends of a chunk of 75 behind its last comma move on to the next chunk.",
    )
    enable_prompt_comments: bool = Field(
        True, title="Enable comments", description="A # hides the rest of its line in prompts from the generation."
    )
    CLIP_stop_at_last_layers: Whole = Field(1, title="Clip skip", ge=1, le=12)
    randn_source: Literal["GPU", "CPU", "NV"] = Field(
        "GPU",
        title="Random number generator source",
        description="CPU and NV give the same picture on every machine, NV that of an NVIDIA GPU.",
    )
    hires_fix_refiner_pass: Literal["first pass", "second pass", "both passes"] = Field(
        "second pass", title="Hires fix: which pass to enable refiner for"
    )
    upcast_attn: bool = Field(False, title="Upcast cross attention layer to float32")
    tiling: bool = Field(False, title="Tiling", description="Pictures whose opposite edges meet.")
    enable_quantization: bool = Field(False, title="Enable quantization in K samplers for sharper and cleaner results")


class Optimizations(Section):
    """Optimizations"""

    cross_attention_optimization: Literal[
        "Automatic",
        "xformers",
        "sdp-no-mem - scaled dot product without memory efficient attention",
        "sdp - scaled dot product",
        "sub-quadratic",
        "V1 - original v1",
        "InvokeAI",
        "Doggettx",
        "flash",
        "sage",
        "None",
    ] = Field(
        "Automatic",
        title="Cross attention optimization",
        description="How attention is computed; the results are alike. Automatic: what a flag chose, else PyTorch's own.",
    )
    s_min_uncond: Number = Field(
        0.0,
        title="Negative Guidance minimum sigma",
        ge=0,
        le=15,
        description="Skip the negative prompt in every second step below this noise level; faster.",
    )
    s_min_uncond_all: bool = Field(False, title="Negative Guidance minimum sigma all steps")
    token_merging_ratio: Number = Field(
        0.0,
        title="Token merging ratio",
        ge=0,
        le=0.9,
        description="Merges this part of the picture's tokens where they are alike; faster, less detail. 0: off.",
    )
    token_merging_ratio_hr: Number = Field(
        0.0,
        title="Token merging ratio for high-res pass",
        ge=0,
        le=0.9,
        description="0: the same as in the first pass.",
    )
    fp8_storage: Literal["Disable", "Enable for SDXL", "Enable"] = Field(
        "Disable",
        title="FP8 weight",
        description="Keep weights in 8 bits, rounded, for half the memory; on a CPU PyTorch computes then, more slowly.",
    )
    batch_cond_uncond: bool = Field(
        True,
        title="Batch cond/uncond",
        description="Prompt and negative prompt in one batch; without, less memory and more time.",
    )
    pad_cond_uncond: bool = Field(
        False,
        title="Pad prompt/negative prompt",
        description="Both are encoded to the same number of chunks, so that one batch holds them. Changes pictures.",
    )
    pad_cond_uncond_v0: bool = Field(
        False,
        title="Pad prompt/negative prompt (v0)",
        description="As before version 1.6: the negative prompt is cut or drawn out to the prompt's length. Changes pictures.",
    )


class System(Section):
    """System"""

    engine_stall_seconds: Whole = Field(
        900,
        title="Restart the engine after this many seconds without a sign of life",
        ge=0,
        le=86400,
        description="0: never.",
    )
    take_over_roots: Text = Field(
        "",
        title="Use the models of these A1111, Forge or ComfyUI installations too",
        max_length=4000,
        description="One folder a line; counts from the next start. Nothing is written there.",
    )
    idempotency_hours: Whole = Field(
        24,
        title="Hours to remember the Idempotency-Key of a request",
        ge=1,
        le=720,
        description="The same key and body give the same job meanwhile.",
    )
    results_keep_days: Whole = Field(3, title="Days to keep pictures that were made without saving", ge=1, le=365)
    results_keep_gb: Whole = Field(
        5, title="GB to keep of them", ge=1, le=10_000, description="Of more the oldest go, before their days are over."
    )
    webhook_url: Text = Field(
        "",
        title="Address that is told when a job begins and ends",
        max_length=2000,
        description="https://... Empty: none. docs/sharing.md tells what is sent, and how it is signed.",
    )

    @field_validator("webhook_url")
    @classmethod
    def _address(cls, value: str) -> str:
        if value and not value.startswith(("https://", "http://")):
            raise ValueError("must begin with https:// or http://, or be empty")
        return value


class Settings(BaseModel):
    """All settings. Frozen: a job keeps the snapshot it was submitted with."""

    model_config = ConfigDict(frozen=True)

    saving: Saving = Saving.model_validate({})
    grids: Grids = Grids.model_validate({})
    gallery: Gallery = Gallery.model_validate({})
    infotext: Infotext = Infotext.model_validate({})
    stable_diffusion: StableDiffusion = StableDiffusion.model_validate({})
    stable_diffusion_3: StableDiffusion3 = StableDiffusion3.model_validate({})
    sampler_parameters: SamplerParameters = SamplerParameters.model_validate({})
    image_to_image: ImageToImage = ImageToImage.model_validate({})
    optimizations: Optimizations = Optimizations.model_validate({})
    extra_networks: ExtraNetworks = ExtraNetworks.model_validate({})
    compatibility: Compatibility = Compatibility.model_validate({})
    faces: FaceRestoration = FaceRestoration.model_validate({})
    interrogate: Interrogate = Interrogate.model_validate({})
    postprocessing: Postprocessing = Postprocessing.model_validate({})
    upscaling: Upscaling = Upscaling.model_validate({})
    controlnet: ControlNet = ControlNet.model_validate({})
    dynamic_prompts: DynamicPrompts = DynamicPrompts.model_validate({})
    prompt_editing: PromptEditing = PromptEditing.model_validate({})
    prompt_completion: PromptCompletion = PromptCompletion.model_validate({})
    detail: Detail = Detail.model_validate({})
    live_previews: LivePreviews = LivePreviews.model_validate({})
    user_interface: UserInterface = UserInterface.model_validate({})
    alternatives: Alternatives = Alternatives.model_validate({})
    notifications: Notifications = Notifications.model_validate({})
    extensions: Extensions = Extensions.model_validate({})
    system: System = System.model_validate({})
    downloads: Downloads = Downloads.model_validate({})

    def flat(self) -> dict[str, Any]:
        """Option name -> value, as `/sdapi/v1/options` shows them."""
        return {key: value for section in self.model_dump().values() for key, value in section.items()}

    def changed(self, options: Mapping[str, Any]) -> "Settings":
        """A copy with `options` set, all or none; A1111's that mean nothing here are passed over. Raises UnknownName or InputError."""
        known = {key: section for section, key, _ in fields()}
        changed: dict[str, dict[str, Any]] = {}
        for key, value in options.items():
            if key not in known:
                if check_left_out(key, value):
                    continue
                raise UnknownName.among("option", key, known)
            changed.setdefault(known[key], {})[key] = value if key != BAR else _bar(value, known)
        sections = {}
        for name, values in changed.items():
            section: Section = getattr(self, name)
            try:
                sections[name] = type(section).model_validate({**section.model_dump(), **values})
            except ValidationError as error:
                raise input_error(error) from error
        return self.model_copy(update=sections)


BAR = "quicksettings_list"
BAR_BEFORE = "quicksettings"  # A1111's name for it before 1.3: names joined by commas


def _bar(value: Any, known: Collection[str]) -> Any:
    """The settings that are in the bar, without those that mean nothing here. Raises UnknownName; what is no list of texts is left to the
    section's own check."""
    if not isinstance(value, (list, tuple)) or not all(isinstance(name, str) for name in value):
        return value
    for name in value:
        if name not in known and name not in LEFT_OUT and name not in ONLY_DEFAULT:
            raise UnknownName.among(BAR, name, known)
    return [name for name in dict.fromkeys(value) if name in known]


def fields() -> Iterator[tuple[str, str, FieldInfo]]:
    """(section attribute, option name, field) of every setting."""
    for name, section in Settings.model_fields.items():
        for key, field in type(section.default).model_fields.items():
            yield name, key, field


class SettingsFile:
    """The settings on disk, with the keys of other programs left as they were."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._foreign: dict[str, Any] = {}
        self.current = self._read()

    def update(self, options: Mapping[str, Any]) -> Settings:
        """Set `options` in memory and on disk; nothing changes if one of them is wrong."""
        with self._lock:
            settings = self.current.changed(options)
            text = json.dumps({**self._foreign, **settings.flat()}, indent=4, ensure_ascii=False)
            escaped = text.encode(errors="backslashreplace")  # half a surrogate becomes its JSON escape
            write_atomic(self._path, escaped, point="settings")
            self.current = settings
        return settings

    def _read(self) -> Settings:
        try:
            stored = json.loads(self._path.read_text("utf-8"))
            if not isinstance(stored, dict):
                raise ValueError("it holds no object")
        except FileNotFoundError:
            return Settings()
        except (OSError, ValueError, RecursionError) as error:
            aside = self._path.with_suffix(".json.broken")
            tell(
                self._path,
                f'"{self._path.name}" cannot be read ({error}): all settings are the defaults, the file is kept as "{aside.name}".',
            )
            if self._path.is_file():
                self._path.replace(aside)
            return Settings()
        known = {key for _, key, _ in fields()}
        self._read_bar(stored, known)
        self._foreign = {key: value for key, value in stored.items() if key not in known}
        settings = Settings()
        for key in known & stored.keys():
            try:
                settings = settings.changed({key: stored[key]})
            except InputError as error:
                log.warning("%s: %s The default is used.", self._path.name, error.message)
        return settings

    def _read_bar(self, stored: dict[str, Any], known: Collection[str]) -> None:
        """A1111's older name for it counts too; names that are not known here (of its extensions) are told in the log."""
        before = stored.get(BAR_BEFORE)
        if isinstance(before, str) and BAR not in stored:
            stored[BAR] = [name.strip() for name in before.split(",") if name.strip()]
        names = stored.get(BAR)
        if isinstance(names, list):
            told = {*known, *LEFT_OUT, *ONLY_DEFAULT}
            strange = [name for name in names if isinstance(name, str) and name not in told]
            if strange:
                log.warning(
                    "%s: %s names %s, not known here: left out of the bar.", self._path.name, BAR, short(strange)
                )
                stored[BAR] = [name for name in names if name not in strange]
