"""What reads the prompts of a family, by the names and shapes of its network's tensors."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

CLIP = "clip"

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True, kw_only=True)
class Reader:
    """`kind`: a tokenizer in models/tokenizers, or CLIP's, which reads chunks of 75 tokens. `most`: the tokens that the other
    families were trained with, behind which some cut off. `lower`: is text made small first?"""

    kind: str = CLIP
    most: int = 75
    lower: bool = False


_FLUX2_TEXTS = {15360: "mistral3_24b", 7680: "qwen3_4b", 12288: "qwen3_8b"}
_FLUX2 = re.compile(r"double_stream_modulation_img\.")
_STATES = re.compile(r"(?:^|\.)(?:txt_in|context_embedder)\.weight$")
_READERS: tuple[tuple[re.Pattern[str], Reader], ...] = tuple(
    (re.compile(sign), reader)
    for sign, reader in (
        (r"distilled_guidance_layer\.", Reader(kind="t5xxl", most=512)),
        (r"double_blocks\.0\.|single_transformer_blocks\.0\.attn", Reader(kind="t5xxl", most=512)),
        (r"double_layers\.0\.|joint_transformer_blocks\.0\.", Reader(kind="pile_t5xl", most=256)),
        (r"joint_blocks\.0\.", Reader()),  # Stable Diffusion 3: its CLIPs, as A1111 counts
        (r"cap_pad_token$", Reader(kind="qwen3_4b", most=512)),
        (r"noise_refiner\.0\.", Reader(kind="gemma2_2b", most=256)),
        (r"transformer_blocks\.0\.img_mlp\.", Reader(kind="qwen25_7b", most=1024)),
        (r"attention_y_norm\.weight$|caption_norm\.weight$", Reader(kind="gemma2_2b", most=300)),
        (r"cross_attn\.kv_linear\.weight$|caption_projection\.linear_1\.weight$", Reader(kind="t5xxl", most=300, lower=True)),
        (r"patch_embed\.text_proj\.weight$", Reader(kind="glm4", most=1024)),
    )
)  # fmt: skip
"""The first whose sign is in a tensor's name; without any it is CLIP."""


def reader_of(shapes: Shapes) -> Reader:
    """Who reads the prompts of a model with these tensors."""
    if any(_FLUX2.search(name) for name in shapes):
        width = next((shape[-1] for name, shape in shapes.items() if _STATES.search(name) and shape), 0)
        return Reader(kind=_FLUX2_TEXTS.get(width, "qwen3_4b"), most=512)
    for sign, reader in _READERS:
        if any(sign.search(name) for name in shapes):
            return reader
    return Reader()
