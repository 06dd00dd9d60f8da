"""The files that Extras works with: pictures and videos in a folder, and the models that restore faces."""

import importlib.util
from pathlib import Path

from modules.core.errors import InputError, short
from modules.core.paths import Paths
from modules.library.upscalers import SUFFIXES, UpscalerFiles
from modules.library.walk import walk
from modules.requests.extras import MAX_PICTURES, ExtrasRequest

PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".avif")
VIDEOS = (".mp4", ".mkv", ".webm", ".mov", ".avi", ".m4v")
FACES = {
    "GFPGAN": ("GFPGAN", "gfpgan_visibility", "GFPGANv1.4.pth"),
    "CodeFormer": ("Codeformer", "codeformer_visibility", "codeformer-v0.1.0.pth"),
}
"""What restores faces: its folder, the field that asks for it, the name its model is published under."""

CUTTERS, CAPTIONERS, TAGGERS = "rembg", "BLIP", "torch_deepdanbooru"
"""Folders below the model roots: of networks that remove backgrounds (ONNX files), of models that write captions and tags (folders)."""

EXTRA_ARCHITECTURES = "spandrel_extra_arches"


class ExtrasFiles:
    """Finds what a request names. Raises InputError with a sentence for what is not there."""

    def __init__(self, paths: Paths) -> None:
        self.paths = paths
        self.upscalers = UpscalerFiles(paths)

    def check(self, request: ExtrasRequest) -> None:
        """Raise InputError for a name, a folder or a model that is not there."""
        for field, name in request.upscalers.items():
            self.upscalers.find(name, field)
        if request.input_dir.strip():
            self.inputs(request)
        for name in ("GFPGAN", "CodeFormer"):
            if getattr(request, FACES[name][1]) > 0:
                self.face_model(name)
        if request.remove_background:
            self.cutter()
        if request.caption:
            self.captioner()
        if request.tags:
            self.tagger()

    def inputs(self, request: ExtrasRequest) -> list[Path]:
        """The pictures and videos of its folder, by name, or its one file; raises InputError."""
        path = self.folder(request.input_dir, "input_dir")
        try:
            if path.is_file():
                found = [path]
            elif path.is_dir():
                found = sorted(entry for entry in path.iterdir() if entry.is_file())
            else:
                raise InputError(
                    "input_dir", f"input_dir {short(str(path), 300)} does not exist. Name a folder with pictures."
                )
        except OSError as error:
            raise InputError(
                "input_dir",
                f"input_dir {short(str(path), 300)} cannot be read: {error.strerror}. Choose another folder.",
            ) from error
        found = [file for file in found if file.suffix.lower() in (*PICTURES, *VIDEOS) and file.name[0] != "."]
        if not found:
            ends = ", ".join(end[1:] for end in (*PICTURES, *VIDEOS))
            raise InputError(
                "input_dir",
                f"input_dir {short(str(path), 300)} holds no picture or video ({ends}). Choose another folder.",
            )
        if len(found) > 100 * MAX_PICTURES:
            raise InputError(
                "input_dir",
                f"input_dir {short(str(path), 300)} holds {len(found)} files: take at most {100 * MAX_PICTURES}.",
            )
        return found

    def folder(self, text: str, field: str) -> Path:
        """The path that the user wrote, below the data folder if it is no whole one; raises InputError."""
        try:
            return (self.paths.data / Path(text.strip()).expanduser()).resolve()
        except (OSError, ValueError, RuntimeError) as error:  # a loop of links, a NUL, ~ of nobody
            raise InputError(field, f"{field} {short(text)} is no folder: {error}. Choose another.") from error

    def face_model(self, name: str, asked: str = "") -> Path:
        """The file of the network that restores faces under that name; raises InputError for `asked`, or Extras' field."""
        kind, own, published = FACES[name]
        field = asked or own
        without = f"switch {field} off" if asked else f"set {field} to 0"
        other = ", or choose GFPGAN in the setting face_restoration_model" if asked else ""
        if name == "CodeFormer" and importlib.util.find_spec(EXTRA_ARCHITECTURES) is None:
            raise InputError(
                field,
                f"{field} needs the package {EXTRA_ARCHITECTURES}, whose licences allow no commercial use and which is therefore "
                f"not installed with the rest. Install it yourself{other}, or {without}.",
            )
        files = [
            Path(seen.path)
            for folder in self.paths.folders(kind)
            for seen in sorted(walk(folder, SUFFIXES), key=lambda seen: seen.name)
            if not seen.is_folder and name.casefold() in Path(seen.path).name.casefold()
        ]
        if not files:
            raise InputError(field, f"{field} needs the model {published}: put it into models/{kind}, or {without}.")
        return files[0]

    def cutter(self) -> Path:
        """The first network that removes backgrounds; raises InputError."""
        for root in self.paths.models:
            for seen in sorted(walk(root / CUTTERS, (".onnx", ".xml")), key=lambda seen: seen.name):
                return Path(seen.path)
        raise InputError(
            "remove_background",
            f"remove_background needs a network: put one of rembg's ONNX files (u2net.onnx, isnet-general-use.onnx, "
            f"BiRefNet ...) into models/{CUTTERS}, or switch it off.",
        )

    def captioner(self, field: str = "caption") -> Path:
        """The first folder with a model that writes captions; raises InputError for `field`."""
        for root in self.paths.models:
            for config in sorted((root / CAPTIONERS).glob("**/config.json")):
                return config.parent
        raise InputError(
            field,
            f"A caption needs a model: put one as transformers writes it (such as Salesforce/blip-image-captioning-base) into a "
            f"folder of models/{CAPTIONERS}, or switch it off.",
        )

    def tagger(self, field: str = "tags") -> Path:
        """The first folder with a model that writes tags; raises InputError for `field`."""
        for root in self.paths.models:
            for kind in ("*.onnx", "*.xml", "config.json"):
                for file in sorted((root / TAGGERS).glob(f"*/{kind}")):
                    return file.parent
        raise InputError(
            field,
            f"Tags need a model: put model.onnx and selected_tags.csv of a tagger (such as SmilingWolf/wd-vit-tagger-v3), or a classifier "
            f"as transformers writes it, into a folder of models/{TAGGERS}, or switch them off.",
        )
