"""X/Y/Z plot: one picture for every combination of the values of up to three axes, on sheets with legends."""

from PIL import Image

from modules.engine.scripts import Drawn, EngineAPI, Script, Values
from modules.images.grids import Legends, Look, Words, columns_of, make_grid, make_sheet
from modules.images.infotext import format_infotext, parse_infotext
from modules.requests.axes import axes_of
from modules.requests.generation import GenerationRequest
from modules.requests.plot import LETTERS, TITLE, Plot, read_plot
from modules.requests.scripts import ScriptEntry, ScriptField, Swap
from modules.requests.txt2img import Txt2ImgRequest
from modules.scripts.look import look_of

BASE = "xyz_grid"
STARTS = {"x": "Seed", "y": "Nothing", "z": "Nothing"}
HINTS = {"whole": "1, 2, 5  or  1-5  or  1-10 (+3)  or  1-10 [4]", "number": "0.5, 1  or  0-1 (+0.25)  or  0-1 [5]"}


class PlotScript(Script):
    """A1111's X/Y/Z plot."""

    title = TITLE

    def fields(self, tab: str) -> tuple[ScriptField, ...]:
        """A1111's arguments in their order."""
        found = []
        for letter in LETTERS:
            found += _axis_fields(letter, tab)
        switches = (
            ("draw_legend", "Draw legend", True),
            ("include_lone_images", "Include Sub Images", False),
            ("include_sub_grids", "Include Sub Grids", False),
            ("no_fixed_seeds", "Keep -1 for seeds", False),
            ("vary_seeds_x", "Vary seeds for X", False),
            ("vary_seeds_y", "Vary seeds for Y", False),
            ("vary_seeds_z", "Vary seeds for Z", False),
        )
        found += [ScriptField(name=name, label=label, kind="switch", default=on) for name, label, on in switches]
        found.append(
            ScriptField(
                name="margin_size", label="Grid margins (px)", kind="whole", default=0, minimum=0, maximum=500, step=2
            )
        )
        text = "Use text inputs instead of dropdowns"
        return (*found, ScriptField(name="csv_mode", label=text, kind="switch", default=False))

    def entry(self) -> ScriptEntry:
        """With A1111's three buttons that exchange axes."""
        groups = {letter: tuple(field.name for field in _axis_fields(letter, "txt2img")) for letter in LETTERS}
        swaps = tuple(
            Swap(label=f"Swap {a.upper()}/{b.upper()} axes", first=groups[a], second=groups[b])
            for a, b in (("x", "y"), ("y", "z"), ("x", "z"))
        )
        return super().entry().model_copy(update={"swaps": swaps})

    def run(self, request: GenerationRequest, values: Values, api: EngineAPI) -> None:
        """Draw the cells in the order that changes least, then their sheets; of what there is, when the user stops it."""
        tab = "txt2img" if isinstance(request, Txt2ImgRequest) else "img2img"
        plot = read_plot(values, request, tab, api.seed)
        cells = plot.cells()
        api.expect(len(cells))
        drawn = {cell: api.draw(plot.of(cell), at=plot.number(cell) * request.count) for cell in cells}
        if not plot.sub_images:
            for one in drawn.values():
                api.hide(one)
        first = next((one[0] for one in drawn.values() if one), None)
        if first:
            infotext = _told(first.infotext, plot)
            for sheet in _sheets(plot, drawn, look_of(api)):
                api.grid(sheet, infotext, BASE)


def _axis_fields(letter: str, tab: str) -> list[ScriptField]:
    axes = axes_of(tab)
    upper = letter.upper()
    return [
        ScriptField(
            name=f"{letter}_type",
            label=f"{upper} type",
            kind="choice",
            default=STARTS[letter],
            choices=tuple(axis.name for axis in axes),
        ),
        ScriptField(
            name=f"{letter}_values",
            label=f"{upper} values",
            kind="lines",
            default="",
            tooltip=f"Values with commas between them, or ranges: {HINTS['whole']}. Quotes keep a comma inside a value.",
        ),
        ScriptField(
            name=f"{letter}_values_dropdown",
            label=f"{upper} values",
            kind="several",
            default="",
            follows=f"{letter}_type",
        ),
    ]


def _sheets(plot: Plot, drawn: dict[tuple[int, int, int], list[Drawn]], look: Look) -> list[Image.Image]:
    """The main sheet, then one for each value of Z where these are wanted."""
    x, y, z = (line.labels for line in plot.lines)
    columns, rows, count = plot.shape
    found = []
    for sheet in range(count):
        cells = [_cell(drawn[column, row, sheet]) for row in range(rows) for column in range(columns)]
        legends = Legends(
            columns=[[Words(text=text)] for text in x] if plot.legend else (),
            rows=[[Words(text=text)] for text in y] if plot.legend else (),
            look=look,
        )
        found.append(make_sheet(cells, columns, legends, plot.margin))
    if count == 1:
        return found
    titles = [[Words(text=text)] for text in z] if plot.legend else ()
    main = make_sheet(found, count, Legends(columns=titles, look=look))
    return [main, *found] if plot.sub_grids else [main]


def _cell(drawn: list[Drawn]) -> Image.Image | None:
    """The pictures of one cell as one; None where there is none."""
    if len(drawn) < 2:
        return drawn[0].image if drawn else None
    columns = columns_of(len(drawn), rows=-1, batch_size=1, no_gaps=False)
    return make_grid([one.image for one in drawn], columns)


def _told(infotext: str, plot: Plot) -> str:
    """The first picture's infotext with what the plot was."""
    parsed = parse_infotext(infotext)
    version = parsed.fields.pop("Version", None)
    return format_infotext(
        parsed.prompt, parsed.negative_prompt, {**parsed.fields, **plot.fields(), "Version": version}
    )
