"""Text hidden in the lowest bits of a picture's alpha or colours: the formats that begin with "stealth_".

The bits go down the columns, the leftmost first; in colours red, green and blue of a pixel follow each other. Fifteen letters
say which format it is, four bytes (big end first) how many bits of text follow, in UTF-8, or as gzip where the letters end in "comp".
"""

import zlib

import numpy as np
from PIL import Image

from modules.images.metadata.loose import MAX_TEXT

_LETTERS = 15
_MODES = {
    "alpha": ((3,), b"stealth_png", ("RGBA", "LA")),
    "rgb": ((0, 1, 2), b"stealth_rgb", ("RGB", "RGBA")),
}


def read_stealth(image: Image.Image) -> tuple[str | None, str | None]:
    """The hidden text, if there is one, and a sentence if it is broken. The picture is decoded."""
    for mode, (channels, begins, modes) in _MODES.items():
        if image.mode not in modes:
            continue
        head = _lowest(image, channels, 0, _LETTERS + 4)
        letters, length = head[:_LETTERS], int.from_bytes(head[_LETTERS:], "big")
        if letters not in (begins + b"info", begins + b"comp") or len(head) < _LETTERS + 4:
            continue
        data = _lowest(image, channels, (_LETTERS + 4) * 8, length // 8)
        text = _unpacked(data) if letters.endswith(b"comp") else data
        if len(data) < length // 8 or text is None:
            return None, f"The text hidden in its {mode} channel is broken and was passed over."
        return text.decode("utf-8", "replace"), None
    return None, None


def _lowest(image: Image.Image, channels: tuple[int, ...], first: int, count: int) -> bytes:
    """`count` bytes of lowest bits, from bit number `first` on; fewer where the picture ends."""
    column = image.height * len(channels)
    left = first // column
    right = min(-(-(first + count * 8) // column), image.width)
    if right <= left:
        return b""
    strip = image.crop((left, 0, right, image.height)).convert("RGBA" if 3 in channels else "RGB")
    values = np.asarray(strip)[:, :, list(channels)]  # (height, columns, channels)
    bits = (values.transpose(1, 0, 2) & 1).reshape(-1)[first - left * column :][: count * 8]
    return np.packbits(bits[: len(bits) // 8 * 8]).tobytes()


def _unpacked(data: bytes) -> bytes | None:
    try:
        unpacker = zlib.decompressobj(zlib.MAX_WBITS | 16)
        found = unpacker.decompress(data, MAX_TEXT)
    except zlib.error:
        return None
    return found if unpacker.eof else None
