"""The checkpoints in the user's folders."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modules.core.errors import AtelierError, ModelFileError, UnknownName
from modules.library.gguf import read_gguf
from modules.library.hashes import HashCache
from modules.library.header import read_header
from modules.library.natives import native
from modules.library.walk import FOLDER, SUFFIXES, Seen, walk


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """One checkpoint: a file, or a diffusers folder. `name` is its path below its folder, with forward slashes, as A1111 writes it."""

    path: Path
    name: str
    sha256: str | None = None

    @property
    def file(self) -> Path:
        """The file that identifies it: itself, or of a folder the U-Net's weights."""
        return weight_file(self.path)

    @property
    def model_name(self) -> str:
        """A1111's `model_name`: the name without its suffix, folders joined by underscores."""
        suffix = next((suffix for suffix in SUFFIXES if self.name.lower().endswith(suffix)), "")
        return self.name[: len(self.name) - len(suffix)].replace("/", "_").replace("\\", "_")

    @property
    def short_hash(self) -> str | None:
        """The first ten hex digits of the sha256, once known."""
        return self.sha256[:10] if self.sha256 else None

    @property
    def title(self) -> str:
        """A1111's title: name and short hash."""
        return f"{self.name} [{self.short_hash}]" if self.short_hash else self.name


class Checkpoints:
    """Finds checkpoints by any of the names users and other programs give them."""

    def __init__(self, folders: Sequence[Path], hashes: HashCache) -> None:
        self._folders = tuple(folders)
        self.hashes = hashes

    def list(self) -> list[Checkpoint]:
        """All checkpoint files, sorted by name; of equal names the first folder's counts. Never raises."""
        found: dict[str, Seen] = {}
        for folder in self._folders:
            for seen in walk(folder):
                if not is_vae(seen.name):
                    found.setdefault(seen.name, seen)
        hashes = self.hashes.all()
        checkpoints = []
        for name in sorted(found, key=lambda name: (name.casefold(), name)):
            seen, path = found[name], Path(found[name].path)
            known = hashes.get((seen.path, seen.stamp))
            sha256 = self.hashes.known(weight_file(path)) if seen.is_folder else known.sha256 if known else None
            checkpoints.append(Checkpoint(path=path, name=name, sha256=sha256))
        return checkpoints

    def find(self, name: str, field: str = "sd_model_checkpoint") -> Checkpoint:
        """The checkpoint of that title, name, stem, model name or hash; "" is the first one.

        Raises UnknownName for `field` with the nearest, or ModelFileError if there is none at all.
        """
        checkpoints = self.list()
        if not checkpoints:
            raise ModelFileError(f'There is no checkpoint yet. Put a .safetensors file into "{self._folders[0]}".')
        if not name:
            return checkpoints[0]
        wanted = name.strip().casefold()
        bare = wanted.rsplit(" [", 1)[0]
        for keys in (
            lambda c: (c.title, c.name),
            lambda c: (c.model_name, Path(c.name).name, Path(c.name).stem),
            lambda c: (c.sha256, c.short_hash),
        ):
            for checkpoint in checkpoints:
                if {wanted, bare} & {str(key).casefold() for key in keys(checkpoint) if key}:
                    return checkpoint
        raise UnknownName.among(field, name, [c.name for c in checkpoints])

    def told(self, name: str, said: str) -> Checkpoint | None:
        """What an infotext calls so, by name or hash, unless its hash is known not to be the one `said` (A1111's old ones are shorter)."""
        try:
            found = self.find(name)
        except AtelierError:
            return None
        return None if len(said) == 10 and found.short_hash not in (None, said.lower()) else found

    def identify(self, checkpoint: Checkpoint) -> Checkpoint:
        """The same checkpoint with its hash, computed if need be."""
        return Checkpoint(path=checkpoint.path, name=checkpoint.name, sha256=self.hashes.sha256(checkpoint.file))


def model_files(folder: Path) -> Iterator[Path]:
    """Model files and diffusers folders below `folder`."""
    return (Path(seen.path) for seen in walk(folder))


def weight_file(path: Path) -> Path:
    """A checkpoint's file, or of a diffusers folder the network's weights (its index where there are none)."""
    if not path.is_dir():
        return path
    files = (file for name in ("unet", "transformer", "decoder") for file in (path / name).glob("*"))
    weights = sorted(file for file in files if file.suffix in (".safetensors", ".bin"))
    return weights[0] if weights else path / FOLDER


def is_vae(file: str) -> bool:
    """Is that the name of a VAE beside a checkpoint? (A1111's X.vae.safetensors.)"""
    return file.lower().endswith(tuple(f".vae{suffix}" for suffix in SUFFIXES))


def page_defaults(checkpoint: Checkpoint) -> dict[str, Any]:
    """What the page should start from for this checkpoint: width, height, steps, cfg_scale, prompt ...

    The file's own `atelier.defaults` (JSON in its metadata) or, from the context width of its cross attention, the
    size its family was trained at, or what later families' authors draw with. Empty for a file that cannot be read.
    """
    try:
        if checkpoint.file.suffix.lower() == ".gguf":
            return native(read_gguf(checkpoint.file).tensors, checkpoint.name)
        header = read_header(checkpoint.file)
    except ModelFileError:
        return {}
    try:
        stored = json.loads(header.metadata.get("atelier.defaults", "{}"))
    except (ValueError, RecursionError):
        stored = {}
    return (
        stored
        if isinstance(stored, dict) and stored
        else native(header.shapes, checkpoint.name) or _native(header.shapes)
    )


def _native(shapes: dict[str, tuple[int, ...]]) -> dict[str, Any]:
    key = next((k for k in shapes if k.endswith("attn2.to_k.weight")), None)
    side = {768: 512, 1024: 768, 1280: 1024, 2048: 1024}.get(shapes[key][1]) if key else None
    return {"width": side, "height": side, "steps": 20, "cfg_scale": 7.0} if side else {}
