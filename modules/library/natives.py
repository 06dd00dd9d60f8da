"""What the page starts from for the families after SDXL, by the names of a network's tensors: their authors' values."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Native:
    """`sign`: a tensor that the family's networks have, `without`: one that they lack, `file`: in the name of the file, all patterns."""

    sign: str
    steps: int
    cfg_scale: float
    without: str = ""
    file: str = ""
    side: int = 1024

    def fits(self, names: Iterable[str], file: str) -> bool:
        """Is a file of that name with these tensors meant?"""
        names = list(names)
        return (
            bool(re.search(self.file, file.casefold()))
            and any(re.search(self.sign, name) for name in names)
            and not (self.without and any(re.search(self.without, name) for name in names))
        )


_FLUX2 = r"double_stream_modulation_img\."
_FLUX = r"double_blocks\.0\.|single_transformer_blocks\.0\."
NATIVES = (
    Native(sign=_FLUX2, file="klein(?!.*base)", steps=4, cfg_scale=1.0),
    Native(sign=_FLUX2, file="klein", steps=50, cfg_scale=4.0),
    Native(sign=_FLUX2, steps=28, cfg_scale=1.0),
    Native(sign=r"distilled_guidance_layer\.", steps=35, cfg_scale=5.0),
    Native(sign=_FLUX, without=r"guidance_(in|embedder)\.", steps=4, cfg_scale=1.0),
    Native(sign=_FLUX, steps=20, cfg_scale=1.0),
    Native(sign=r"double_layers\.0\.", steps=50, cfg_scale=3.5),
    Native(sign=r"joint_blocks\.0\.", file="turbo", steps=4, cfg_scale=1.0),
    Native(sign=r"joint_blocks\.0\.", steps=28, cfg_scale=4.5),
    Native(sign=r"cap_pad_token$", file="turbo", steps=8, cfg_scale=1.0),
    Native(sign=r"cap_pad_token$", steps=28, cfg_scale=5.0),
    Native(sign=r"transformer_blocks\.0\.img_mlp\.", side=1328, steps=50, cfg_scale=4.0),
    Native(sign=r"noise_refiner\.0\.", steps=30, cfg_scale=4.0),
)
"""The first that fits counts."""


def native(names: Iterable[str], file: str) -> dict[str, Any]:
    """Size, steps, CFG scale, sampler and schedule for a file with these tensors; empty for families before those."""
    names = list(names)
    found = next((one for one in NATIVES if one.fits(names, file)), None)
    if not found:
        return {}
    flow = {"sampler_name": "Euler", "scheduler": "Simple"}
    return {"width": found.side, "height": found.side, "steps": found.steps, "cfg_scale": found.cfg_scale, **flow}
