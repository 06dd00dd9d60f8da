"""What the tags `<lora:...>`, `<lyco:...>` and `<hypernet:...>` ask for."""

import math
import re
from dataclasses import dataclass

from modules.core.errors import InputError, nearest, short
from modules.prompting.tags import Tag

LORAS = ("lora", "lyco")
HYPERNETWORKS = ("hypernet",)
KINDS = (*LORAS, *HYPERNETWORKS)

_NUMBERS = re.compile(r"[-+.\d,\seE]+")
_KNOWN = ("te", "unet", "dyn", "lbw", "start", "stop", "step")

PRESETS: dict[str, str] = {
    "NONE": "0" + ",0" * 16,
    "ALL": "1" + ",1" * 16,
    "INS": "1,1,1,1,0,0,0,0,0,0,0,0,0,0,0,0,0",
    "IND": "1,0,0,0,1,1,1,0,0,0,0,0,0,0,0,0,0",
    "INALL": "1,1,1,1,1,1,1,0,0,0,0,0,0,0,0,0,0",
    "MIDD": "1,0,0,0,1,1,1,1,1,1,1,1,0,0,0,0,0",
    "OUTD": "1,0,0,0,0,0,0,0,1,1,1,1,0,0,0,0,0",
    "OUTS": "1,0,0,0,0,0,0,0,0,0,0,0,1,1,1,1,1",
    "OUTALL": "1,0,0,0,0,0,0,0,1,1,1,1,1,1,1,1,1",
    "ALL0.5": "0.5" + ",0.5" * 16,
}
"""The names that the LoRA Block Weight extension comes with, for the 17 blocks of SD 1.x and 2.x."""

COUNTS = (12, 17, 20, 26)
"""BASE and the blocks: of XL those with attention (12) or all (20), of SD 1.x and 2.x 17 or 26."""


@dataclass(frozen=True)
class Moment:
    """A step, the first being 0, or a part of the way, from 0 to 1."""

    value: float
    part: bool

    def step(self, steps: int) -> float:
        """The step that it is of so many."""
        return self.value * steps if self.part else self.value


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """One tag. `text` and `unet`: multipliers of the text encoders' changes and of the network's; `rank`: how many of each low-rank
    factor's are used; `blocks`: BASE's weight and the blocks'; `start`, `stop`: from when to when it is on, if not all the time."""

    kind: str
    name: str
    text: float = 1.0
    unet: float = 1.0
    rank: int | None = None
    blocks: tuple[float, ...] = ()
    start: Moment | None = None
    stop: Moment | None = None


def read_tag(tag: Tag, default: float = 1.0) -> Wanted:
    """What a tag of one of KINDS asks for; raises InputError for what it cannot mean. `default`: the multiplier of one without."""
    told = _Told(tag)
    name, *rest = tag.arguments or ("",)
    if not name.strip():
        raise InputError("prompt", f"The tag {told.text} has no name. Write <{tag.kind}:name:1>, or remove it.")
    named = dict(tag.named)
    for key in named:
        if key not in _KNOWN:
            raise InputError(
                "prompt", f"The tag {told.text} has {short(key)}, which is not known. {nearest(key, _KNOWN)}"
            )
    lists = [value for value in rest if "," in value or value.strip() in PRESETS]
    numbers = [value for value in rest if value not in lists]
    text = told.number(named["te"]) if "te" in named else told.number(numbers[0]) if numbers else default
    unet = told.number(named["unet"]) if "unet" in named else told.number(numbers[1]) if len(numbers) > 1 else text
    dyn = named.get("dyn", numbers[2] if len(numbers) > 2 else None)
    start, stop = told.steps(named)
    blocks = named.get("lbw", lists[0] if lists else None)
    return Wanted(
        kind=tag.kind,
        name=name.strip(),
        text=text,
        unet=unet,
        rank=None if dyn is None else told.rank(dyn),
        blocks=() if blocks is None else told.blocks(blocks),
        start=start,
        stop=stop,
    )


class _Told:
    """Reads the arguments of one tag."""

    def __init__(self, tag: Tag) -> None:
        named = [f"{key}={value}" for key, value in tag.named]
        self.text = short(f"<{':'.join((tag.kind, *tag.arguments, *named))}>")

    def number(self, value: str) -> float:
        try:
            found = float(value)
        except ValueError:
            found = math.nan
        if not abs(found) <= 1000:
            raise self._wrong(value, "a number from -1000 to 1000")
        return found

    def rank(self, value: str) -> int:
        try:
            found = int(value)
        except ValueError:
            found = 0
        if found < 1:
            raise self._wrong(value, "a rank, a whole number from 1")
        return found

    def steps(self, named: dict[str, str]) -> tuple[Moment | None, Moment | None]:
        first, last = named.get("start"), named.get("stop")
        if "step" in named:
            first, _, last = named["step"].partition("-")
        return self._step(first), self._step(last)

    def _step(self, value: str | None) -> Moment | None:
        """A step, or, written with a point, a part of the way."""
        if not value:
            return None
        found = self.number(value)
        part = "." in value
        if found < 0 or (part and found > 1):
            raise self._wrong(value, "a step, or a part of the way from 0.0 to 1.0")
        return Moment(found, part)

    def blocks(self, value: str) -> tuple[float, ...]:
        text = PRESETS.get(value.strip(), value)
        if not _NUMBERS.fullmatch(text):
            raise InputError(
                "prompt",
                f"The tag {self.text} has the block weights {short(value)}, neither numbers nor a preset. {nearest(value, PRESETS)}",
            )
        found = tuple(self.number(part) for part in text.split(","))
        if len(found) not in COUNTS:
            raise InputError(
                "prompt",
                f"The tag {self.text} has {len(found)} block weights: SD 1.x and 2.x take 17 or 26, XL 12 or 20.",
            )
        return found

    def _wrong(self, value: str, wanted: str) -> InputError:
        return InputError("prompt", f"The tag {self.text} has {short(value)} where {wanted} is needed. Correct it.")
