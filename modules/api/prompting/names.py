"""Names in a prompt that mean nothing here, or something of another family."""

import difflib
import re
from collections.abc import Iterator

from modules.api.prompting.brackets import Odd
from modules.api.prompting.stock import Chosen, Stock
from modules.core.errors import nearest, short
from modules.core.paths import HYPERNETWORK, LORA
from modules.library.models import Model
from modules.templates.grammar import WILDCARD

KINDS = {"lora": (LORA, "LoRA"), "lyco": (LORA, "LoRA"), "hypernet": (HYPERNETWORK, "hypernetwork")}
ALIKE = 0.85
"""How near a word comes to an embedding's name of which it is taken for a misspelling."""

_TAG = re.compile(r"<(\w+):([^<>]+)>")
_WILDCARD = re.compile(WILDCARD)
_COMFY = re.compile(r"\bembedding:([\w\-./\\]+)")
_WORD = re.compile(r"[^\s,()\[\]{}|:<>\\]{6,100}")
_LATIN = re.compile(r"[-_\d]")


def odd_names(text: str, field: str, templates: bool, chosen: Chosen, stock: Stock) -> Iterator[Odd]:
    """Networks, embeddings and wildcards, in this order; `text` without its comments."""
    for match in _TAG.finditer(text):
        if words := _network(match, field, chosen, stock):
            yield (*match.span(), words)
    yield from _embeddings(_TAG.sub(lambda match: " " * len(match[0]), text), chosen, stock)
    if templates and "__" in text:
        known = stock.wildcards()
        for match in _WILDCARD.finditer(text):
            path = match["path"]
            if "$" not in path and not known.names(path):
                told = nearest(path, known.names("**"))
                yield (*match.span(), f"There is no wildcard {short(match[0])}: it stays as text. {told}")


def _network(match: re.Match[str], field: str, chosen: Chosen, stock: Stock) -> str:
    kind, name = match[1].casefold(), match[2].split(":")[0].strip()
    if kind not in KINDS:
        return f"{short(match[0])} has no effect: networks are named by <lora:...>, <lyco:...> or <hypernet:...>. Take it out."
    folder, label = KINDS[kind]
    if field != "prompt":
        return f"{short(match[0])} is read as words: networks act from the prompt alone. Move it there."
    models = stock.models(folder)
    model = next((model for model in models if name.casefold() in _names(model)), None)
    if model is None:
        return f"There is no {label} {short(name)}. {nearest(name, [model.stem for model in models])}"
    if model.row.trouble:
        return model.row.trouble
    if model.row.family and chosen.family and model.row.family != chosen.family:
        return (
            f"The {label} {short(name)} is for {model.row.family}, {short(chosen.name)} is {chosen.family}: it does not fit. "
            f"Take it out, or choose a checkpoint of {model.row.family}."
        )
    return ""


def _names(model: Model) -> set[str]:
    found = (model.name, model.name.removesuffix(model.path.suffix), model.path.name, model.stem, model.row.alias)
    hashes = (model.hashes.sha256, model.hashes.auto_v2, model.hashes.auto_v3)
    return {name.casefold() for name in (*found, *hashes) if name}


def _embeddings(text: str, chosen: Chosen, stock: Stock) -> Iterator[Odd]:
    known = {entry.path.stem: entry for entry in stock.embeddings()}
    folded = {name.casefold(): name for name in known}
    for match in _COMFY.finditer(text):
        name = match[1].rsplit("/", 1)[-1]
        if own := folded.get(name.casefold()):
            yield (
                *match.span(),
                f"{short(match[0])} is how ComfyUI writes it. Here an embedding is named alone: {own}.",
            )
        else:
            yield (*match.span(), f"There is no embedding {short(name)}. {nearest(name, known)}")
    if not known:
        return
    wrong = {name for name, entry in known.items() if chosen.width and entry.width != chosen.width}
    for match in _WORD.finditer(_COMFY.sub(lambda match: " " * len(match[0]), text)):
        word = match[0].casefold()
        if (own := folded.get(word)) in wrong and own:
            yield (
                *match.span(),
                f'The embedding "{own}" is {known[own].width} wide, the text encoders of {short(chosen.name)} {chosen.width}: '
                "it is of another family and read as words. Take it out, or choose another checkpoint.",
            )
        elif own is None and _LATIN.search(word):
            close = difflib.get_close_matches(word, folded, n=1, cutoff=ALIKE)
            if close:
                yield (
                    *match.span(),
                    f"{short(match[0])} is no embedding, and read as words. There is {folded[close[0]]}.",
                )
