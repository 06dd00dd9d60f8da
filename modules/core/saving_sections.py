"""Sections of settings for what is saved, and where: pictures and grids of them."""

from typing import Literal

from pydantic import Field

from modules.core.sections import Section
from modules.core.validation import Number, Text, Whole


class Saving(Section):
    """Saving images"""

    samples_save: bool = Field(True, title="Always save all generated images")
    samples_format: Literal["png", "jpg", "jpeg", "webp", "avif", "gif"] = Field(
        "png",
        title="File format for images",
        description="png and lossless webp keep every pixel; the infotext is inside in each. Too large for it: png.",
    )
    jpeg_quality: Whole = Field(
        80, title="Quality for saved jpeg and avif images", ge=1, le=100, description="Of webp too."
    )
    webp_lossless: bool = Field(False, title="Use lossless compression for webp images")
    save_images_add_number: bool = Field(True, title="Add number to filename when saving")
    samples_filename_pattern: Text = Field("", title="Images filename pattern", max_length=500)
    save_to_dirs: bool = Field(True, title="Save images to a subdirectory")
    directories_filename_pattern: Text = Field("[date]", title="Directory name pattern", max_length=500)
    directories_max_prompt_words: Whole = Field(
        8, title="Max prompt words for [prompt_words] pattern", ge=1, le=20, description="In names of files too."
    )
    outdir_samples: Text = Field(
        "",
        title="Output directory for images",
        max_length=1000,
        description="Empty: each tab has its own.",
    )
    outdir_txt2img_samples: Text = Field(
        "outputs/txt2img-images", title="Output directory for txt2img images", max_length=1000
    )
    outdir_img2img_samples: Text = Field(
        "outputs/img2img-images", title="Output directory for img2img images", max_length=1000
    )
    export_for_4chan: bool = Field(
        True,
        title="Save copy of large images as JPG",
        description="Beside a file above the limit, or a picture whose width or height is.",
    )
    img_downscale_threshold: Number = Field(4.0, title="File size limit for the above option, MB", ge=0, le=10_000)
    target_side_length: Number = Field(
        4000, title="Width/height limit for the above option, in pixels", ge=1, le=65_000
    )
    save_images_before_highres_fix: bool = Field(
        False,
        title="Save a copy of image before applying highres fix.",
        description="Beside the larger one, its name ending in -before-highres-fix.",
    )
    save_images_before_face_restoration: bool = Field(
        False,
        title="Save a copy of image before doing face restoration.",
        description="Beside the other one, its name ending in -before-face-restoration.",
    )
    save_images_before_color_correction: bool = Field(
        False,
        title="Save a copy of image before applying color correction to img2img results",
        description="Beside the other one, its name ending in -before-color-correction.",
    )
    save_mask: bool = Field(
        False,
        title="For inpainting, save a copy of the greyscale mask",
        description="Beside the picture, its name ending in -mask.",
    )
    save_mask_composite: bool = Field(
        False,
        title="For inpainting, save a masked composite",
        description="Only what was drawn, the rest transparent; its name ends in -mask-composite.",
    )
    save_init_img: bool = Field(
        False,
        title="Save init images when using img2img",
        description="Each once, called after what is in it: the infotext's Init image hash.",
    )
    outdir_init_images: Text = Field(
        "outputs/init-images", title="Directory for saving init images when using img2img", max_length=1000
    )
    outdir_save: Text = Field("log/images", title="Directory for saving images using the Save button", max_length=1000)
    use_save_to_dirs_for_ui: bool = Field(False, title='When using "Save" button, save images to a subdirectory')
    save_selected_only: bool = Field(
        True,
        title="When using 'Save' button, only save a single selected image",
        description="Otherwise all that the job shows.",
    )
    save_write_log_csv: bool = Field(True, title="Write log.csv when saving images using 'Save' button")
    save_incomplete_images: bool = Field(False, title="Save incomplete images that were interrupted in mid-generation")


HEX = "^#[0-9a-fA-F]{6}$"


class Grids(Section):
    """Saving grids"""

    grid_save: bool = Field(True, title="Always save all generated image grids")
    grid_format: Literal["png", "jpg", "jpeg", "webp", "avif", "gif"] = Field(
        "png", title="File format for grids", description="Too large for it: png."
    )
    return_grid: bool = Field(True, title="Show grid in gallery")
    grid_only_if_multiple: bool = Field(True, title="Do not save grids consisting of one picture")
    grid_prevent_empty_spots: bool = Field(False, title="Prevent empty spots in grid (when set to autodetect)")
    grid_zip_filename_pattern: Text = Field(
        "",
        title="Archive filename pattern",
        max_length=500,
        description="Of all pictures of a job in one file. Empty: [datetime]_[[model_name]]_[seed]-[seed_last].",
    )
    n_rows: Whole = Field(
        -1,
        title="Grid row count",
        ge=-1,
        le=16,
        description="-1: as square as can be; 0: the batch size.",
    )
    grid_save_to_dirs: bool = Field(True, title="Save grids to a subdirectory")
    grid_extended_filename: bool = Field(False, title="Add extended info (seed, prompt) to filename when saving grid")
    img_max_size_mp: Number = Field(
        200,
        title="Maximum image size",
        ge=0,
        le=10_000,
        description="Of a grid of a job's pictures, in megapixels: a larger one is not made.",
    )
    outdir_grids: Text = Field(
        "",
        title="Output directory for grids",
        max_length=1000,
        description="Empty: each tab has its own.",
    )
    outdir_txt2img_grids: Text = Field(
        "outputs/txt2img-grids", title="Output directory for txt2img grids", max_length=1000
    )
    outdir_img2img_grids: Text = Field(
        "outputs/img2img-grids", title="Output directory for img2img grids", max_length=1000
    )
    font: Text = Field(
        "",
        title="Font for image grids that have text",
        max_length=1000,
        description="Its file; empty: the bundled one.",
    )
    grid_text_active_color: Text = Field("#000000", title="Text color for image grids", pattern=HEX)
    grid_text_inactive_color: Text = Field("#999999", title="Inactive text color for image grids", pattern=HEX)
    grid_background_color: Text = Field("#ffffff", title="Background color for image grids", pattern=HEX)
