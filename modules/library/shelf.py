"""The parts of models in files of their own (VAEs, text encoders) and tokenizers: where they lie."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from modules.core.errors import UnknownName
from modules.core.paths import TEXT_ENCODER, TOKENIZER, VAE, Paths
from modules.library.walk import walk

SUFFIXES = (".safetensors", ".sft", ".gguf", ".ckpt", ".pt", ".pth", ".bin")
FIELD = "forge_additional_modules"


@dataclass(frozen=True, kw_only=True)
class Module:
    """One file: a VAE or a text encoder. `name` is its path below its folder, with forward slashes."""

    path: Path
    name: str
    folder: str


class Shelf:
    """Finds parts by the names in the setting `forge_additional_modules`, and the folders of tokenizers."""

    def __init__(self, paths: Paths | None = None) -> None:
        self._folders: dict[str, Sequence[Path]] = {}
        self.tokenizers: tuple[Path, ...] = ()
        self.own_tokenizers: Path | None = None
        if paths:
            self._folders = {kind: paths.folders(kind) for kind in (VAE, TEXT_ENCODER)}
            self.tokenizers, self.own_tokenizers = paths.folders(TOKENIZER), paths.own(TOKENIZER)

    def home(self, folder: str) -> Path:
        """The folder to put a VAE or text encoder into."""
        return next(iter(self._folders.get(folder, ())), Path("models") / folder)

    def is_root(self, folder: Path) -> bool:
        """Is that one of the folders of all VAEs or text encoders?"""
        return any(folder == root for roots in self._folders.values() for root in roots)

    def list(self, *folders: str) -> list[Module]:
        """The files in those folders (VAE, text_encoder; all by default), by name; of equal names the first folder's. Never raises."""
        found: dict[tuple[str, str], Module] = {}
        for kind in folders or tuple(self._folders):
            for root in self._folders.get(kind, ()):
                for seen in walk(root, SUFFIXES):
                    if not seen.is_folder:
                        module = Module(path=Path(seen.path), name=seen.name, folder=kind)
                        found.setdefault((kind, seen.name.casefold()), module)
        return sorted(found.values(), key=lambda module: (module.folder != VAE, module.name.casefold()))

    def find(self, name: str) -> Module:
        """The file of that name, with or without its folders and suffix, or path; raises UnknownName with the nearest."""
        modules = self.list()
        wanted = name.strip().casefold()
        last = wanted.replace("\\", "/").rsplit("/", 1)[-1]
        for text in (wanted, last):
            for module in modules:
                own = module.name.casefold()
                if text in (own, own.rsplit("/", 1)[-1], module.path.stem.casefold(), str(module.path).casefold()):
                    return module
        raise UnknownName.among(FIELD, name, [module.name for module in modules])
