"""The settings: one table of frozen sections, in A1111's option names.

Each field carries its label, help and range; the Settings tab, `/sdapi/v1/options` and the docs are made from them.
"""

import json
import logging
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.fields import FieldInfo

from modules.core.errors import InputError, UnknownName
from modules.core.files import write_atomic
from modules.core.validation import Number, Text, Whole, input_error

log = logging.getLogger(__name__)


class Section(BaseModel):
    """A group of settings that the Settings tab shows together."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


class Saving(Section):
    """Saving images"""

    samples_save: bool = Field(True, title="Always save all generated images")
    save_images_add_number: bool = Field(True, title="Add number to filename when saving")
    samples_filename_pattern: Text = Field("", title="Images filename pattern", max_length=500)
    save_to_dirs: bool = Field(True, title="Save images to a subdirectory")
    directories_filename_pattern: Text = Field("[date]", title="Directory name pattern", max_length=500)
    outdir_txt2img_samples: Text = Field(
        "outputs/txt2img-images", title="Output directory for txt2img images", max_length=1000
    )
    save_incomplete_images: bool = Field(False, title="Save incomplete images that were interrupted in mid-generation")


class Infotext(Section):
    """Infotext"""

    enable_pnginfo: bool = Field(True, title="Write infotext to metadata of the generated image")
    add_model_name_to_info: bool = Field(True, title="Add model name to infotext")
    add_model_hash_to_info: bool = Field(True, title="Add model hash to infotext")
    add_vae_name_to_info: bool = Field(True, title="Add VAE name to infotext")
    add_vae_hash_to_info: bool = Field(True, title="Add VAE hash to infotext")
    add_version_to_infotext: bool = Field(True, title="Add program version to infotext")


class StableDiffusion(Section):
    """Stable Diffusion"""

    sd_model_checkpoint: Text = Field(
        "", title="Stable Diffusion checkpoint", max_length=1000, description="Empty: the first one found."
    )
    sd_vae: Text = Field(
        "Automatic",
        title="SD VAE",
        max_length=1000,
        description="Automatic: the one named as the checkpoint, beside it or in models/VAE. None: the checkpoint's own.",
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
    tiling: bool = Field(False, title="Tiling", description="Pictures whose opposite edges meet.")
    enable_quantization: bool = Field(False, title="Enable quantization in K samplers for sharper and cleaner results")


class SamplerParameters(Section):
    """Sampler parameters"""

    eta_ddim: Number = Field(0.0, title="Eta for DDIM", ge=0, le=1, allow_inf_nan=False)
    eta_ancestral: Number = Field(1.0, title="Eta for k-diffusion samplers", ge=0, le=1, allow_inf_nan=False)
    s_churn: Number = Field(0.0, title="sigma churn", ge=0, le=100, description="For Euler, Heun and DPM2.")
    s_tmin: Number = Field(0.0, title="sigma tmin", ge=0, le=10)
    s_tmax: Number = Field(0.0, title="sigma tmax", ge=0, le=999, description="0: no limit.")
    s_noise: Number = Field(1.0, title="sigma noise", ge=0, le=1.1)
    sigma_min: Number = Field(0.0, title="sigma min", ge=0, le=1000, description="0: the model's.")
    sigma_max: Number = Field(0.0, title="sigma max", ge=0, le=1000, description="0: the model's.")
    rho: Number = Field(0.0, title="rho", ge=0, le=100, description="0: the schedule's; Karras 7, Polyexponential 1.")
    eta_noise_seed_delta: Whole = Field(0, title="Eta noise seed delta", ge=0, le=2**32 - 1)
    restart_noise: bool = Field(
        False,
        title="Begin the samplers' noise at the seed again",
        description="As ComfyUI does on a CPU; for its pictures with samplers that add noise.",
    )
    always_discard_next_to_last_sigma: bool = Field(False, title="Always discard next-to-last sigma")
    sgm_noise_multiplier: bool = Field(False, title="SGM noise multiplier")
    sd_noise_schedule: Literal["Default", "Zero Terminal SNR"] = Field(
        "Default", title="Noise schedule for sampling", description="Zero Terminal SNR: for models trained with it."
    )
    skip_early_cond: Number = Field(
        0.0,
        title="Ignore negative prompt during early sampling",
        ge=0,
        le=1,
        description="For this part of the steps; faster, less guided.",
    )
    uni_pc_variant: Literal["bh1", "bh2", "vary_coeff"] = Field("bh1", title="UniPC variant")
    uni_pc_skip_type: Literal["time_uniform", "time_quadratic", "logSNR"] = Field(
        "time_uniform", title="UniPC skip type"
    )
    uni_pc_order: Whole = Field(3, title="UniPC order", ge=1, le=50)
    uni_pc_lower_order_final: bool = Field(True, title="UniPC lower order final")
    beta_dist_alpha: Number = Field(0.6, title="Beta scheduler - alpha", ge=0.01, le=1)
    beta_dist_beta: Number = Field(0.6, title="Beta scheduler - beta", ge=0.01, le=1)


class Optimizations(Section):
    """Optimizations"""

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


class Compatibility(Section):
    """Compatibility"""

    use_old_karras_scheduler_sigmas: bool = Field(False, title="Use old karras scheduler sigmas (0.1 to 10)")
    use_old_scheduling: bool = Field(
        False,
        title="Use old prompt editing timelines.",
        description="Every number below 1 is a fraction of the steps, any other a step, in the hires pass too.",
    )
    use_downcasted_alpha_bar: bool = Field(
        False,
        title="Downcast model alphas_cumprod to fp16 before sampling. For reproducing old seeds.",
        description="Noise levels as they were computed before version 1.7.",
    )
    refiner_switch_by_sample_steps: bool = Field(
        False,
        title="Switch to refiner by sampling steps instead of model timesteps. Old behavior for refiner.",
    )


class LivePreviews(Section):
    """Live previews"""

    live_previews_enable: bool = Field(True, title="Show live previews of the created image")
    show_progress_every_n_steps: Whole = Field(
        5,
        title="Live preview display period",
        ge=-1,
        le=32,
        description="Every N steps; -1: only at the end of a batch.",
    )
    show_progress_type: Literal["Full", "Approx cheap"] = Field("Approx cheap", title="Live preview method")


class System(Section):
    """System"""

    engine_stall_seconds: Whole = Field(
        900,
        title="Restart the engine after this many seconds without a sign of life",
        ge=0,
        le=86400,
        description="0: never.",
    )
    results_keep_days: Whole = Field(3, title="Days to keep pictures that were made without saving", ge=1, le=365)


class Settings(BaseModel):
    """All settings. Frozen: a job keeps the snapshot it was submitted with."""

    model_config = ConfigDict(frozen=True)

    saving: Saving = Saving.model_validate({})
    infotext: Infotext = Infotext.model_validate({})
    stable_diffusion: StableDiffusion = StableDiffusion.model_validate({})
    sampler_parameters: SamplerParameters = SamplerParameters.model_validate({})
    optimizations: Optimizations = Optimizations.model_validate({})
    compatibility: Compatibility = Compatibility.model_validate({})
    live_previews: LivePreviews = LivePreviews.model_validate({})
    system: System = System.model_validate({})

    def flat(self) -> dict[str, Any]:
        """Option name -> value, as `/sdapi/v1/options` shows them."""
        return {key: value for section in self.model_dump().values() for key, value in section.items()}

    def changed(self, options: Mapping[str, Any]) -> "Settings":
        """A copy with `options` set, all or none; raises UnknownName or InputError."""
        known = {key: section for section, key, _ in fields()}
        changed: dict[str, dict[str, Any]] = {}
        for key, value in options.items():
            if key not in known:
                raise UnknownName.among("option", key, known)
            changed.setdefault(known[key], {})[key] = value
        sections = {}
        for name, values in changed.items():
            section: Section = getattr(self, name)
            try:
                sections[name] = type(section).model_validate({**section.model_dump(), **values})
            except ValidationError as error:
                raise input_error(error) from error
        return self.model_copy(update=sections)


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
            write_atomic(self._path, text.encode(errors="backslashreplace"))  # half a surrogate becomes its JSON escape
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
            log.warning(
                "%s cannot be read (%s): starting with default settings, the file is kept as %s",
                self._path,
                error,
                aside.name,
            )
            if self._path.is_file():
                self._path.replace(aside)
            return Settings()
        known = {key for _, key, _ in fields()}
        self._foreign = {key: value for key, value in stored.items() if key not in known}
        settings = Settings()
        for key in known & stored.keys():
            try:
                settings = settings.changed({key: stored[key]})
            except InputError as error:
                log.warning("%s: %s The default is used.", self._path.name, error.message)
        return settings
