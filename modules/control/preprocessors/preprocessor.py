"""What a preprocessor is, and what it works with."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from modules.control.preprocessors.pixels import Pixels, checked
from modules.core.errors import InputError
from modules.requests.preprocessors import PreprocessorEntry, Values

Result = Pixels | dict[str, Any] | str
"""A picture (H, W, 3 or 4), tensors by name, or a text."""


@dataclass(frozen=True, kw_only=True)
class Work:
    """One picture, uint8 (H, W, 3), or (H, W, 4) with a mask as alpha, and what is asked of it. `tools` holds networks in memory
    (modules/control/preprocessors/networks.py)."""

    image: Pixels
    values: Values
    tools: Any

    @property
    def resolution(self) -> int:
        """Pixels of the shorter side."""
        return self.values.resolution


Look = Callable[[Work], Result]
"""What a preprocessor does."""


@dataclass(frozen=True, kw_only=True)
class Preprocessor:
    """An entry and what does it."""

    entry: PreprocessorEntry
    look: Look
    tools: Any = field(default=None, repr=False)

    def run(self, image: Pixels, resolution: float = -1, threshold_a: float = -1, threshold_b: float = -1) -> Any:
        """What it makes of a picture, a Result of the kind that the entry `gives`. `image`: uint8 (H, W), (H, W, 3) or (H, W, 4), RGB(A).

        What lies outside a slider is its default, as -1 is.
        Raises InputError for what is no picture or no number, ModelFileError where weights are missing or broken.
        """
        values, _ = self.entry.settled(resolution, threshold_a, threshold_b)
        pixels = checked(image)
        if self.entry.mask and pixels.shape[2] != 4:
            raise InputError("mask", f"{self.entry.name} needs a mask: draw one, or choose another preprocessor.")
        return self.look(Work(image=pixels, values=values, tools=self.tools))
