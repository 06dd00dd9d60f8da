"""A1111's and Forge's options and flags that mean nothing here: they are accepted, so that clients, settings and command lines of there
work, and do nothing. docs/a1111.md tells of each why."""

import argparse
import logging
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from modules.core.errors import InputError, short

log = logging.getLogger(__name__)

_OPTIONS = {
    "the log says what there is to say": (
        *("enable_console_prompts", "show_warnings", "show_gradio_deprecation_warnings", "samples_log_stdout"),
        *("multiple_tqdm", "enable_upscale_progressbar", "print_hypernet_extra", "hide_ldm_prints"),
        *("dump_stacks_on_signal", "textual_inversion_print_at_load", "lora_not_found_warning_console"),
    ),
    "there is one way of doing it, which needs no choice": (
        *("memmon_poll_rate", "disable_mmap_load_safetensors", "list_hidden_files", "persistent_cond_cache"),
        *("cache_fp16_weight", "lora_in_memory_limit", "lora_functional", "sd_checkpoint_cache"),
        *("sd_vae_checkpoint_cache", "upscaling_max_images_in_cache", "face_restoration_unload", "temp_dir"),
        *("clean_temp_dir_at_start", "live_preview_refresh_period", "live_previews_image_format"),
        *("enable_reloading_ui_scripts", "gradio_themes_cache", "interrogate_keep_models_in_memory", "ldsr_cached"),
        *("auto_launch_browser", "SWIN_torch_compile", "sd_checkpoint_hash", "lora_not_found_gradio_warning"),
    ),
    "pictures do not depend on the batch they are in": ("enable_batch_seeds", "no_dpmpp_sde_batch_determinism"),
    "`sd_vae` chooses; OpenVINO and torch.compile are no files to choose": (
        *("sd_unet", "sd_vae_overrides_per_model_preferences"),
    ),
    "no picture is ever replaced: another number is added": ("save_images_replace_action",),
    "menus list the upscalers that are there": ("realesrgan_enabled_models", "dat_enabled_models"),
    "a tag in the prompt says it": ("sd_lora", "sd_hypernetwork"),
    "flags of PyTorch's own profiler do this better": (
        *("profiling_enable", "profiling_activities", "profiling_record_shapes", "profiling_profile_memory"),
        *("profiling_with_stack", "profiling_filename"),
    ),
    "there is no training on the page yet": (
        *("unload_models_when_training", "pin_memory", "save_optimizer_state", "save_training_settings_to_txt"),
        *("dataset_filename_word_regex", "dataset_filename_join_string", "training_image_repeats_per_epoch"),
        *("training_write_csv_every", "training_xattention_optimizations", "training_enable_tensorboard"),
        *("training_tensorboard_save_images", "training_tensorboard_flush_every"),
    ),
    "the page is laid out in one way": (
        *("compact_prompt_box", "samplers_in_dropdown", "dimensions_and_batch_together", "ui_reorder_list"),
        *("txt2img_settings_accordion", "img2img_settings_accordion", "gallery_height", "img2img_editor_height"),
        *("js_modal_lightbox", "js_modal_lightbox_initially_zoomed", "js_modal_lightbox_gamepad"),
        *("js_modal_lightbox_gamepad_repeat", "sd_webui_modal_lightbox_icon_opacity", "show_progressbar"),
        *("sd_webui_modal_lightbox_toolbar_opacity", "js_live_preview_in_modal_lightbox", "open_dir_button_choice"),
        *("extra_options_txt2img", "extra_options_img2img", "extra_options_cols", "extra_options_accordion"),
        *("extra_networks_card_description_is_html", "ui_extra_networks_tab_reorder", "lora_show_all"),
        *("extra_networks_dir_button_function", "extra_networks_show_hidden_directories"),
        *("extra_networks_hidden_models", "lora_hide_unknown_for_versions", "hide_ui_dir_config"),
    ),
    "the canvas has its own keys, which its hints name": (
        *("canvas_hotkey_zoom", "canvas_hotkey_adjust", "canvas_hotkey_shrink_brush", "canvas_hotkey_grow_brush"),
        *("canvas_hotkey_move", "canvas_hotkey_fullscreen", "canvas_hotkey_reset", "canvas_hotkey_overlap"),
        *("canvas_show_tooltip", "canvas_auto_expand", "canvas_blur_prompt", "canvas_disabled_functions"),
        *("img2img_sketch_default_brush_color", "img2img_inpaint_mask_brush_color"),
        "img2img_inpaint_sketch_default_brush_color",
    ),
    "the model it belongs to is not here yet": (
        *("interrogate_clip_dict_limit", "interrogate_clip_skip_categories", "ldsr_steps"),
    ),
    "not here yet": (
        *("hypertile_max_depth_unet", "hypertile_max_tile_unet", "hypertile_swap_size_unet"),
        *("hypertile_max_depth_vae", "hypertile_max_tile_vae", "hypertile_swap_size_vae"),
        "restore_config_state_file",
        "set_scale_by_when_changing_upscaler",
        *("live_preview_allow_lowvram_full", "live_preview_content", "live_preview_fast_interrupt"),
        *("prevent_screen_sleep_during_generation", "api_enable_requests"),
        *("api_forbid_local_requests", "api_useragent"),
    ),
}

LEFT_OUT: Mapping[str, str] = MappingProxyType({name: why for why, names in _OPTIONS.items() for name in names})
"""Option -> why it does nothing."""

ONLY_DEFAULT: Mapping[str, Any] = MappingProxyType(
    {
        "hypertile_enable_unet": False,
        "hypertile_enable_unet_secondpass": False,
        "hypertile_enable_vae": False,
        "sdxl_clip_l_skip": False,
        "token_merging_ratio_img2img": 0,
        "use_old_emphasis_implementation": False,
        "use_old_hires_fix_width_height": False,
        "ddim_discretize": "uniform",
        "postprocessing_enable_in_main_ui": [],
        "sdxl_crop_top": 0,
        "sdxl_crop_left": 0,
        "sdxl_refiner_low_aesthetic_score": 2.5,
        "sdxl_refiner_high_aesthetic_score": 6.0,
        "filter_nsfw": False,
    }
)
"""Options that would change pictures and are not here yet -> their value in A1111, which alone is taken."""


def check_left_out(name: str, value: Any) -> bool:
    """Whether that option may be passed over; raises InputError where that would give another picture than was asked for."""
    if name in ONLY_DEFAULT and value != ONLY_DEFAULT[name]:
        default = ONLY_DEFAULT[name]
        raise InputError(name, f"{name} is {short(value)}: pictures are drawn as with {default!r} here. Leave it out.")
    return name in LEFT_OUT or name in ONLY_DEFAULT


_SWITCHES = {
    "launch.sh does it by itself, or not at all": (
        *("--update-all-extensions", "--skip-python-version-check", "--skip-torch-cuda-test", "--update-check"),
        *("--test-server", "--log-startup", "--skip-prepare-environment", "--dump-sysinfo", "--skip-version-check"),
        *("--uv", "--uv-symlink", "--do-not-download-clip", "--no-download-sd-model"),
    ),
    "memory is planned from what there is": (
        *("--lowram", "--disable-model-loading-ram-optimization", "--opt-channelslast", "--always-gpu"),
        *("--always-offload-from-vram", "--cuda-malloc", "--cuda-stream", "--pin-shared-memory", "--fast-fp16"),
        *("--unload-gfpgan", "--always-batch-cond-uncond"),
    ),
    "types are chosen by what the device does well; see --precision": (
        *("--all-in-fp32", "--all-in-fp16", "--unet-in-bf16", "--unet-in-fp16", "--unet-in-fp8-e4m3fn"),
        *("--unet-in-fp8-e5m2", "--vae-in-fp16", "--vae-in-fp32", "--vae-in-bf16", "--clip-in-fp8-e4m3fn"),
        *("--clip-in-fp8-e5m2", "--clip-in-fp16", "--clip-in-fp32", "--force-upcast-attention"),
        *("--disable-attention-upcast", "--pytorch-deterministic"),
    ),
    "the setting cross_attention_optimization or another flag chooses": (
        *("--force-enable-xformers", "--xformers-flash-attention", "--disable-xformers", "--sage", "--flash"),
    ),
    "no code in model files is ever run": ("--disable-safe-unpickle",),
    "the page needs no such choice": (
        *("--use-textbox-seed", "--no-progressbar-hiding", "--disable-console-progressbars", "--ui-debug-mode"),
        *("--unix-filenames-sanitization", "--no-prompt-history", "--administrator", "--no-gradio-queue"),
        *("--gradio-debug", "--gradio-queue", "--show-negative-prompt", "--hide-ui-dir-config"),
        *("--enable-console-prompts", "--deepdanbooru", "--skip-google-blockly", "--add-stop-route", "--api-log"),
        "--enable-insecure-extension-access",
    ),
    "not here yet": ("--use-ipex", "--directml", "--freeze-settings"),
}
_VALUED = {
    "memory is planned from what there is": (
        *("--sub-quad-q-chunk-size", "--sub-quad-kv-chunk-size", "--sub-quad-chunk-threshold"),
    ),
    "the page needs no such choice": (
        *("--loglevel", "--max-batch-count", "--gradio-img2img-tool", "--gradio-inpaint-tool", "--ngrok-region"),
        "--filenames-max-length",
    ),
    "◐ on the page chooses, or ?__theme=dark in its address": ("--theme",),
    "models/ and its flags say where": ("--gfpgan-dir", "--gfpgan-model", "--clip-models-path"),
    "not here yet": (
        *("--config", "--vae-path", "--textual-inversion-templates-dir", "--localizations-dir"),
        *("--ui-config-file", "--ui-settings-file", "--sage2-function"),
        *("--freeze-settings-in-sections", "--freeze-specific-settings"),
    ),
}

LEFT_OUT_FLAGS: Mapping[str, tuple[str, bool]] = MappingProxyType(
    {flag: (why, False) for why, flags in _SWITCHES.items() for flag in flags}
    | {flag: (why, True) for why, flags in _VALUED.items() for flag in flags}
)
"""Flag -> why it does nothing, and whether a value follows it."""


class _Tell(argparse.Action):
    """Says that the flag has no effect."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        log.warning("%s has no effect here: %s.", option_string, LEFT_OUT_FLAGS[str(option_string)][0])


def add_left_out(parser: argparse.ArgumentParser) -> None:
    """Let `parser` take all of those flags."""
    for flag, (_, valued) in LEFT_OUT_FLAGS.items():
        nargs = None if valued else 0
        parser.add_argument(flag, action=_Tell, nargs=nargs, dest="left_out", default=None, help=argparse.SUPPRESS)
