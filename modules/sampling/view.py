"""What the rows of the network's next call are: whose picture each is, whether the prompt guides it, which part of the picture it shows."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True)
class Box:
    """A part of the latents: its upper left corner and its size, in latent pixels."""

    top: int
    left: int
    height: int
    width: int

    @property
    def of(self) -> tuple[slice, slice]:
        """What picks it from the last two axes, after an Ellipsis."""
        return slice(self.top, self.top + self.height), slice(self.left, self.left + self.width)

    def moved(self, by: "Box | None") -> "Box":
        """The same within a picture of which that box is the part it lies in."""
        return Box(self.top + by.top, self.left + by.left, self.height, self.width) if by else self


@dataclass(frozen=True)
class Row:
    """`picture`: its number in the batch. `guided`: it is of D_c, otherwise of D_u. `box`: the part it shows; None: all of it."""

    picture: int
    guided: bool
    box: Box | None = None


class View:
    """Told by guidance, tiles and regions before they ask the network; read by what goes by pictures of its own."""

    def __init__(self) -> None:
        self._rows: tuple[Row, ...] = ()
        self._region: Box | None = None
        self._tiles: Sequence[Box] = ()

    def tell(self, pictures: Sequence[int], guided: int) -> None:
        """The rows are of these pictures, the first `guided` ones of D_c."""
        self._rows = tuple(Row(picture, at < guided) for at, picture in enumerate(pictures))

    @contextmanager
    def within(self, region: Box) -> Iterator[None]:
        """What is asked meanwhile lies in that part of the picture."""
        self._region = region
        try:
            yield
        finally:
            self._region = None

    @contextmanager
    def in_tiles(self, tiles: Sequence[Box]) -> Iterator[None]:
        """The rows are repeated for each of these parts."""
        self._tiles = tiles
        try:
            yield
        finally:
            self._tiles = ()

    def rows(self, count: int) -> list[Row]:
        """What each of `count` rows is; without being told, each is a guided picture of its own."""
        rows = self._rows if self._rows and count % len(self._rows) == 0 else [Row(i, True) for i in range(count)]
        boxes = [tile.moved(self._region) for tile in self._tiles] or [self._region] * (count // len(rows))
        return [Row(row.picture, row.guided, box) for box in boxes for row in rows]
