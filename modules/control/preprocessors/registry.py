"""All preprocessors, in the order users see them."""

from modules.control.preprocessors import (
    canny,
    composer,
    depth,
    drawn_lines,
    dwpose,
    embeddings,
    faces,
    lineart,
    mediapipe_face,
    mlsd,
    normal_bae,
    openpose,
    plain,
    recolor,
    shuffle,
    soft_edges,
    tile,
    transformers_maps,
)
from modules.control.preprocessors.preprocessor import Look, Preprocessor
from modules.control.preprocessors.tools import Tools
from modules.core.registry import Registry
from modules.requests.preprocessors import PreprocessorEntry

FILES = (
    plain,
    canny,
    depth,
    transformers_maps,
    normal_bae,
    openpose,
    dwpose,
    mlsd,
    drawn_lines,
    lineart,
    soft_edges,
    shuffle,
    tile,
    recolor,
    embeddings,
    faces,
    mediapipe_face,
    composer,
)


class Preprocessors(Registry[Preprocessor]):
    """Those that are built in, by name, label and alias; `tools` is what they find weights and keep networks with."""

    def __init__(self, tools: Tools | None = None) -> None:
        super().__init__("controlnet_module")
        self.tools = tools
        for entry, look in built_in():
            preprocessor = Preprocessor(entry=entry, look=look, tools=tools)
            self.add(entry.name, preprocessor, aliases=(entry.label, *entry.aliases))
        self.freeze()

    def unload(self) -> None:
        """Let go of the networks in memory."""
        if self.tools:
            self.tools.unload()


def built_in() -> list[tuple[PreprocessorEntry, Look]]:
    """Entries and what does them."""
    return [pair for file in FILES for pair in file.PREPROCESSORS]
