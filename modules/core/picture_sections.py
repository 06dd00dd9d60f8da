"""Sections of settings for what is done to finished pictures: their faces, and what is written about them."""

from typing import Literal

from pydantic import Field

from modules.core.sections import Section
from modules.core.validation import Number, Text, Whole


class FaceRestoration(Section):
    """Face restoration"""

    face_restoration: bool = Field(
        False, title="Restore faces", description="Of every picture that is drawn, by the model below."
    )
    face_restoration_model: Literal["CodeFormer", "GFPGAN"] = Field(
        "CodeFormer",
        title="Face restoration model",
        description="Its file is in models/Codeformer or models/GFPGAN.",
    )
    code_former_weight: Number = Field(
        0.5, title="CodeFormer weight", ge=0, le=1, description="0: maximum effect; 1: minimum effect."
    )


class Interrogate(Section):
    """Interrogate"""

    interrogate_return_ranks: bool = Field(False, title="Include ranks of model tags matches in results.")
    interrogate_clip_num_beams: Whole = Field(1, title="BLIP: num_beams", ge=1, le=16)
    interrogate_clip_min_length: Whole = Field(24, title="BLIP: minimum description length", ge=1, le=128)
    interrogate_clip_max_length: Whole = Field(48, title="BLIP: maximum description length", ge=1, le=256)
    interrogate_deepbooru_score_threshold: Number = Field(0.5, title="deepbooru: score threshold", ge=0, le=1)
    deepbooru_sort_alpha: bool = Field(
        True, title="deepbooru: sort tags alphabetically", description="Otherwise the surest first."
    )
    deepbooru_use_spaces: bool = Field(True, title="deepbooru: use spaces in tags", description="Instead of _.")
    deepbooru_escape: bool = Field(
        True, title="deepbooru: escape (\\) brackets", description="So that they are no emphasis in prompts."
    )
    deepbooru_filter_tags: Text = Field(
        "", title="deepbooru: filter out those tags", max_length=4000, description="With commas between them."
    )


class Postprocessing(Section):
    """Postprocessing"""

    outdir_extras_samples: Text = Field(
        "outputs/extras-images", title="Output directory for images from extras tab", max_length=1000
    )
    use_original_name_batch: bool = Field(
        True, title="Use original name for output filename during batch process in extras tab"
    )
    postprocessing_disable_in_extras: tuple[Text, ...] = Field(
        (),
        title="Disable postprocessing operations in extras tab",
        max_length=50,
        description="Names of operations, one a line, as below. From the next start.",
    )
    postprocessing_operation_order: tuple[Text, ...] = Field(
        (),
        title="Postprocessing operation order",
        max_length=50,
        description="Names of operations, one a line, which come first: Upscale, GFPGAN, CodeFormer, Remove background, Split oversized images, Auto focal point crop, Auto-sized crop, Create flipped copies, Caption.",
    )
    postprocessing_existing_caption_action: Literal["Ignore", "Keep", "Prepend", "Append"] = Field(
        "Ignore",
        title="Action for existing captions",
        description="When captions are made of pictures of a folder that have a text file beside them: "
        "Ignore it, Keep it instead, or put it before or behind.",
    )
    use_upscaler_name_as_suffix: bool = Field(False, title="Use upscaler name as filename suffix in the extras tab")


class Infotext(Section):
    """Infotext"""

    enable_pnginfo: bool = Field(True, title="Write infotext to metadata of the generated image")
    add_model_name_to_info: bool = Field(True, title="Add model name to infotext")
    add_model_hash_to_info: bool = Field(True, title="Add model hash to infotext")
    add_vae_name_to_info: bool = Field(True, title="Add VAE name to infotext")
    add_vae_hash_to_info: bool = Field(True, title="Add VAE hash to infotext")
    add_version_to_infotext: bool = Field(True, title="Add program version to infotext")
    add_user_name_to_info: bool = Field(
        False,
        title="Add user name to infotext when authenticated",
        description="Of whoever asked for the picture, where the server has accounts.",
    )
    disable_weights_auto_swap: bool = Field(
        False,
        title="Disregard checkpoint information from pasted infotext",
        description="The checkpoint that is chosen stays.",
    )
    infotext_skip_pasting: tuple[Text, ...] = Field(
        (),
        title="Disregard fields from pasted infotext",
        max_length=200,
        description="Keys of the infotext, one a line: Prompt, Negative prompt, Seed, Size, Clip skip ...",
    )
    save_txt: bool = Field(
        False,
        title="Create a text file with infotext next to every generated image",
        description="Called as the picture, but for its ending .txt.",
    )
    infotext_styles: Literal["Ignore", "Apply", "Discard", "Apply if any"] = Field(
        "Apply if any", title="Infer styles from prompts of pasted infotext"
    )
