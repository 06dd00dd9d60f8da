"""A picture file read whole: its texts, who wrote them, what they say in A1111's names, and what could not be said."""

from collections.abc import Callable
from dataclasses import dataclass

from modules.images.infotext import known_keys, parse_infotext
from modules.images.inpainting_infotext import img2img_keys
from modules.images.metadata import a1111, comfyui, drawthings, fooocus, invokeai, novelai, swarmui
from modules.images.metadata.carriers import INFOTEXT, read_carried
from modules.images.metadata.reading import Carried, Reading

Reader = Callable[[Carried], Reading | None]

# In this order: a file may hold the texts of two programs, and some write JSON where A1111 writes its own.
READERS: tuple[Reader, ...] = (
    *(swarmui.read, fooocus.read, drawthings.read, novelai.read, invokeai.read),
    *(a1111.read, comfyui.read),
)


@dataclass(frozen=True, kw_only=True)
class Metadata:
    """`program`: who wrote it, or "". `infotext`: in A1111's format, or "". `chunks`: every text by its place. `unmapped` and
    `notes`: sentences about what could not be said, and what is broken. Sizes in pixels."""

    format: str
    width: int
    height: int
    program: str = ""
    infotext: str = ""
    unmapped: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    chunks: dict[str, str]

    @property
    def others(self) -> dict[str, str]:
        """The texts but for A1111's."""
        return {name: text for name, text in self.chunks.items() if name != INFOTEXT}


def read_metadata(data: bytes, field: str = "image") -> Metadata:
    """Everything; raises InputError for what is no whole picture of a kind and size that is read, and for nothing else."""
    carried = read_carried(data, field)
    reading = next((found for reader in READERS if (found := reader(carried))), None)
    plain = {"format": carried.format, "width": carried.width, "height": carried.height, "notes": carried.notes}
    if reading is None:
        return Metadata(**plain, chunks=dict(carried.texts))
    return Metadata(
        **plain,
        program=reading.program,
        infotext=reading.infotext,
        unmapped=(*reading.unmapped, *_without_field(reading.infotext)),
        chunks=dict(carried.texts),
    )


def _without_field(infotext: str) -> tuple[str, ...]:
    """A sentence that names the keys which nothing here takes."""
    known = known_keys() | img2img_keys()
    unknown = [key for key in parse_infotext(infotext).fields if key not in known]
    if not unknown:
        return ()
    return (f"Nothing here takes: {', '.join(unknown)[:1000]}.",)
