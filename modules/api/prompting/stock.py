"""What prompts may name, as it was a few seconds ago: it is asked for at every pause in typing, by every open page."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from tokenizers import Tokenizer

from modules.core.errors import AtelierError, ModelFileError
from modules.core.paths import CHECKPOINT, DIFFUSION_MODEL, EMBEDDING, TOKENIZER
from modules.jobs.service import JobService
from modules.library.cards import cards_of
from modules.library.checkpoints import page_defaults
from modules.library.embeddings import EmbeddingEntry, Known, list_embeddings, prompt_width
from modules.library.gguf import read_gguf
from modules.library.header import read_header
from modules.library.models import Model
from modules.library.readers import Reader, Shapes, reader_of
from modules.library.styles import Style
from modules.library.wildcards import WildcardSet
from modules.prompting.tokenizer import build_tokenizer, token_ids
from modules.prompting.tokenizer_files import holds_tokenizer, read_tokenizer
from modules.prompting.words import Words

LASTS = 4.0
"""Seconds."""

MOST_KEPT = 64


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """A checkpoint as far as prompts go. `family`: as the library calls it, "" unknown; `defaults`: what its page starts from;
    `width`: of its CLIPs together, None unknown."""

    name: str = ""
    family: str = ""
    reader: Reader = Reader()
    defaults: Mapping[str, Any] | None = None
    width: int | None = None


class Stock:
    """Callable from any thread; never raises."""

    def __init__(self, service: JobService) -> None:
        self._service = service
        self._kept: dict[tuple[str, str], tuple[float, Any]] = {}
        self._read_embeddings: Known = {}
        self._lock = threading.Lock()

    def models(self, kind: str) -> Sequence[Model]:
        """The files of that kind, as far as they were looked into."""
        return self._keeping("models", kind, lambda: self._service.library.models(kind).list())

    def cards(self, kind: str) -> Sequence[Mapping[str, Any]]:
        """The cards of that kind that a tag can name."""
        by_alias = self._service.settings.current.extra_networks.lora_preferred_name == "Alias from file"
        found = self._keeping("cards", kind, lambda: cards_of(self._service.library, kind, by_alias=by_alias))
        return [card for card in found if card.get("tag")]

    def embeddings(self) -> Sequence[EmbeddingEntry]:
        """The textual inversions."""
        folders = self._service.paths.folders(EMBEDDING)
        return self._keeping("embeddings", "", lambda: list_embeddings(folders, self._read_embeddings))

    def words(self) -> Words:
        """The textual inversions' names as CLIP reads them."""
        return self._keeping("words", "", self._words)

    def wildcards(self) -> WildcardSet:
        """The wildcards in all folders."""
        return self._service.wildcards.look(self._service.settings.current.dynamic_prompts.wildcard_dir)

    def styles(self) -> Mapping[str, Style]:
        """The styles by name."""
        try:
            return self._service.styles.all()
        except AtelierError:
            return {}

    def checkpoint(self, name: str) -> Chosen:
        """What is known of the checkpoint of that name, title or hash; of none that is there, nothing."""
        return self._keeping("checkpoint", name, lambda: self._checkpoint(name))

    def tokenizer(self, kind: str) -> Tokenizer | None:
        """The tokenizer of that kind in models/tokenizers; None if there is none that can be read."""
        return self._keeping("tokenizer", kind, lambda: self._tokenizer(kind), lasts=300)

    def _keeping(self, what: str, which: str, make: Callable[[], Any], lasts: float = LASTS) -> Any:
        with self._lock:
            made, found = self._kept.get((what, which), (-lasts, None))
            if time.monotonic() - made < lasts:
                return found
        found = make()
        with self._lock:
            if len(self._kept) >= MOST_KEPT:
                self._kept.clear()
            self._kept[what, which] = time.monotonic(), found
        return found

    def _words(self) -> Words:
        tokenizer = build_tokenizer()
        return Words((e.path.stem, tuple(token_ids(tokenizer, e.path.stem)), e.vectors) for e in self.embeddings())

    def _tokenizer(self, kind: str) -> Tokenizer | None:
        for root in self._service.paths.folders(TOKENIZER):
            try:
                if holds_tokenizer(root / kind):
                    return read_tokenizer(root / kind, kind)
            except ModelFileError:
                continue
        return None

    def _checkpoint(self, name: str) -> Chosen:
        try:
            found = self._service.checkpoints.find(name)
        except AtelierError:
            return Chosen()
        row = next((m.row for kind in (CHECKPOINT, DIFFUSION_MODEL) for m in self.models(kind) if m.path == found.path), None)  # fmt: skip
        return Chosen(
            name=found.name,
            family=row.family if row else "",
            reader=reader_of(_shapes(found.file)),
            defaults=page_defaults(found),
            width=prompt_width(found.file),
        )


def _shapes(file: Path) -> Shapes:
    try:
        if file.suffix.lower() == ".gguf":
            return {name: packed.shape for name, packed in read_gguf(file).tensors.items()}
        return cast("Shapes", read_header(file).shapes)
    except AtelierError:
        return {}
