"""Settings that an infotext asks for: what a picture was made with and the settings of now do not say.

The page shows them as A1111 does, as entries "Label: value" whose label is the infotext's key.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from modules.core.errors import InputError, nearest, short
from modules.core.settings import Settings

# infotext key -> A1111's option; those that this version does not have are passed over
_OPTIONS = {
    "VAE": "sd_vae",
    "Conditional mask weight": "inpainting_mask_weight",
    "Clip skip": "CLIP_stop_at_last_layers",
    "ENSD": "eta_noise_seed_delta",
    "FP8 weight": "fp8_storage",
    "Token merging ratio": "token_merging_ratio",
    "Token merging ratio hr": "token_merging_ratio_hr",
    "Hires refiner": "hires_fix_refiner_pass",
    "RNG": "randn_source",
    "Tiling": "tiling",
    "Face restoration": "face_restoration_model",
    "Emphasis": "emphasis",
    "Old prompt editing timelines": "use_old_scheduling",
    "Pad conds": "pad_cond_uncond",
    "Pad conds v0": "pad_cond_uncond_v0",
    "Downcast alphas_cumprod": "use_downcasted_alpha_bar",
    "Refiner switch by sampling steps": "refiner_switch_by_sample_steps",
    "Noise Schedule": "sd_noise_schedule",
    "Discard penultimate sigma": "always_discard_next_to_last_sigma",
    "Schedule min sigma": "sigma_min",
    "Schedule max sigma": "sigma_max",
    "Schedule rho": "rho",
    "Beta schedule alpha": "beta_dist_alpha",
    "Beta schedule beta": "beta_dist_beta",
    "SGM noise multiplier": "sgm_noise_multiplier",
    "Restarted noise": "restart_noise",
    "Eta": "eta_ancestral",
    "Eta DDIM": "eta_ddim",
    "TCD gamma": "tcd_gamma",
    "Sigma churn": "s_churn",
    "Sigma tmin": "s_tmin",
    "Sigma tmax": "s_tmax",
    "Sigma noise": "s_noise",
    "Skip Early CFG": "skip_early_cond",
    "NGMS": "s_min_uncond",
    "NGMS all steps": "s_min_uncond_all",
    "UniPC variant": "uni_pc_variant",
    "UniPC skip type": "uni_pc_skip_type",
    "UniPC order": "uni_pc_order",
    "UniPC lower order final": "uni_pc_lower_order_final",
    "Noise multiplier": "initial_noise_multiplier",
    "Extra noise": "img2img_extra_noise",
    "VAE Encoder": "sd_vae_encode_method",
    "VAE Decoder": "sd_vae_decode_method",
}
FIELD = "override_settings"
CHECKPOINT = "sd_model_checkpoint"
CHECKPOINT_KEYS = ("Model hash", "Model")
_OPTION_OF = {**_OPTIONS, **dict.fromkeys(CHECKPOINT_KEYS, CHECKPOINT)}
# What an infotext means that does not say it.
_UNSAID = {
    "Clip skip": "1",
    "RNG": "GPU",
    "FP8 weight": "Disable",
    "Schedule min sigma": "0",
    "Schedule max sigma": "0",
    "Schedule rho": "0",
    "VAE Encoder": "Full",
    "VAE Decoder": "Full",
    "Refiner switch by sampling steps": "False",
}
_VERSION = re.compile(r"v(\d{1,4})\.(\d{1,4})\.(\d{1,4})(?:-(\d{1,6}))?")


def overrides(
    fields: Mapping[str, str], settings: Settings, prompts: str = "", skip: Collection[str] = ()
) -> dict[str, Any]:
    """Option -> value for every option that the infotext's fields want otherwise than `settings` have it, as A1111 finds them.

    `prompts`, the prompt and negative prompt, decide whether the mode of emphasis and A1111's old prompt editing matter. `skip`: keys that count neither
    for what they say nor for what they leave unsaid.
    Values that a setting cannot take are passed over. The checkpoint and what a request has a field for are not among them.
    """
    unsaid = {**_UNSAID, **({"Emphasis": "Original"} if re.search(r"[(\[]", prompts) else {})}
    current = settings.flat()
    old = _of_old_versions(fields, prompts) if current["auto_backcompat"] else {}
    wanted = {**unsaid, **old, **fields}
    found: dict[str, Any] = {}
    for key, option in _OPTIONS.items():
        if key in wanted and key not in skip and option in current:
            try:
                value = settings.changed({option: wanted[key]}).flat()[option]
            except InputError:
                continue
            if value != current[option]:
                found[option] = value
    return found


def option_keys() -> list[str]:
    """The infotext's keys of options that this version has."""
    known = Settings().flat()
    return [key for key, option in _OPTION_OF.items() if option in known]


def modules_of(fields: Mapping[str, str]) -> list[str]:
    """The names of the separate files that an infotext tells of: "Module 1", "Module 2" ..., Forge's keys."""
    found = []
    while name := fields.get(f"Module {len(found) + 1}"):
        found.append(name)
    return found


def to_entries(options: Mapping[str, Any]) -> list[str]:
    """The entry of each option that an infotext can tell of, the checkpoint apart."""
    return [f"{key}: {options[option]}" for key, option in _OPTIONS.items() if option in options]


def from_entries(entries: Any) -> dict[str, Any]:
    """Option -> value of "Label: value" entries, of two for one option the later; raises InputError naming a wrong one."""
    if not isinstance(entries, Sequence) or isinstance(entries, str):
        raise InputError(FIELD, f"{FIELD} is {short(entries)}: it must be a list.")
    found: dict[str, Any] = {}
    for entry in entries:
        option, value = _option(entry)
        found[option] = value
    return found


def _option(entry: Any) -> tuple[str, Any]:
    key, _, text = entry.partition(":") if isinstance(entry, str) else ("", "", "")
    key, text = key.strip(), text.strip()
    if not key or not text:
        raise InputError(FIELD, f'{FIELD} hold {short(entry)}: it must look like "Clip skip: 2".')
    defaults = Settings()
    known = {key: option for key, option in _OPTION_OF.items() if option in defaults.flat()}
    if key not in known:
        raise InputError(FIELD, f"{FIELD} hold {short(entry)}, which is not known here. {nearest(key, known)}")
    option = known[key]
    try:
        return option, defaults.changed({option: text}).flat()[option]
    except InputError as error:
        raise InputError(FIELD, error.message.replace(option, key, 1)) from error


def _of_old_versions(fields: Mapping[str, str], prompts: str) -> dict[str, str]:
    """What A1111's later versions do otherwise, and keep as an option."""
    version = _VERSION.match(fields.get("Version", ""))
    if not version:
        return {}
    number = tuple(int(part or 0) for part in version.groups())
    rules = (
        ("Old prompt editing timelines", (1, 6, 0, 0), "[" in prompts),
        ("Pad conds v0", (1, 6, 0, 0), fields.get("Sampler") in ("DDIM", "PLMS")),
        ("Downcast alphas_cumprod", (1, 7, 0, 225), True),
        ("Refiner switch by sampling steps", (1, 8, 0, 0), "Refiner" in fields),
    )
    return {key: "True" for key, changed, concerned in rules if number < changed and concerned}
