"""What sections of settings are; those for samplers, img2img, finished pictures, live previews and downloads."""

import re
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from modules.core.validation import Number, Text, Whole

COLOUR = re.compile("#[0-9a-fA-F]{6}")


class Section(BaseModel):
    """A group of settings that the Settings tab shows together."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


class StableDiffusion3(Section):
    """Stable Diffusion 3"""

    sd3_enable_t5: bool = Field(
        False, title="Enable T5", description="Prompts are read by T5 too, if the checkpoint has it; takes much memory."
    )


class ImageToImage(Section):
    """img2img"""

    inpainting_mask_weight: Number = Field(
        1.0,
        title="Inpainting conditioning mask strength",
        ge=0,
        le=1,
        description="For inpainting models: how much of what is under the mask they do not see.",
    )
    initial_noise_multiplier: Number = Field(1.0, title="Noise multiplier for img2img", ge=0, le=1.5)
    img2img_extra_noise: Number = Field(
        0.0,
        title="Extra noise multiplier for img2img and hires fix",
        ge=0,
        le=1,
        description="0: none. It is added beside the denoising strength's, and gives more detail.",
    )
    img2img_color_correction: bool = Field(
        False, title="Apply color correction to img2img results to match original colors."
    )
    img2img_fix_steps: bool = Field(
        False,
        title="With img2img, do exactly the amount of steps the slider specifies.",
        description="Otherwise the denoising strength's part of them.",
    )
    img2img_background_color: Text = Field(
        "#ffffff",
        title="With img2img, fill transparent parts of the input image with this color.",
        max_length=50,
    )
    img2img_batch_show_results_limit: Whole = Field(
        32,
        title="Show the first N batch img2img results in UI",
        ge=-1,
        le=1000,
        description="0: none; -1: all. From the next time that the page is loaded.",
    )
    return_mask: bool = Field(
        False,
        title="For inpainting, include the greyscale mask in results for web",
        description="After the pictures; one that several share is there once.",
    )
    return_mask_composite: bool = Field(
        False,
        title="For inpainting, include masked composite in results for web",
        description="After the pictures: only what was drawn, the rest transparent.",
    )
    overlay_inpaint: bool = Field(
        True,
        title="Overlay original for inpaint",
        description="What is not masked is laid over the result, so that it stays as it was.",
    )

    @field_validator("img2img_background_color")
    @classmethod
    def _colour(cls, value: str) -> str:
        if not COLOUR.fullmatch(value):
            raise ValueError("must be a colour such as #ffffff")
        return value


class ExtraNetworks(Section):
    """Extra networks"""

    extra_networks_default_multiplier: Number = Field(
        1.0, title="Default multiplier for extra networks", ge=0, le=2, description="Of a tag without one: <lora:name>."
    )
    extra_networks_add_text_separator: Text = Field(
        " ", title="Extra networks separator", max_length=20, description="Between the prompt and what a card adds."
    )
    lora_preferred_name: Literal["Alias from file", "Filename"] = Field(
        "Alias from file", title="When adding to prompt, refer to Lora by"
    )
    extra_networks_card_width: Whole = Field(
        0, title="Card width for Extra Networks", ge=0, le=1000, description="In pixels; 0: 168."
    )
    extra_networks_card_height: Whole = Field(
        0, title="Card height for Extra Networks", ge=0, le=1000, description="In pixels; 0: 252."
    )
    extra_networks_card_text_scale: Number = Field(1.0, title="Card text scale", ge=0.25, le=2)
    extra_networks_card_show_desc: bool = Field(True, title="Show description on card")
    extra_networks_card_order_field: Literal["Path", "Name", "Date Created", "Date Modified"] = Field(
        "Path", title="Default order field for Extra Networks cards"
    )
    extra_networks_card_order: Literal["Ascending", "Descending"] = Field(
        "Ascending", title="Default order for Extra Networks cards"
    )
    extra_networks_tree_view_style: Literal["Tree", "Dirs"] = Field("Dirs", title="Extra Networks directory view style")
    extra_networks_tree_view_default_enabled: bool = Field(
        True, title="Show the Extra Networks directory view by default"
    )
    extra_networks_tree_view_default_width: Whole = Field(
        180, title="Default width for the Extra Networks directory tree view", ge=80, le=1000
    )
    lora_add_hashes_to_infotext: bool = Field(True, title="Add Lora hashes to infotext")
    lora_bundled_ti_to_infotext: bool = Field(True, title="Add Lora name as TI hashes for bundled Textual Inversion")
    textual_inversion_add_hashes_to_infotext: bool = Field(True, title="Add Textual Inversion hashes to infotext")


class SamplerParameters(Section):
    """Sampler parameters"""

    hide_samplers: tuple[Text, ...] = Field(
        (),
        title="Hide samplers in user interface",
        max_length=200,
        description="Their names, one a line; requests may name them still. From the next time that the page is loaded.",
    )
    eta_ddim: Number = Field(0.0, title="Eta for DDIM", ge=0, le=1, allow_inf_nan=False)
    eta_ancestral: Number = Field(1.0, title="Eta for k-diffusion samplers", ge=0, le=1, allow_inf_nan=False)
    tcd_gamma: Number = Field(
        0.3,
        title="Gamma of TCD",
        description="How much of the noise each step of TCD draws anew: 0 is none, 1 all of it.",
        ge=0,
        le=1,
        allow_inf_nan=False,
    )
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


class Gallery(Section):
    """Gallery"""

    do_not_show_images: bool = Field(
        False,
        title="Do not show any images in gallery",
        description="Beside the form, when a job is over. From the next time that the page is loaded.",
    )
    gallery_folders: Text = Field(
        "",
        title="More folders of pictures for the gallery",
        max_length=4000,
        description="One a line: the outputs of an A1111 or ComfyUI, say. Nothing is written there, but what you delete moves to the trash.",
    )
    gallery_by_meaning: bool = Field(
        True,
        title="Look at the gallery's pictures while nothing else is to be done, for the search by meaning",
        description="By a model of open-clip in models/open_clip if there is one, else by the starter's own, which knows its world alone.",
    )
    gallery_trash_days: Whole = Field(30, title="Days to keep deleted pictures in the trash", ge=1, le=3650)


class Detail(Section):
    """ADetailer"""

    ad_bbox_sortby: Literal[
        "None", "Position (left to right)", "Position (center to edge)", "Area (large to small)"
    ] = Field("None", title="Sort bounding boxes by", description="The order in which what was found is drawn again.")
    ad_same_seed_for_each_tab: bool = Field(
        False,
        title="Use same seed for each tab in ADetailer",
        description="Otherwise each thing found has the next seed.",
    )


class Upscaling(Section):
    """Upscaling"""

    ESRGAN_tile: Whole = Field(
        192,
        title="Tile size for ESRGAN upscalers.",
        ge=0,
        le=512,
        multiple_of=16,
        description="In pixels of the small picture; 0: no tiling. Smaller tiles take less memory.",
    )
    ESRGAN_tile_overlap: Whole = Field(
        8,
        title="Tile overlap for ESRGAN upscalers.",
        ge=0,
        le=48,
        description="In pixels of the small picture. Low values: a seam may be seen.",
    )
    DAT_tile: Whole = Field(192, title="Tile size for DAT upscalers.", ge=0, le=512, multiple_of=16)
    DAT_tile_overlap: Whole = Field(8, title="Tile overlap for DAT upscalers.", ge=0, le=48)
    SCUNET_tile: Whole = Field(256, title="Tile size for SCUNET upscalers.", ge=0, le=512, multiple_of=16)
    SCUNET_tile_overlap: Whole = Field(8, title="Tile overlap for SCUNET upscalers.", ge=0, le=64)
    SWIN_tile: Whole = Field(192, title="Tile size for all SwinIR.", ge=16, le=512, multiple_of=16)
    SWIN_tile_overlap: Whole = Field(8, title="Tile overlap, in pixels for SwinIR.", ge=0, le=48)
    upscaler_for_img2img: Text = Field(
        "None",
        title="Upscaler for img2img",
        max_length=1000,
        description="Makes pictures larger that are smaller than what is asked for. None: they are resized.",
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
    show_progress_type: Literal["Full", "Approx NN", "Approx cheap", "TAESD"] = Field(
        "Approx cheap",
        title="Live preview method",
        description="Approx NN and TAESD need their decoders in models/VAE-approx. One that takes over 3 % of the time gives way to Approx cheap.",
    )
    show_progress_grid: bool = Field(True, title="Show previews of all images generated in a batch as a grid")


class Downloads(Section):
    """Downloads"""

    downloads_at_once: Whole = Field(1, title="Downloads at the same time", ge=1, le=4)
    huggingface_endpoint: Text = Field(
        "",
        title="Address of Hugging Face",
        max_length=500,
        description="Empty: the environment's HF_ENDPOINT, else https://huggingface.co.",
    )
    civitai_endpoint: Text = Field(
        "", title="Address of Civitai", max_length=500, description="Empty: https://civitai.com."
    )

    @field_validator("huggingface_endpoint", "civitai_endpoint")
    @classmethod
    def _address(cls, value: str) -> str:
        if value and not value.startswith(("https://", "http://")):
            raise ValueError("must begin with https:// or http://, or be empty")
        return value


class Compatibility(Section):
    """Compatibility"""

    auto_backcompat: bool = Field(
        True,
        title="Automatic backward compatibility",
        description="A pasted infotext of an old version of A1111 switches on what that version did.",
    )
    use_old_karras_scheduler_sigmas: bool = Field(False, title="Use old karras scheduler sigmas (0.1 to 10)")
    hires_fix_use_firstpass_conds: bool = Field(
        False,
        title="For hires fix, calculate conds of second pass using extra networks of first pass.",
    )
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


class ControlNet(Section):
    """ControlNet"""

    control_net_unit_count: Whole = Field(
        3, title="Multi-ControlNet: ControlNet unit number", ge=1, le=10, description="On the page, when it is loaded."
    )
    control_net_no_detectmap: bool = Field(
        False, title="Do not append detectmap to output", description="What units go by is shown after the pictures."
    )
    control_net_detectmap_autosaving: bool = Field(
        False, title="Allow detectmap auto saving", description="Into outputs, where pictures are saved at all."
    )
    control_net_detectedmap_dir: str = Field(
        "detected_maps",
        title="Directory for detected maps auto saving",
        description="Below the folder of the pictures, a folder for each preprocessor in it; or a whole path.",
        max_length=4096,
    )
    control_net_model_cache_size: Whole = Field(
        2, title="Model cache size", ge=1, le=10, description="How many control models stay in memory."
    )
