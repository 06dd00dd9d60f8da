"""Segment Anything and Grounding DINO on disk: the authors' files, and folders as transformers writes them."""

import json
from pathlib import Path

from modules.core.errors import ModelFileError
from modules.core.paths import Paths
from modules.library.preprocessors import PreprocessorFiles, size_words
from modules.requests.preprocessors import FOLDER, WeightFile
from modules.requests.select import GROUNDING, MOBILE_SAM

SEGMENTERS = ("sam", "sam_hq", "sam2", "sam2_video", "edgetam")
FINDERS = ("grounding-dino", "mm-grounding-dino")
"""Models by the `model_type` of a folder's config.json."""

FILES = ("sam_vit_", "mobile_sam")
"""How the authors' files begin."""

SUFFIXES = (".pth", ".pt", ".safetensors")
MAX_CONFIG = 2**20


class Segmenters:
    """Finds them in models/sam, models/sams, models/grounding-dino and models/ControlNetPreprocessor."""

    def __init__(self, paths: Paths) -> None:
        self._files = PreprocessorFiles(paths)

    def segmenter(self) -> Path | None:
        """The first Segment Anything: a file or a folder."""
        return self._first(SEGMENTERS, FILES)

    def finder(self) -> Path | None:
        """The first folder of a Grounding DINO."""
        return self._first(FINDERS)

    def missing(self, *, text: bool) -> list[WeightFile]:
        """What is still to be got for clicks and boxes, or for words too."""
        found = [] if self.segmenter() else [MOBILE_SAM]
        return [*found, GROUNDING] if text and not self.finder() else found

    def get(self, *, text: bool) -> tuple[Path, Path | None]:
        """The segmenter, and for words the finder; raises ModelFileError, which says what to get, if one is missing."""
        segmenter, finder = self.segmenter(), self.finder() if text else None
        if segmenter is None or (text and finder is None):
            names = " and ".join(f"{w.file} ({size_words(w.size)}, {w.source})" for w in self.missing(text=text))
            raise ModelFileError(
                f"Segment Anything needs {names}: press Download, put it into models/{FOLDER}, or select by GrabCut, which needs "
                "no file."
            )
        return segmenter, finder

    def _first(self, kinds: tuple[str, ...], names: tuple[str, ...] = ()) -> Path | None:
        for place in self._files.places():
            if place.name == "config.json" and model_type(place) in kinds:
                return place.parent
            if names and place.name.lower().startswith(names) and place.suffix.lower() in SUFFIXES and place.is_file():
                return place
        return None


def model_type(config: Path) -> str:
    """What a config.json says that its model is, or ""; never raises."""
    try:
        if config.stat().st_size > MAX_CONFIG:
            return ""
        content = json.loads(config.read_bytes())
    except (OSError, ValueError, RecursionError):
        return ""
    said = content.get("model_type", "") if isinstance(content, dict) else ""
    return said if isinstance(said, str) else ""
