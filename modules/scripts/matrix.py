"""Prompt matrix: of a prompt `a|b|c` every combination of b and c behind (or before) a, on a sheet."""

import math

from modules.core.errors import InputError
from modules.engine.scripts import EngineAPI, Script, Values
from modules.images.grids import Legends, Words, make_sheet
from modules.requests.axes import remade
from modules.requests.generation import MAX_SEED, MAX_SIDE, GenerationRequest
from modules.requests.plot import final_size
from modules.requests.scripts import ScriptField
from modules.scripts.look import look_of

MOST_PARTS = 13


class PromptMatrix(Script):
    """A1111's prompt matrix."""

    title = "Prompt matrix"

    def fields(self, tab: str) -> tuple[ScriptField, ...]:
        """A1111's arguments in their order."""
        return (
            ScriptField(
                name="put_at_start",
                label="Put variable parts at start of prompt",
                kind="switch",
                default=False,
                tooltip="The parts behind the first | come before the first part instead of behind it.",
            ),
            ScriptField(
                name="different_seeds", label="Use different seed for each picture", kind="switch", default=False
            ),
            ScriptField(
                name="prompt_type",
                label="Select prompt",
                kind="choice",
                default="positive",
                choices=("positive", "negative"),
            ),
            ScriptField(
                name="variations_delimiter",
                label="Select joining char",
                kind="choice",
                default="comma",
                choices=("comma", "space"),
            ),
            ScriptField(
                name="margin_size", label="Grid margins (px)", kind="whole", default=0, minimum=0, maximum=500, step=2
            ),
        )

    def run(self, request: GenerationRequest, values: Values, api: EngineAPI) -> None:
        """Draw one picture a combination."""
        field = "prompt" if values["prompt_type"] == "positive" else "negative_prompt"
        first, *parts = getattr(request, field).split("|")
        self._check(request, len(parts), values["margin_size"])
        columns = 1 << math.ceil(len(parts) / 2)
        count = 1 << len(parts)
        api.expect(count)
        drawn = []
        for number in range(count):
            chosen = [part.strip().strip(",") for bit, part in enumerate(parts) if number >> bit & 1]
            words = [*chosen, first] if values["put_at_start"] else [first, *chosen]
            seed = min(api.seed + number * values["different_seeds"], MAX_SEED)
            text = (", " if values["variations_delimiter"] == "comma" else " ").join(words)
            one = remade(request, {field: text, "seed": seed, "n_iter": 1, "batch_size": 1})
            drawn.append(api.draw(one))
        if any(drawn):
            legends = Legends(**_legends(parts), look=look_of(api))
            images = [one[0].image if one else None for one in drawn]
            infotext = next(one[0].infotext for one in drawn if one)
            api.grid(make_sheet(images, columns, legends, values["margin_size"]), infotext, "prompt_matrix")

    def _check(self, request: GenerationRequest, parts: int, margin: int) -> None:
        if parts > MOST_PARTS:
            raise InputError(
                "prompt",
                f"The prompt matrix has {parts} parts that vary: at most {MOST_PARTS} are possible. Use fewer.",
            )
        width, height = final_size(request)
        columns, rows = 1 << math.ceil(parts / 2), 1 << parts // 2
        across, down = columns * (width + margin) - margin, rows * (height + margin) - margin
        if max(across, down) > MAX_SIDE:
            raise InputError(
                "prompt",
                f"The prompt matrix has {parts} parts that vary, so {1 << parts} pictures on a grid of {across} x {down} pixels: at most "
                f"{MAX_SIDE} a side. Use fewer parts or smaller pictures.",
            )


def _legends(parts: list[str]) -> dict[str, list[list[Words]]]:
    """The first half of the parts goes above the columns, the rest beside the rows."""
    half = math.ceil(len(parts) / 2)
    found = {}
    for name, group in (("columns", parts[:half]), ("rows", parts[half:])):
        found[name] = [
            [Words(text=part.strip(), active=bool(number >> bit & 1)) for bit, part in enumerate(group)]
            for number in range(1 << len(group))
        ]
    return found
