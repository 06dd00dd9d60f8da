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
