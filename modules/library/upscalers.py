"""The upscalers there are: those that every installation has, and the files in the user's folders."""

import re
from dataclasses import dataclass
from pathlib import Path

from modules.core.errors import UnknownName
from modules.core.paths import Paths
from modules.library.walk import walk

NONE, LANCZOS, NEAREST = "None", "Lanczos", "Nearest"
PLAIN = (NONE, LANCZOS, NEAREST)
FOLDERS = ("ESRGAN", "RealESRGAN", "BSRGAN", "DAT", "HAT", "LDSR", "ScuNET", "SwinIR")
SUFFIXES = (".safetensors", ".sft", ".pth", ".pt", ".ckpt", ".bin")

NAMES = {
    "dat_x2": "DAT x2",
    "dat_x3": "DAT x3",
    "dat_x4": "DAT x4",
    "esrgan": "ESRGAN_4x",
    "realesr-general-x4v3": "R-ESRGAN General 4xV3",
    "realesr-general-wdn-x4v3": "R-ESRGAN General WDN 4xV3",
    "realesr-animevideov3": "R-ESRGAN AnimeVideo",
    "realesrgan_x4plus": "R-ESRGAN 4x+",
    "realesrgan_x4plus_anime_6b": "R-ESRGAN 4x+ Anime6B",
    "realesrgan_x2plus": "R-ESRGAN 2x+",
    "scunet": "ScuNET GAN",
    "scunet_color_real_gan": "ScuNET GAN",
    "scunet_color_real_psnr": "ScuNET PSNR",
    "swinir_4x": "SwinIR 4x",
    "003_realsr_bsrgan_dfowmfc_s64w8_swinir-l_x4_gan": "SwinIR 4x",
}
"""A1111's names for the files that it downloads; all others are called by their stem."""

_FACTOR = re.compile(r"(?<![0-9a-z])(?:([1-9]\d?)x|x([1-9]\d?))(?![0-9])|_x([1-9])(?![0-9])", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class UpscalerFile:
    """One file. `folder`: the kind of folder that it lies in, which chooses the settings for its tiles."""

    name: str
    path: Path
    folder: str

    @property
    def scale(self) -> int:
        """How much larger it makes a picture at once, as its name says; 4 if that says nothing."""
        found = _FACTOR.search(self.name) or _FACTOR.search(self.path.stem)
        return int(next(part for part in found.groups() if part)) if found else 4


class UpscalerFiles:
    """Finds upscalers by name. The folders are looked at at every call: nothing has to be refreshed."""

    def __init__(self, paths: Paths) -> None:
        self.paths = paths
        self._folders = [(kind, folder) for kind in FOLDERS for folder in paths.folders(kind)]

    def list(self) -> list[UpscalerFile]:
        """All files, sorted by name; of equal names the first folder's counts. Never raises."""
        found: dict[str, UpscalerFile] = {}
        for kind, folder in self._folders:
            for seen in sorted(walk(folder, SUFFIXES), key=lambda seen: seen.name):
                if not seen.is_folder:
                    path = Path(seen.path)
                    name = NAMES.get(path.stem.casefold(), path.stem)
                    found.setdefault(name.casefold(), UpscalerFile(name=name, path=path, folder=kind))
        return [found[key] for key in sorted(found)]

    def names(self) -> tuple[str, ...]:
        """Of all upscalers, in the order users see them."""
        return (*PLAIN, *(file.name for file in self.list()))

    def called(self, name: str | int, field: str = "upscaler") -> str:
        """The name of the one at that place of the list, from 0, where it is a number; raises UnknownName."""
        if isinstance(name, str):
            return name
        names = self.names()
        if not 0 <= name < len(names):
            raise UnknownName.among(field, str(name), names)
        return names[name]

    def find(self, name: str, field: str = "upscaler") -> UpscalerFile | str:
        """The file of that name or file name, or the name of one that needs none; raises UnknownName for `field`."""
        wanted = name.strip().casefold()
        for plain in PLAIN:
            if wanted == plain.casefold():
                return plain
        files = self.list()
        for file in files:
            if wanted in (file.name.casefold(), file.path.stem.casefold(), file.path.name.casefold()):
                return file
        raise UnknownName.among(field, name, [*PLAIN, *(file.name for file in files)])
