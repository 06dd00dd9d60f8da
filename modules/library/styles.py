"""Styles: named texts that are added to prompts, in A1111's `styles.csv`."""

import csv
import io
import logging
import re
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from modules.core.errors import InputError, StorageError, UnknownName, short
from modules.core.files import write_atomic
from modules.core.paths import Paths
from modules.requests.generation import MAX_PROMPT, GenerationRequest

log = logging.getLogger(__name__)

PLACE = "{prompt}"
COLUMNS = ("name", "prompt", "negative_prompt")
MOST_BYTES = 32 * 2**20
PAIRS = (("prompt", "prompt"), ("negative_prompt", "negative_prompt"))
HIRES = (("hr_prompt", "prompt"), ("hr_negative_prompt", "negative_prompt"))

_BLANK = re.compile(r"\s+")
_ENDING = re.compile(r"[ ,]+$")

Request = TypeVar("Request", bound=GenerationRequest)


@dataclass(frozen=True, kw_only=True)
class Style:
    """A style, and the file it is kept in."""

    name: str
    prompt: str = ""
    negative_prompt: str = ""
    path: Path | None = None


class Styles:
    """The style sheets of one installation. Each is read when it is asked for; callable from any thread."""

    def __init__(self, paths: Paths) -> None:
        self._files = paths.styles
        self._own = paths.data / "styles.csv"
        self._lock = threading.Lock()

    def all(self) -> dict[str, Style]:
        """By name, in the order of their files; of two with one name the later one counts, as in A1111."""
        found: dict[str, Style] = {}
        for file in self._paths():
            for row in _rows(file):
                if name := (row.get("name") or "").strip():
                    prompt = row.get("prompt", row.get("text")) or ""  # "text": its name in old files
                    negative = row.get("negative_prompt") or ""
                    found[name] = Style(name=name, prompt=prompt, negative_prompt=negative, path=file)
        return found

    def save(self, name: str, prompt: str, negative_prompt: str) -> None:
        """Add a style, or change it in the file it is in. Raises InputError and StorageError."""
        name = name.strip()
        if not name or len(name) > 200 or any(not c.isprintable() for c in name):
            raise InputError("name", f"name is {short(name)}: a style's must be 1 to 200 printable characters.")
        known = self.all().get(name)
        values = {"name": name, "prompt": prompt, "negative_prompt": negative_prompt}
        self._change(known.path if known and known.path else self._own, name, values)

    def delete(self, name: str) -> None:
        """Take a style out of its file. Raises UnknownName and StorageError."""
        known = self.find([name])[0]
        assert known.path is not None
        self._change(known.path, name, None)

    def find(self, names: Iterable[str]) -> list[Style]:
        """Those of these names; raises UnknownName."""
        names = list(names)
        known = self.all() if names else {}
        for name in names:
            if name not in known:
                raise UnknownName.among("styles", name, known)
        return [known[name] for name in names]

    def _paths(self) -> list[Path]:
        """The files that flags name, `*` and `?` in them standing for any; without flags the one of the data folder."""
        if not self._files:
            return [self._own]
        found: list[Path] = []
        for named in self._files:
            path = self._own.parent / named
            found += sorted(path.parent.glob(path.name)) if re.search(r"[*?\[]", path.name) else [path]
        return list(dict.fromkeys(found))

    def _change(self, path: Path, name: str, values: Mapping[str, str] | None) -> None:
        """Put these values into the row of that name, or take it out; all other rows and columns stay as they are."""
        with self._lock:
            try:
                rows = list(csv.reader(io.StringIO(_text(path, "strict"), newline="")))
            except UnicodeDecodeError as error:
                raise StorageError(
                    f'"{path}" is not UTF-8: save it as UTF-8 first, so that nothing of it is lost.'
                ) from error
            except csv.Error as error:
                raise StorageError(f'"{path}" cannot be read: {error}. Mend it in a text editor.') from error
            header: list[str] = rows[0] if rows and "name" in rows[0] else list(COLUMNS)
            others = rows[1:] if rows and "name" in rows[0] else rows
            if "text" in header and "prompt" not in header:
                header[header.index("text")] = "prompt"  # its name in old files
            header += [column for column in COLUMNS if column not in header]
            at = header.index("name")
            kept: list[Sequence[str]] = [header]
            placed = False
            for row in others:
                if len(row) > at and row[at].strip() == name:
                    if values is not None and not placed:
                        kept.append(_merged(header, row, values))
                    placed = True
                else:
                    kept.append(row)
            if values is not None and not placed:
                kept.append(_merged(header, [], values))
            out = io.StringIO(newline="")
            csv.writer(out).writerows(kept)
            write_atomic(path, out.getvalue().encode("utf-8-sig"), point="styles")


def _merged(header: Sequence[str], row: Sequence[str], values: Mapping[str, str]) -> list[str]:
    padded = [*row, *[""] * (len(header) - len(row))]
    return [values.get(column, old) for column, old in zip(header, padded, strict=False)] + padded[len(header) :]


def _text(path: Path, errors: str = "replace") -> str:
    """A style sheet's text; "" if there is none. Raises StorageError for one that is there and cannot be read, so that it is not written over."""
    try:
        if path.stat().st_size > MOST_BYTES:
            raise StorageError(f'"{path}" is larger than {MOST_BYTES // 2**20} MB: that is no style sheet.')
        return path.read_bytes().decode("utf-8-sig", errors).replace("\0", "")
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise StorageError(f'"{path}" cannot be read: {error.strerror or error}.') from error


def _rows(path: Path) -> list[dict[str, Any]]:
    """Its rows by column; broken ones are as they are, and lose no others."""
    try:
        reader = csv.DictReader(io.StringIO(_text(path), newline=""))
    except StorageError as error:
        log.warning("%s: %s", path, error)
        return []
    found: list[dict[str, Any]] = []
    while True:
        try:
            found.append(next(reader))
        except StopIteration:
            break
        except csv.Error as error:  # such as a field without end: the next row begins with the next line
            log.warning("%s: a row behind line %d is left out: %s", path, reader.line_num, error)
    if found and not {"name"} <= found[0].keys():
        log.warning("%s has no column called name: no styles are taken from it.", path)
    return found


def merged(style: str, prompt: str) -> str:
    """A prompt with a style's text: in the place of {prompt}, else behind it."""
    if PLACE in style:
        return style.replace(PLACE, prompt)
    return ", ".join(part for part in (prompt.strip(), style.strip()) if part)


def with_styles(request: Request, styles: Styles) -> Request:
    """The request with its styles in its prompts, hires fix's too. Raises UnknownName, and InputError for what grows too long."""
    if not request.styles:
        return request
    found = styles.find(request.styles)
    changed: dict[str, Any] = {"styles": ()}
    for field, part in (*PAIRS, *HIRES):
        text = getattr(request, field, "")
        if not text and (field, part) in HIRES:
            continue  # that of the first pass, which has its styles
        for style in found:
            text = merged(getattr(style, part), text)
            if len(text) > MAX_PROMPT:
                raise InputError(
                    "styles", f"{field} is longer than {MAX_PROMPT} characters with its styles. Choose fewer."
                )
        changed[field] = text
    return request.model_copy(update=changed)


def extracted(prompt: str, negative_prompt: str, styles: Iterable[Style]) -> tuple[list[str], str, str]:
    """The styles that are in two prompts, in the order they were applied, and the prompts without them."""
    left, found = [style for style in styles if style.prompt or style.negative_prompt], []
    while True:
        for style in left:
            one, other = _without(style.prompt, prompt), _without(style.negative_prompt, negative_prompt)
            if one is not None and other is not None:
                prompt, negative_prompt = one, other
                break
        else:
            return found[::-1], prompt, negative_prompt
        left.remove(style)
        found.append(style.name)


def _without(style: str, prompt: str) -> str | None:
    """A prompt without the style's text; None if it is not there."""
    if not style.strip():
        return prompt
    style, prompt = (_BLANK.sub(" ", text).strip() for text in (style, prompt))
    if PLACE in style:
        before, _, after = style.partition(PLACE)
        fits = prompt.startswith(before) and prompt.endswith(after) and len(prompt) >= len(before) + len(after)
        return prompt[len(before) : len(prompt) - len(after)] if fits else None
    if prompt == style:
        return ""
    return _ENDING.sub("", prompt[: -len(style)]) if prompt.endswith(f", {style}") else None
