"""An X/Y/Z plot as it was asked for: its axes, the request of each cell, and how large it comes out."""

import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from modules.core.errors import InputError
from modules.requests.axes import Axis, axes_of, remade
from modules.requests.generation import MAX_SEED, MAX_SIDE, GenerationRequest
from modules.requests.plot_values import read_values

TITLE = "X/Y/Z plot"
MOST_PICTURES = 10_000
LETTERS = ("x", "y", "z")
SEEDS = ("Seed", "Var. seed")


@dataclass(frozen=True, kw_only=True)
class Line:
    """One axis with its values; `text`: as the user wrote them."""

    letter: str
    axis: Axis
    values: tuple[Any, ...]
    text: str

    @property
    def labels(self) -> list[str]:
        """What legends say of each value."""
        return [self.axis.words(value) for value in self.values]

    def changed(self, request: GenerationRequest, index: int) -> GenerationRequest:
        """The request with the value of that number; raises InputError that names the axis."""
        try:
            return self.axis.changed(request, self.values[index], self.values)
        except InputError as error:
            said = f'{self.letter.upper()} axis "{self.axis.name}" of the X/Y/Z plot: {error.message}'
            raise InputError(error.field, said) from error


@dataclass(frozen=True, kw_only=True)
class Plot:
    """`request`: what every cell begins from, its seed decided unless `keep_random`; `vary`: which axes count seeds on."""

    request: GenerationRequest
    lines: tuple[Line, Line, Line]
    seed: int
    keep_random: bool
    vary: tuple[bool, bool, bool]
    margin: int
    legend: bool
    sub_images: bool
    sub_grids: bool

    @property
    def shape(self) -> tuple[int, int, int]:
        """The numbers of values of X, Y and Z."""
        x, y, z = (len(line.values) for line in self.lines)
        return x, y, z

    def cells(self) -> list[tuple[int, int, int]]:
        """All cells (x, y, z), ordered so that what takes long to change changes least often."""
        order = sorted(range(3), key=lambda i: -self.lines[i].axis.cost)  # those alike stay x, y, z
        slow, middle, quick = order if self.lines[order[0]].axis.cost else (2, 1, 0)
        found = []
        for a in range(self.shape[slow]):
            for b in range(self.shape[middle]):
                for c in range(self.shape[quick]):
                    at = {slow: a, middle: b, quick: c}
                    found.append((at[0], at[1], at[2]))
        return found

    def number(self, cell: tuple[int, int, int]) -> int:
        """The place of a cell among all: row after row, sheet after sheet."""
        (x, y, z), (columns, rows, _) = cell, self.shape
        return (z * rows + y) * columns + x

    def of(self, cell: tuple[int, int, int]) -> GenerationRequest:
        """The request of that cell; raises InputError."""
        request = self.request
        for line, index in zip(self.lines, cell, strict=True):
            request = line.changed(request, index)
        step, on = 1, 0
        for varied, index, count in zip(self.vary, cell, self.shape, strict=True):
            if varied:
                on, step = on + index * step, step * count
        seed = request.seed
        if seed < 0:
            seed = random.Random(f"{self.seed} {self.number(cell)}").randrange(2**32)
        return remade(request, {"seed": min(seed + on, MAX_SEED - request.count + 1)})

    def each(self) -> Iterator[GenerationRequest]:
        """Requests that hold every value of every axis once, to be checked."""
        for line in self.lines:
            yield from (line.changed(self.request, index) for index in range(len(line.values)))

    def fields(self) -> dict[str, str]:
        """What the grid's infotext says of it, in A1111's keys."""
        found = {"Script": TITLE}
        for line in self.lines:
            if line.axis.kind != "nothing":
                letter = line.letter.upper()
                found |= {f"{letter} Type": line.axis.name, f"{letter} Values": line.text}
                if line.axis.name in SEEDS and not self.keep_random:
                    found[f"Fixed {letter} Values"] = ", ".join(map(str, line.values))
        return found


def read_plot(values: Mapping[str, Any], request: GenerationRequest, tab: str, seed: int) -> Plot:
    """The plot that a script's values ask for; raises InputError for what cannot be, with the numbers where it is too large."""
    lines = tuple(_line(letter, values, tab, seed) for letter in LETTERS)
    for line in lines:
        if not line.axis.usable(type(request).model_fields):
            said = f'The axis "{line.axis.name}" of the X/Y/Z plot is not part of this version. Choose another.'
            raise InputError("script_args", said)
    plain = remade(request, {"script_name": None, "script_args": ()})
    seeded = any(line.axis.name == "Seed" for line in lines)
    if plain.seed < 0 and not values["no_fixed_seeds"] and not seeded:
        plain = remade(plain, {"seed": min(seed, MAX_SEED - plain.count + 1)})
    vary = values["vary_seeds_x"], values["vary_seeds_y"], values["vary_seeds_z"]
    plot = Plot(
        request=plain,
        lines=(lines[0], lines[1], lines[2]),
        seed=seed,
        keep_random=values["no_fixed_seeds"],
        vary=vary,
        margin=values["margin_size"],
        legend=values["draw_legend"],
        sub_images=values["include_lone_images"],
        sub_grids=values["include_sub_grids"],
    )
    _check_size(plot)
    return plot


def _line(letter: str, values: Mapping[str, Any], tab: str, seed: int) -> Line:
    axis = next(axis for axis in axes_of(tab) if axis.name == values[f"{letter}_type"])
    chosen: Sequence[str] = values[f"{letter}_values_dropdown"] if axis.choices and not values["csv_mode"] else ()
    found = read_values(axis, values[f"{letter}_values"], chosen)
    if axis.name in SEEDS and not values["no_fixed_seeds"]:
        draw = random.Random(f"{seed} {letter}")
        found = tuple(draw.randrange(2**32) if value == -1 else value for value in found)
    text = ", ".join(f'"{name}"' if "," in name else name for name in chosen) or values[f"{letter}_values"]
    return Line(letter=letter, axis=axis, values=found, text=text)


def _check_size(plot: Plot) -> None:
    columns, rows, sheets = plot.shape
    cells = columns * rows * sheets
    said = f"The X/Y/Z plot has {columns} x {rows} x {sheets} = {cells} cells"
    if cells * plot.request.count > MOST_PICTURES:
        raise InputError(
            "script_args",
            f"{said} of {plot.request.count} pictures: at most {MOST_PICTURES} pictures are drawn in one job. Use fewer values.",
        )
    sizes = [final_size(request) for request in plot.each()]
    across = math.ceil(math.sqrt(plot.request.count))
    cell = max(w for w, _ in sizes) * across, max(h for _, h in sizes) * math.ceil(plot.request.count / across)
    width = columns * cell[0] + (columns - 1) * plot.margin
    width, height = width * sheets, rows * cell[1] + (rows - 1) * plot.margin
    if max(width, height) > MAX_SIDE:
        raise InputError(
            "script_args",
            f"{said}, whose grid is {width} x {height} pixels: at most {MAX_SIDE} a side. Use fewer values or smaller pictures.",
        )


def final_size(request: GenerationRequest) -> tuple[int, int]:
    """Pixels across and down of a request's pictures, after its hires fix."""
    width, height = request.width, request.height
    if not getattr(request, "enable_hr", False):
        return width, height
    scale, x, y = (getattr(request, name) for name in ("hr_scale", "hr_resize_x", "hr_resize_y"))
    if not x and not y:
        return int(width * scale), int(height * scale)
    return x or width * y // height, y or height * x // width
