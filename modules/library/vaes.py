"""The autoencoders (VAEs) in the user's folders, and which one a checkpoint is drawn with."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from modules.core.errors import InputError, ModelFileError, UnknownName, short
from modules.library.checkpoints import Checkpoint, is_vae
from modules.library.descriptions import MAX_SIDECAR
from modules.library.hashes import HashCache
from modules.library.header import open_regular
from modules.library.walk import SUFFIXES, walk

AUTOMATIC, NONE = ("automatic", "auto"), ("none",)


@dataclass(frozen=True, kw_only=True)
class Vae:
    """One file. `name` is its path below its folder, as A1111's setting `sd_vae` has it."""

    path: Path
    name: str


class Vaes:
    """Finds VAEs by the setting `sd_vae`."""

    def __init__(self, folders: Sequence[Path], hashes: HashCache) -> None:
        self._folders = tuple(folders)
        self._hashes = hashes

    def list(self) -> list[Vae]:
        """All files, sorted by name; of equal names the first folder's counts. Never raises."""
        found: dict[str, Path] = {}
        for folder in self._folders:
            for seen in walk(folder):
                if not seen.is_folder:
                    found.setdefault(seen.name, Path(seen.path))
        return [Vae(path=found[name], name=name) for name in sorted(found, key=lambda name: (name.casefold(), name))]

    def choose(self, setting: str, checkpoint: Checkpoint) -> Vae | None:
        """The VAE that the setting means for that checkpoint, None for its own; raises UnknownName with the nearest.

        Automatic is what the checkpoint's card prefers, else X.vae.safetensors beside a checkpoint X, else X.vae.safetensors or X.safetensors
        among the VAEs. Raises InputError where the card prefers one that is not here.
        """
        wanted = setting.strip().casefold()
        if wanted in NONE:
            return None
        if wanted in AUTOMATIC or not wanted:
            return self._preferred(checkpoint)
        return self._named(setting, checkpoint)

    def _preferred(self, checkpoint: Checkpoint) -> Vae | None:
        preferred = preferred_vae(checkpoint.path)
        wanted = preferred.casefold()
        if wanted in NONE:
            return None
        if wanted in AUTOMATIC or not wanted:
            return self._near(checkpoint)
        try:
            return self._named(preferred, checkpoint)
        except UnknownName as error:
            raise InputError(
                "sd_vae",
                f'The card of "{checkpoint.name}" prefers the VAE {short(preferred)}, which is not here. Put it into models/VAE, '
                "choose another on the card, or set sd_vae.",
            ) from error

    def _named(self, setting: str, checkpoint: Checkpoint) -> Vae:
        wanted = setting.strip().casefold()
        vaes = [*self.list(), *filter(None, [self._near(checkpoint)])]
        for vae in vaes:
            if wanted in (vae.name.casefold(), vae.path.name.casefold(), vae.path.stem.casefold()):
                return vae
        raise UnknownName.among("sd_vae", setting, ["Automatic", "None", *(vae.name for vae in vaes)])

    def short_hash(self, vae: Vae) -> str:
        """The first ten hex digits of the file's sha256; raises ModelFileError."""
        return self._hashes.sha256(vae.path)[:10]

    def _near(self, checkpoint: Checkpoint) -> Vae | None:
        stem = checkpoint.path.stem.casefold()
        for suffix in SUFFIXES:
            beside = checkpoint.path.with_name(f"{checkpoint.path.stem}.vae{suffix}")
            if beside.is_file():
                return Vae(path=beside, name=beside.name)
        for vae in self.list():
            own = vae.path.stem.casefold()
            if stem == (own.removesuffix(".vae") if is_vae(vae.path.name) else own):
                return vae
        return None


def preferred_vae(checkpoint: Path) -> str:
    """What A1111's `X.json` beside a checkpoint X says under `vae`; "" without one, or where it cannot be read."""
    try:
        with open_regular(checkpoint.with_suffix(".json")) as file:
            stored = json.loads(file.read(MAX_SIDECAR + 1))
    except (ModelFileError, ValueError, RecursionError, OSError):
        return ""
    found = stored.get("vae") if isinstance(stored, dict) else None
    return found.strip() if isinstance(found, str) else ""
