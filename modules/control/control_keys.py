"""Names of tensors in ControlNets as they were trained ("ldm") and in diffusers' ControlNetModel, both ways."""

import re
from collections.abc import Iterable, Mapping

from torch import Tensor

from modules.families.ldm_keys import KeyMap, UNetShape, unet_keys

PREFIX = "control_model."
HINT = "input_hint_block"
HINT_CONVOLUTIONS = (0, 2, 4, 6, 8, 10, 12, 14)
"""Places of convolutions among the layers that read the picture; activations stand between."""


def control_keys(shape: UNetShape) -> KeyMap:
    """The table for ControlNets beside U-Nets of that shape (keys without their prefix)."""
    first, *blocks, last = HINT_CONVOLUTIONS
    count = shape.levels * (shape.blocks + 1)  # maps that the way down gives, the first convolution's among them
    embedding = "controlnet_cond_embedding"
    return KeyMap(
        [
            *unet_keys(shape).pairs,
            *((f"zero_convs.{n}.0", f"controlnet_down_blocks.{n}") for n in range(count)),
            ("middle_block_out.0", "controlnet_mid_block"),
            (f"{HINT}.{first}", f"{embedding}.conv_in"),
            *((f"{HINT}.{at}", f"{embedding}.blocks.{n}") for n, at in enumerate(blocks)),
            (f"{HINT}.{last}", f"{embedding}.conv_out"),
        ]
    )


def diffusers_shape(names: Iterable[str]) -> UNetShape:
    """The shape that diffusers' names tell."""
    found = [re.match(r"down_blocks\.(\d+)\.resnets\.(\d+)\.", name) for name in names]
    pairs = {(int(match[1]), int(match[2])) for match in found if match}
    levels = 1 + max(level for level, _ in pairs)
    known = set(names)
    attention = tuple(f"down_blocks.{level}.attentions.0.norm.weight" in known for level in range(levels))
    return UNetShape(levels=levels, blocks=1 + max(block for _, block in pairs), attention=attention)


def to_ldm(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """diffusers' names to ldm's; those that no ControlNet of ldm's has keep theirs."""
    named = {
        name.replace("add_embedding.", "class_embedding.") if name.startswith("add_embedding.") else name: tensor
        for name, tensor in tensors.items()
    }
    keys = control_keys(diffusers_shape(list(named)))
    found: dict[str, Tensor] = {}
    for name, tensor in named.items():
        try:
            found |= keys.to_ldm({name: tensor})
        except KeyError:
            found[name] = tensor
    return found
