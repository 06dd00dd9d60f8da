"""Videos picture by picture: decoded, changed, encoded anew; their sound is copied."""

import contextlib
import uuid
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

from PIL import Image

from modules.core.errors import InputError, StorageError
from modules.core.files import rename_new
from modules.images.reading import MAX_PIXELS

CONTAINERS = {".mp4": "mp4", ".mov": "mov", ".mkv": "matroska"}
OTHERS = ".mkv"
"""What videos in other containers come out in: it takes every kind of sound."""

CODECS = ("libx264", "libopenh264", "mpeg4")
QUALITY = {"crf": "17", "preset": "medium"}
MOST_FRAMES_A_SECOND = 1000


def convert(
    source: Path,
    folder: Path,
    change: Callable[[Image.Image], Image.Image],
    tell: Callable[[int, int], None],
) -> Path:
    """The video with `change` made to every picture, as a new file in `folder` under its old name, or that with a number.

    `tell` hears of how many pictures so many are done. Raises InputError for what is no video, StorageError, and what `change`
    raises; then nothing is left behind.
    """
    import av
    from av.error import FFmpegError

    suffix = source.suffix.lower() if source.suffix.lower() in CONTAINERS else OTHERS
    temporary = folder / f".atelier-{uuid.uuid4().hex}.tmp"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with av.open(str(source)) as old, av.open(str(temporary), "w", format=CONTAINERS[suffix]) as new:
            _copy(old, new, change, tell, source.name)
        return _named(temporary, folder, source.stem, suffix)
    except FFmpegError as error:
        raise InputError(
            "input_dir", f'"{source.name}" is no whole video that can be read here ({error.strerror}). Leave it out.'
        ) from error
    except OSError as error:
        raise StorageError(f'The folder "{folder}" cannot be written: {error.strerror}. Check it.') from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def _copy(old: Any, new: Any, change: Callable[..., Image.Image], tell: Callable[[int, int], None], name: str) -> None:
    import av

    if not old.streams.video:
        raise InputError("input_dir", f'"{name}" holds no pictures. Leave it out.')
    pictures = old.streams.video[0]
    if not 0 < pictures.width * pictures.height <= MAX_PIXELS:
        raise InputError(
            "input_dir",
            f'"{name}" has pictures of {pictures.width} x {pictures.height}: at most {MAX_PIXELS / 1e6:.0f} megapixels are read.',
        )
    rate = min(Fraction(pictures.average_rate or pictures.guessed_rate or 25), Fraction(MOST_FRAMES_A_SECOND))
    whole = pictures.frames or (int(old.duration / av.time_base * rate) if old.duration else 0)
    sounds = {stream.index: None for stream in old.streams.audio}
    waiting: list[Any] = []
    made, done = None, 0
    for packet in old.demux(pictures, *old.streams.audio):
        if packet.stream.index in sounds:
            waiting.append(packet)  # the sound's stream is added with the pictures', whose size the first one tells
        else:
            for frame in packet.decode():
                tell(done, max(whole, done + 1))
                image = _even(change(frame.to_image()))
                if made is None:
                    made = _stream(new, image.size, rate, pictures.time_base)
                    sounds = {s.index: new.add_stream_from_template(s) for s in old.streams.audio}
                fresh = av.VideoFrame.from_image(image.resize((made.width, made.height)))
                fresh.pts, fresh.time_base = frame.pts, frame.time_base
                new.mux(made.encode(fresh))
                done += 1
        if made is not None:
            _mux_sound(new, waiting, sounds)
    if made is None:
        raise InputError("input_dir", f'"{name}" holds no pictures. Leave it out.')
    new.mux(made.encode(None))


def _mux_sound(new: Any, waiting: list[Any], sounds: dict[int, Any]) -> None:
    """Copy the packets that wait; the last of each stream is empty."""
    for packet in waiting:
        target = sounds[packet.stream.index]
        if packet.dts is not None:
            packet.stream = target
            new.mux(packet)
    waiting.clear()


def _stream(new: Any, size: tuple[int, int], rate: Fraction, time_base: Fraction | None) -> Any:
    """A new stream of pictures, in the first codec that is there."""
    import av

    codec = next(name for name in CODECS if name in av.codecs_available)
    stream = new.add_stream(codec, rate=rate, options=QUALITY if codec == "libx264" else {})
    stream.width, stream.height = size
    stream.pix_fmt = "yuv420p"
    if time_base:
        stream.codec_context.time_base = time_base
    return stream


def _even(image: Image.Image) -> Image.Image:
    """With even sides, as the usual codecs need."""
    size = max(image.width // 2 * 2, 2), max(image.height // 2 * 2, 2)
    image = image.convert("RGB")
    return image if image.size == size else image.resize(size, Image.Resampling.LANCZOS)


def _named(temporary: Path, folder: Path, stem: str, suffix: str) -> Path:
    """The finished file under its name, or the first with a number that is free."""
    number = 0
    while True:
        path = folder / f"{stem}{f'-{number}' if number else ''}{suffix}"
        try:
            rename_new(temporary, path)
        except FileExistsError:
            number += 1
        else:
            return path
