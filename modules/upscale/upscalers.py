"""All upscalers by name, and the networks that are in memory."""

from collections import OrderedDict
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image

from modules.core.errors import ModelFileError
from modules.core.sections import Upscaling
from modules.detect.caption import Captioner
from modules.detect.tags import Tagger
from modules.devices.choice import Compute
from modules.library.upscalers import UpscalerFile, UpscalerFiles
from modules.upscale.cutout import Cutter
from modules.upscale.network import Network, open_network
from modules.upscale.upscaler import Check, Tell, Upscaler, plain_upscalers

KEPT = 2
"""Networks in memory: two are blended in Extras."""

TILES = {"DAT": "DAT", "SwinIR": "SWIN", "ScuNET": "SCUNET"}
"""Folders whose files have tile settings of their own, by how these begin; all others have ESRGAN's."""

Key = tuple[Path, int, int, bool]


class Networks:
    """The networks used last. A file that has changed is read again. Not for several threads at once."""

    def __init__(self, compute: Compute) -> None:
        self._compute = compute
        self._kept: OrderedDict[Key, Network] = OrderedDict()
        self._other: dict[Path, Cutter | Captioner | Tagger] = {}

    def open(self, path: Path, *, faces: bool = False) -> Network:
        """The network in that file; raises ModelFileError."""
        try:
            status = path.stat()
        except OSError as error:
            raise ModelFileError(
                f'"{path.name}" cannot be read: {error.strerror}. Choose another file or put it back.'
            ) from error
        key = (path, status.st_size, status.st_mtime_ns, faces)
        if key not in self._kept:
            while len(self._kept) >= KEPT:
                self._kept.popitem(last=False)
            self._kept[key] = open_network(path, self._compute, faces=faces)
        self._kept.move_to_end(key)
        return self._kept[key]

    def cutter(self, path: Path) -> Cutter:
        """The network in that file that removes backgrounds; raises ModelFileError."""
        found = self._other.get(path)
        if not isinstance(found, Cutter):
            found = self._other[path] = Cutter(path)
        return found

    def captioner(self, folder: Path) -> Captioner:
        """The model in that folder that writes captions; raises ModelFileError."""
        found = self._other.get(folder)
        if not isinstance(found, Captioner):
            found = self._other[folder] = Captioner(folder, self._compute.device)
        return found

    def tagger(self, folder: Path) -> Tagger:
        """The model in that folder that writes tags; raises ModelFileError."""
        found = self._other.get(folder)
        if not isinstance(found, Tagger):
            found = self._other[folder] = Tagger(folder, self._compute.device)
        return found

    def unload(self) -> None:
        """Let go of all of them."""
        self._kept.clear()
        self._other.clear()


class Upscalers:
    """What the engine makes pictures larger with: `get(name).upscale(image, scale, check=...)`."""

    def __init__(self, files: UpscalerFiles, networks: Networks) -> None:
        self.files = files
        self.networks = networks
        self._plain = plain_upscalers()

    def names(self) -> tuple[str, ...]:
        """Of all of them, in the order users see them."""
        return self.files.names()

    def get(self, name: str, options: Mapping[str, Any] | None = None, field: str = "upscaler") -> Upscaler:
        """The upscaler of that name, with the tiles of those settings (None: the defaults); raises UnknownName for `field`.

        Its file is read when it is first used.
        """
        found = self.files.find(name, field)
        if isinstance(found, str):
            return self._plain[found]
        return Upscaler(name=found.name, grow=partial(self._grow, found, tiles_of(found, options)))

    def unload(self) -> None:
        """Let go of the networks in memory."""
        self.networks.unload()

    def _grow(
        self, file: UpscalerFile, tiles: tuple[int, int], image: Image.Image, scale: float, check: Check, tell: Tell
    ) -> Image.Image:
        network = self.networks.open(file.path)
        tile, overlap = tiles
        return network.grow(image, tile=tile, overlap=overlap, check=check, tell=tell)


def tiles_of(file: UpscalerFile, options: Mapping[str, Any] | None) -> tuple[int, int]:
    """Size and overlap of the tiles for that file, in pixels."""
    values = options if options is not None else Upscaling.model_validate({}).model_dump()
    prefix = TILES.get(file.folder, "ESRGAN")
    return values[f"{prefix}_tile"], values[f"{prefix}_tile_overlap"]
