"""Is a file that came a model? By its first bytes, without loading it."""

import json
from pathlib import Path

from modules.core.errors import ModelFileError
from modules.library.header import read_header

MAX_JSON = 64 * 2**20
_STARTS = {
    ".gguf": (b"GGUF",),
    ".ckpt": (b"PK\x03\x04", b"\x80"),
    ".pt": (b"PK\x03\x04", b"\x80"),
    ".pth": (b"PK\x03\x04", b"\x80"),
    ".bin": (b"PK\x03\x04", b"\x80"),
    ".onnx": (b"\x08",),
}
_ZIP_END = b"PK\x05\x06"


def check_model(path: Path, name: str) -> None:
    """Raise ModelFileError, which calls the file `name`, unless `path` holds what a file of that name holds."""
    suffix = Path(name).suffix.lower()
    try:
        if suffix in (".safetensors", ".sft"):
            read_header(path)
        elif suffix == ".json":
            _check_json(path)
        elif suffix in _STARTS:
            _check_start(path, _STARTS[suffix])
    except ModelFileError as error:
        raise ModelFileError(error.message.replace(f'"{path.name}"', f'"{name}"')) from error
    except OSError as error:
        raise ModelFileError(f'"{name}" cannot be read: {error.strerror}. Check the disk.') from error


def is_page(start: bytes, content_type: str = "") -> bool:
    """Whether these first bytes, or that type, are a web page's."""
    kind = content_type.partition(";")[0].strip().lower()
    text = start[:512].lstrip().removeprefix(b"\xef\xbb\xbf").lower()
    return kind in ("text/html", "application/xhtml+xml") or text.startswith((b"<!doctype", b"<html", b"<?xml"))


def page_error(name: str) -> ModelFileError:
    """The sentence for a web page that came in place of a file."""
    return ModelFileError(f'"{name}" is a web page, not a model (is a login or a token needed?). Check the address.')


def _check_json(path: Path) -> None:
    try:
        if path.stat().st_size > MAX_JSON:
            raise ValueError("too large")
        json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ModelFileError(f'"{path.name}" is not valid JSON. Download it again.') from error


def _check_start(path: Path, starts: tuple[bytes, ...]) -> None:
    with path.open("rb") as file:
        first = file.read(512)
        size = file.seek(0, 2)
        file.seek(max(size - 2**16 - 22, 0))
        last = file.read()
    if is_page(first):
        raise page_error(path.name)
    if not first.startswith(starts):
        raise ModelFileError(f'"{path.name}" is not a model of the kind its name says. Check the address.')
    if first.startswith(b"PK") and _ZIP_END not in last:
        raise ModelFileError(f'"{path.name}" is incomplete: its end is missing. Download it again.')
