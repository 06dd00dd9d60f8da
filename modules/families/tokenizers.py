"""The tokenizers of text encoders other than CLIP: looked for beside the model, else fetched once and kept."""

import logging
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from modules.core.errors import ModelFileError
from modules.core.files import write_atomic
from modules.families.folder import is_folder, text_kinds
from modules.families.pieces import PIECES
from modules.library.shelf import Shelf
from modules.prompting.tokenizer_files import FAST, holds_tokenizer

log = logging.getLogger(__name__)

MAX_SIZE = 64 * 2**20


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where a tokenizer is published: a repository of the Hugging Face hub that asks for no login, and a folder in it."""

    repository: str
    folder: str | None = None


ORIGINS: Mapping[str, Origin] = {
    "t5xxl": Origin(repository="google/flan-t5-xxl"),  # the vocabulary of T5 v1.1
    "t5base": Origin(repository="google/flan-t5-base"),
    "pile_t5xl": Origin(repository="fal/AuraFlow-v0.3", folder="tokenizer"),
    "qwen25_7b": Origin(repository="Qwen/Qwen2.5-VL-7B-Instruct"),
    "qwen3_4b": Origin(repository="Qwen/Qwen3-4B"),
    "qwen3_8b": Origin(repository="Qwen/Qwen3-8B"),
    "gemma2_2b": Origin(repository="Alpha-VLLM/Lumina-Image-2.0", folder="tokenizer"),
    "mistral3_24b": Origin(repository="mistralai/Mistral-Small-3.1-24B-Instruct-2503"),
    "glm4": Origin(repository="zai-org/CogView4-6B", folder="tokenizer"),
}


class Tokenizers(Mapping[str, Path]):
    """By kind, the folder that holds the tokenizer; a kind is looked for, and if need be fetched, when it is asked for.

    `model` is the checkpoint's file or diffusers folder, `files` the separate text encoders it is completed with. `on_read` is told
    of what is fetched. Asking raises ModelFileError, saying what to put where, for one that is nowhere and cannot be fetched.
    """

    def __init__(
        self, model: Path, files: Mapping[str, Path], shelf: Shelf, on_read: Callable[[str], None] = lambda _: None
    ) -> None:
        self._model = model
        self._files = files
        self._shelf = shelf
        self._on_read = on_read

    def __getitem__(self, kind: str) -> Path:
        if found := next((folder for folder in self._places(kind) if holds_tokenizer(folder)), None):
            return found
        if kind not in ORIGINS or not self._shelf.own_tokenizers:
            raise KeyError(kind)
        folder = self._shelf.own_tokenizers / kind
        self._on_read(f"the tokenizer of {_label(kind)}")
        fetch(kind, folder)
        return folder

    def __iter__(self) -> Iterator[str]:
        return iter(ORIGINS)

    def __len__(self) -> int:
        return len(ORIGINS)

    def _places(self, kind: str) -> Iterator[Path]:
        """Where it may be: in the diffusers folder, in a folder of the text encoder's, in models/tokenizers."""
        if is_folder(self._model):
            for part, found in text_kinds(self._model).items():
                if found == kind:
                    yield self._model / part.replace("text_encoder", "tokenizer")
        if file := self._files.get(kind):
            yield file.with_suffix("")
            if not self._shelf.is_root(file.parent):  # a folder of its own, not the one of all text encoders
                yield file.parent
        yield from (root / kind for root in self._shelf.tokenizers)


def fetch(kind: str, folder: Path) -> None:
    """Write the tokenizer of that kind into `folder`, whole or not at all; raises ModelFileError and StorageError."""
    origin = ORIGINS[kind]
    try:
        data = _download(origin)
    except Exception as error:  # the network, the hub and its package fail in many ways
        log.info("%s: %s", origin.repository, error)
        raise ModelFileError(
            f'The tokenizer of {_label(kind)} is not here and could not be fetched from "{origin.repository}". '
            f'Put its {FAST} into "{folder}", or connect to the internet.'
        ) from error
    write_atomic(folder / FAST, data)


def _download(origin: Origin) -> bytes:
    """The file, checked to be a tokenizer. HF_ENDPOINT names another hub."""
    from huggingface_hub import hf_hub_download
    from tokenizers import Tokenizer

    endpoint = os.environ.get("HF_ENDPOINT", "").rstrip("/") or None
    with tempfile.TemporaryDirectory() as place:
        path = Path(
            hf_hub_download(
                origin.repository, FAST, subfolder=origin.folder, local_dir=place, endpoint=endpoint, etag_timeout=10
            )
        )
        if path.stat().st_size > MAX_SIZE:
            raise ValueError(f"it is larger than {MAX_SIZE // 2**20} MB")
        Tokenizer.from_file(str(path))
        return path.read_bytes()


def _label(kind: str) -> str:
    return PIECES[kind].label.removeprefix("the text encoder ") if kind in PIECES else kind
