"""What the gallery's search by meaning works with: a model of open-clip in models/open_clip, else the starter's own."""

from dataclasses import dataclass
from pathlib import Path

from modules.core.errors import ModelFileError
from modules.core.paths import OPEN_CLIP, Paths

CONFIG = "open_clip_config.json"
VISION, MEANING = Path("clip_vision", "starter-vision.safetensors"), Path("starter", "meaning.safetensors")


@dataclass(frozen=True, kw_only=True)
class MeaningFile:
    """`name` changes with the files: vectors of one name can be compared. `files`: a folder; or the starter's two."""

    name: str
    files: tuple[Path, ...]
    starter: bool


class MeaningFiles:
    """Finds it anew each time."""

    def __init__(self, paths: Paths) -> None:
        self._paths = paths

    def find(self) -> MeaningFile:
        """Raises ModelFileError."""
        for folder in self._paths.folders(OPEN_CLIP):
            for config in sorted(folder.glob(f"*/{CONFIG}")):
                name = f"{config.parent.name} {config.stat().st_mtime_ns}"
                return MeaningFile(name=name, files=(config.parent,), starter=False)
        for root in self._paths.models:
            files = root / VISION, root / MEANING
            if all(file.is_file() for file in files):
                return MeaningFile(
                    name=f"starter {files[0].stat().st_size} {files[1].stat().st_size}", files=files, starter=True
                )
        raise ModelFileError(
            f"models/{VISION.as_posix()} or models/{MEANING.as_posix()}, which come with the program, is gone. Put them back, or a "
            "model of open-clip into models/open_clip."
        )
