"""Detectors by name, each read once."""

import threading
from pathlib import Path
from typing import Any

from modules.core.errors import ModelFileError
from modules.detect.blaze import LAYOUTS, LEFT_EYE, OVAL, RIGHT_EYE, Blaze, FaceMesh
from modules.detect.detection import Detector
from modules.detect.yolo import Yolo, names_in
from modules.devices.network import compiled, read_network
from modules.library.detectors import DetectorFiles

OUTLINES: dict[str, tuple[tuple[int, ...], ...]] = {
    "mediapipe_face_mesh": (OVAL,),
    "mediapipe_face_mesh_eyes_only": (LEFT_EYE, RIGHT_EYE),
}


class Detectors:
    """Reads what `files` finds."""

    def __init__(self, files: DetectorFiles) -> None:
        self._files = files
        self._read: dict[Path, tuple[Any, list[str]]] = {}
        self._lock = threading.Lock()

    def get(self, name: str, field: str = "ad_model") -> Detector:
        """The detector of that name. Raises UnknownName, ModelFileError."""
        found = self._files.find(name, field)
        if isinstance(found, Path):
            network, labels = self._opened(found)
            return Yolo(network, found.name, labels)
        if found in OUTLINES:
            mesh = self._network(self._files.bundled("mediapipe_face_mesh"))
            return FaceMesh(self._blaze("mediapipe_face_short"), mesh, OUTLINES[found])
        return self._blaze(found)

    def _blaze(self, name: str) -> Blaze:
        return Blaze(self._network(self._files.bundled(name)), LAYOUTS[name])

    def _network(self, path: Path) -> Any:
        return self._opened(path)[0]

    def _opened(self, path: Path) -> tuple[Any, list[str]]:
        """The compiled network and the names of its classes, if it tells them."""
        with self._lock:
            if path not in self._read:
                try:
                    model = read_network(path)
                    self._read[path] = compiled(model), _names_of(model)
                except RuntimeError as error:
                    raise ModelFileError(
                        f'"{path.name}" cannot be read as a detector: the file is damaged or of another kind. Replace it.'
                    ) from error
            return self._read[path]


def _names_of(model: Any) -> list[str]:
    for place in (["framework", "names"], ["model_info", "names"], ["names"]):
        if model.has_rt_info(place):
            return names_in(str(model.get_rt_info(place).astype(str)))
    return []
