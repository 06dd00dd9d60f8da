"""The recipe of Extras: pictures from the request or a folder, one after the other; videos picture by picture."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from PIL import Image

from modules.core.errors import Cancelled, InputError
from modules.engine.context import Context
from modules.engine.postprocess import Piece, Work
from modules.engine.toolbox import Toolbox
from modules.engine.video import convert
from modules.images.encode import encode_image
from modules.images.infotext import quote
from modules.images.metadata.read import read_metadata
from modules.images.reading import decoded
from modules.jobs.writer import folder_asked, output_folder
from modules.library.extras_files import VIDEOS, ExtrasFiles
from modules.requests.events import Done, ImageReady, Order, Progress, Warned
from modules.requests.extras import ExtrasRequest
from modules.upscale.upscaler import silent

MAX_FILE = 2**30
MAX_CAPTION = 2**20
EVERY = 0.2
"""Seconds between two reports."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """A picture file (its bytes when `read` is called) or a video; `name` as the user knows it; `caption`: where the
    text is that may lie beside it."""

    name: str
    read: Callable[[], bytes]
    video: Path | None = None
    caption: Path | None = None


class Extras:
    """One order at work."""

    def __init__(self, order: Order, tools: Toolbox, context: Context) -> None:
        self._order, self._tools, self._context = order, tools, context
        self._request: ExtrasRequest = order.request
        self._files = ExtrasFiles(tools.upscalers.files.paths)
        self._sources = sources_of(self._request, self._files)
        self._number = 0
        self._told = 0.0
        self._index = 0
        self._infotext = ""
        self._captions: list[str] = []
        self._work = Work(
            request=self._request,
            tools=tools,
            options=order.options,
            context=context,
            check=context.check,
            tell=self._tell,
            files=self._files,
            warn=lambda words: context.emit(Warned(message=words)),
        )

    def run(self) -> Done:
        """Every source that is not done yet. What cannot be read is told of and left out, unless it is the only one."""
        for number, source in enumerate(self._sources):
            self._number = number
            if self._context.ending:
                return self._done(stopped=True)
            try:
                self._take(source)
            except Cancelled:
                if self._context.cancel.interrupted:
                    return self._done(stopped=True)
            except InputError as error:
                if len(self._sources) == 1:
                    raise
                self._context.emit(Warned(message=error.message))
        return self._done()

    def _take(self, source: Source) -> None:
        if self._simple and self._number in self._order.done:
            self._index = self._number + 1
            return
        self._tell(0, 1)
        if source.video:
            self._take_video(source.video)
            return
        data = source.read()
        image = decoded(f'"{source.name}"' if source.name else "image", data)
        texts = {str(key): value for key, value in image.info.items() if isinstance(value, str)}
        if "parameters" not in texts and (infotext := read_metadata(data, source.name).infotext):
            texts["parameters"] = infotext
        for piece in self._work.done_to(self._work.begin(image, source.name)):
            self._hand_over(piece, texts, source)

    def _take_video(self, video: Path) -> None:
        """Every picture of it; of what one is split into, the first. The video is told of like a warning: it is no picture."""
        work = replace(self._work, tell=silent, warn=lambda words: None)

        def change(image: Image.Image) -> Image.Image:
            self._context.check()
            piece = work.done_to(work.begin(image, video.name))[0]
            self._infotext = infotext_of(piece)
            return piece.image

        folder = output_folder(self._files.paths, *folder_asked(self._request, self._order.options))
        made = convert(video, folder, change, self._tell)
        self._context.emit(Warned(message=f'Video saved to "{made}".'))

    @property
    def _simple(self) -> bool:
        """Does one picture become one?"""
        request = self._request
        return not (request.split_oversized or request.flipped_copies or request.focal_crop)

    def _hand_over(self, piece: Piece, texts: dict[str, str], source: Source) -> None:
        index = self._number if self._simple else self._index
        self._index += 1
        if index in self._order.done:
            return
        self._infotext = infotext_of(piece)
        action = self._order.options.get("postprocessing_existing_caption_action", "Ignore")
        piece = with_existing(piece, source.caption, action)
        self._captions += [] if piece.caption is None else [piece.caption]
        chunks = {**texts, "postprocessing": self._infotext, "extras": self._infotext} if self._infotext else texts
        image = piece.image if piece.image.mode in ("RGB", "RGBA", "L") else piece.image.convert("RGB")
        infotext = "\n".join(filter(None, (texts.get("parameters"), self._infotext, piece.caption)))
        wanted = self._order.options["enable_pnginfo"]
        data = encode_image(
            image, infotext if wanted and infotext else None, self._order.options, chunks if wanted else {}
        )
        name = Path(source.name).stem + piece.suffix if source.name else ""
        self._context.emit(
            ImageReady(
                index=index,
                data=data,
                infotext=infotext,
                seed=self._order.seed,
                fields={
                    "width": image.width,
                    "height": image.height,
                    "upscaler": piece.info.get("Postprocess upscaler", ""),
                },
                name=name,
                caption=piece.caption,
            )
        )

    def _tell(self, done: int, whole: int) -> None:
        now = time.monotonic()
        if done and now - self._told < EVERY:
            return
        self._told = now
        self._context.emit(
            Progress(
                batch=self._number, batches=len(self._sources), step=done, steps=max(whole, 1), phase="postprocessing"
            )
        )

    def _done(self, *, stopped: bool = False) -> Done:
        info: dict[str, Any] = {"html_info": self._infotext, "captions": self._captions}
        return Done(info=info, stopped=stopped)


def extras(order: Order, tools: Toolbox, context: Context) -> Done:
    """Do what the order asks for to its pictures."""
    return Extras(order, tools, context).run()


def sources_of(request: ExtrasRequest, files: ExtrasFiles) -> list[Source]:
    """The pictures of the request, or the files of its folder; raises InputError."""
    if request.images:
        names = request.names or ("",) * len(request.images)
        return [
            Source(name=name, read=lambda picture=picture: picture.data)
            for picture, name in zip(request.images, names, strict=True)
        ]
    return [
        Source(
            name=path.name,
            read=lambda path=path: _read(path),
            video=path if path.suffix.lower() in VIDEOS else None,
            caption=path.with_suffix(".txt"),
        )
        for path in files.inputs(request)
    ]


def infotext_of(piece: Piece) -> str:
    """What was done to it, in A1111's words."""
    return ", ".join(f"{key}: {quote(value)}" for key, value in piece.info.items())


def with_existing(piece: Piece, beside: Path | None, action: str) -> Piece:
    """A captioned piece with the text that lies beside its source, as the setting `postprocessing_existing_caption_action` says."""
    before = _text(beside) if piece.caption is not None and action != "Ignore" else ""
    if not before:
        return piece
    joined = {"Keep": before, "Prepend": f"{before} {piece.caption}", "Append": f"{piece.caption} {before}"}
    return replace(piece, caption=joined[action])


def _text(path: Path | None) -> str:
    """What the file of a caption says; nothing where there is none that can be read."""
    try:
        if path is None or path.stat().st_size > MAX_CAPTION:
            return ""
        return path.read_text("utf-8", "replace").strip()
    except OSError:
        return ""


def _read(path: Path) -> bytes:
    """The bytes of a picture file; raises InputError."""
    try:
        if path.stat().st_size > MAX_FILE:
            raise InputError("input_dir", f'"{path.name}" is larger than {MAX_FILE // 2**20} MB. Leave it out.')
        return path.read_bytes()
    except OSError as error:
        raise InputError("input_dir", f'"{path.name}" cannot be read: {error.strerror}. Leave it out.') from error
