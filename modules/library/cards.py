"""The cards of A1111's extra networks: what each puts into a prompt, or chooses, when it is pressed."""

import os
from collections import Counter
from collections.abc import Sequence
from typing import Any

from modules.core.errors import ModelFileError
from modules.core.paths import CHECKPOINT, DIFFUSION_MODEL, EMBEDDING, HYPERNETWORK, LORA
from modules.library.descriptions import tag_counts
from modules.library.header import read_header
from modules.library.library import Library
from modules.library.models import Model

PAGES: dict[str, str] = {
    EMBEDDING: "Textual Inversion",
    HYPERNETWORK: "Hypernetworks",
    CHECKPOINT: "Checkpoints",
    LORA: "Lora",
}
"""Kinds with cards, and what A1111 calls their sub-tabs."""

TAGS: dict[str, str] = {LORA: "lora", HYPERNETWORK: "hypernet"}
UNSAYABLE = ":<>=#\n"
"""Letters that a tag's name cannot hold: its own, and the one that begins a comment."""

UNTAGGED = "Its name holds one of : < > = # which a tag in a prompt cannot say. Rename the file."


def cards_of(library: Library, kind: str, *, by_alias: bool = True) -> list[dict[str, Any]]:
    """Every card of that kind, sorted by name; what is empty is left out of a card. Never raises.

    `tag` is what a prompt calls it by: a LoRA's is the name that its trainer gave it, with `by_alias` and where no other has it.
    """
    models: Sequence[Model] = library.models(kind).list()
    if kind == CHECKPOINT:
        known = {model.name for model in models}
        models = [*models, *(m for m in library.models(DIFFUSION_MODEL).list() if m.name not in known)]
    library.wake()
    tags = tag_names(models, by_alias and kind == LORA) if kind in TAGS else {}
    excerpts = library.index.excerpts()
    return [card_of(model, tags.get(model.row.id, ""), excerpts.get(model.row.id, "")) for model in models]


def card_of(model: Model, tag: str, text: str) -> dict[str, Any]:
    """One of them."""
    row = model.row
    folder, _, _ = row.name.rpartition("/")
    card = {
        "id": row.id,
        "name": row.name,
        "folder": folder,
        "stem": model.stem,
        "title": row.title,
        "tag": tag,
        "activation": row.activation,
        "negative": row.negative,
        "weight": row.weight,
        "family": row.family,
        "text": text,
        "trouble": row.trouble or (UNTAGGED if row.kind in TAGS and not tag else ""),
        "preview": bool(row.preview),
        "modified": row.mtime // 10**6,
        "created": (row.mtime if os.name == "nt" else row.changed) // 10**6,
    }
    return {name: value for name, value in card.items() if value}


def tag_names(models: Sequence[Model], by_alias: bool) -> dict[int, str]:
    """What the tag of each model calls it, by its id: the first of its names that means no other model and that a tag can say."""
    stems = Counter(model.stem.casefold() for model in models)
    aliases = Counter(model.row.alias.casefold() for model in models)
    found = {}
    for model in models:
        alias, stem = model.row.alias, model.stem
        own = aliases[alias.casefold()] == 1 and stems[alias.casefold()] == (alias.casefold() == stem.casefold())
        names = (
            alias if by_alias and own else "",
            stem if stems[stem.casefold()] == 1 else "",
            model.name.removesuffix(model.path.suffix),
            model.hashes.auto_v2 or "",
        )
        found[model.row.id] = next(
            (n for n in names if n and n == n.strip() and not any(c in n for c in UNSAYABLE)), ""
        )
    return found


def training_tags(model: Model, most: int = 100) -> list[tuple[str, int]]:
    """The tags of the pictures that a LoRA was trained on, the most frequent first."""
    if model.row.kind != LORA or model.path.suffix.lower() not in (".safetensors", ".sft"):
        return []
    try:
        return tag_counts(read_header(model.path).metadata, most)
    except ModelFileError:
        return []
