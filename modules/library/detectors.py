"""Detectors on disk: MediaPipe's, which come with the program, and the user's YOLO files."""

from collections.abc import Sequence
from pathlib import Path

from modules.core.errors import ModelFileError, UnknownName
from modules.core.paths import DETECTOR, Paths
from modules.library.walk import walk

MESHES = ("mediapipe_face_mesh", "mediapipe_face_mesh_eyes_only")
BUNDLED = ("mediapipe_face_full", "mediapipe_face_short", *MESHES, "mediapipe_hand", "mediapipe_person")
SUFFIXES = (".onnx", ".xml")
PICKLED = (".pt", ".pth")


class DetectorFiles:
    """Finds them by the names that users choose, which are ADetailer's."""

    def __init__(self, paths: Paths) -> None:
        self._paths = paths

    def names(self) -> list[str]:
        """The bundled ones, then the user's files without their suffixes."""
        return [*BUNDLED, *self._own()]

    def find(self, name: str, field: str = "ad_model") -> str | Path:
        """A bundled one's name, or the user's file of that name, whatever suffix it is asked with. Raises UnknownName, ModelFileError."""
        stem = name.strip()
        for suffix in (*SUFFIXES, *PICKLED):
            stem = stem.removesuffix(suffix)
        if stem in BUNDLED:
            return stem
        if path := self._own().get(stem):
            return path
        pickled = next((path for path in self._all(PICKLED) if path.stem == stem), None)
        if pickled:
            raise ModelFileError(
                f'"{pickled.name}" holds a program, which is not run here. Export it once with '
                f"`yolo export model={pickled.name} format=onnx` and put the .onnx beside it."
            )
        raise UnknownName.among(field, name, self.names())

    def bundled(self, name: str) -> Path:
        """The file of a bundled network; raises ModelFileError if it is gone."""
        for folder in self._paths.folders(DETECTOR):
            if (path := folder / f"{name}.tflite").is_file():
                return path
        raise ModelFileError(f"models/adetailer/{name}.tflite, which comes with the program, is gone. Put it back.")

    def _own(self) -> dict[str, Path]:
        found: dict[str, Path] = {}
        for path in self._all(SUFFIXES):
            found.setdefault(path.stem, path)
        return found

    def _all(self, suffixes: Sequence[str]) -> list[Path]:
        found = []
        for folder in self._paths.folders(DETECTOR):
            seen = (Path(one.path) for one in walk(folder, suffixes) if not one.is_folder)
            found += sorted(seen)
        return found
