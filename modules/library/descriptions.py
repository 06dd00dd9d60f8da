"""What is written about a model: in files beside it (A1111's, Civitai's, Stability Matrix's) and in its own metadata."""

import html
import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modules.core.errors import ModelFileError
from modules.library.header import open_regular

MAX_SIDECAR = 2**21
MAX_TEXT = 4000
MAX_WORDS = 30
TOP_TAGS = 10
MAX_VALUE = 2000

_TAG = re.compile(r"<[^<>]{0,2000}>")


@dataclass(frozen=True, kw_only=True)
class Description:
    """`words` are what brings the model out in a prompt; `base` is what it was made for, in its author's words; `activation` is
    what is written into a prompt with it, which tags of training pictures are not."""

    title: str = ""
    alias: str = ""
    base: str = ""
    words: tuple[str, ...] = ()
    activation: str = ""
    text: str = ""
    notes: str = ""
    negative: str = ""
    weight: float | None = None

    def with_more(self, other: "Description") -> "Description":
        """Itself, with what it does not tell from `other`."""
        return Description(**{name: value or getattr(other, name) for name, value in vars(self).items()})


def describe(folder: Path, sidecars: Iterable[str], metadata: Mapping[str, str]) -> Description:
    """What the sidecar files of those names in `folder` and the metadata say, the user's own words first; never raises."""
    found = Description()
    readers = ((".civitai.info", _civitai), (".cm-info.json", _stability_matrix), (".json", _a1111), (".txt", None))
    chosen: dict[str, Description] = {}
    for name in sidecars:
        end, reader = next(((end, reader) for end, reader in readers if name.endswith(end)), ("", None))
        if end == ".txt":
            chosen[end] = Description(text=_text(_read(folder / name)))
        elif reader:
            chosen[end] = reader(_json(_read(folder / name)))
    for end in (".json", ".civitai.info", ".cm-info.json", ".txt"):
        found = found.with_more(chosen.get(end, Description()))
    return found.with_more(_metadata(metadata))


def short_values(metadata: Mapping[str, str]) -> dict[str, Any]:
    """The metadata as A1111 shows them, values that are JSON objects as such; without long values and what JSON cannot hold."""
    found: dict[str, Any] = {}
    for name, value in metadata.items():
        if len(name) + len(value) <= MAX_VALUE:
            parsed = _object(value) if value.startswith("{") and "\\u" not in value else None
            found[_text(name)] = parsed if parsed is not None else _text(value)
    return found


def _object(text: str) -> dict[str, Any] | None:
    try:
        found = json.loads(text, parse_constant=int, parse_float=_finite)  # int("NaN") raises: it is no number of JSON
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) and text.isprintable() else None


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("too large")
    return number


def _a1111(stored: Mapping[str, Any]) -> Description:
    weight = stored.get("preferred weight")
    version = _text(stored.get("sd version"), 100)
    return Description(
        base="" if version == "Unknown" else version,
        words=_words([stored.get("activation text")]),
        activation=_text(stored.get("activation text")),
        text=_text(stored.get("description")),
        notes=_text(stored.get("notes")),
        negative=_text(stored.get("negative text")),
        weight=float(weight) if isinstance(weight, int | float) and 0 < weight < 100 else None,
    )


def _civitai(stored: Mapping[str, Any]) -> Description:
    model = stored.get("model")
    model = model if isinstance(model, dict) else {}
    names = [_text(part.get("name"), 200) for part in (model, stored)]
    return Description(
        title=" ".join(filter(None, names)),
        base=_text(stored.get("baseModel"), 100),
        words=(words := _words(stored.get("trainedWords"))),
        activation=", ".join(words),
        text=_plain(model.get("description")) or _plain(stored.get("description")),
    )


def _stability_matrix(stored: Mapping[str, Any]) -> Description:
    names = [_text(stored.get(name), 200) for name in ("ModelName", "VersionName")]
    return Description(
        title=" ".join(filter(None, names)),
        base=_text(stored.get("BaseModel"), 100),
        words=(words := _words(stored.get("TrainedWords"))),
        activation=", ".join(words),
        text=_plain(stored.get("ModelDescription")) or _plain(stored.get("VersionDescription")),
    )


def _metadata(metadata: Mapping[str, str]) -> Description:
    """ModelSpec's fields, else those that kohya's trainer writes."""
    alias = _text(metadata.get("ss_output_name"), 200)
    trigger = metadata.get("modelspec.trigger_phrase")
    return Description(
        title=_text(metadata.get("modelspec.title"), 200),
        alias="" if alias == "None" else alias,
        base=_text(metadata.get("modelspec.architecture") or metadata.get("ss_base_model_version"), 100),
        words=_words([trigger]) or _top_tags(metadata),
        activation=_text(trigger),
        text=_plain(metadata.get("modelspec.description")),
    )


def tag_counts(metadata: Mapping[str, str], most: int = MAX_WORDS) -> list[tuple[str, int]]:
    """The tags that most of the training pictures had, and how many had each."""
    counts: Counter[str] = Counter()
    for tags in _json(metadata.get("ss_tag_frequency", "").encode(errors="replace")).values():
        if isinstance(tags, dict):
            for tag, count in tags.items():
                if isinstance(count, int) and not isinstance(count, bool) and 0 < count < 2**40:
                    counts[_text(str(tag), 200)] += count
    return [(tag, count) for tag, count in counts.most_common(most) if tag]


def _top_tags(metadata: Mapping[str, str]) -> tuple[str, ...]:
    """The most frequent of them alone."""
    return _words([tag for tag, _ in tag_counts(metadata, TOP_TAGS)])


def _words(found: Any) -> tuple[str, ...]:
    """A list of trigger words, each of which may be several between commas; in order, each once."""
    given = (
        [part for text in found if isinstance(text, str) for part in text.split(",")] if isinstance(found, list) else []
    )
    words = dict.fromkeys(filter(None, (_text(word, 200) for word in given[: 10 * MAX_WORDS])))
    return tuple(words)[:MAX_WORDS]


def _plain(text: Any) -> str:
    """The text of a piece of HTML."""
    if not isinstance(text, str):
        return ""
    broken = re.sub(r"</(p|li|h\d|div)>|<br\s*/?>", "\n", text[: 10 * MAX_TEXT])
    return _text(html.unescape(_TAG.sub("", broken)))


def _text(value: Any, length: int = MAX_TEXT) -> str:
    """`value` if it is text, as it may be kept and shown: printable, cut."""
    if isinstance(value, bytes):
        value = value.decode(errors="replace")
    if not isinstance(value, str):
        return ""
    return "".join(c for c in value[: 2 * length] if c.isprintable() or c == "\n").strip()[:length]


def _read(path: Path) -> bytes:
    try:
        with open_regular(path) as file:
            return file.read(MAX_SIDECAR)
    except (ModelFileError, OSError):
        return b""


def _json(data: bytes) -> Mapping[str, Any]:
    try:
        stored = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return stored if isinstance(stored, dict) else {}
