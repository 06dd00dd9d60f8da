"""Prompts read by a language model, which takes the text as it is: brackets do not weigh, BREAK is a word."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from tokenizers import Tokenizer
from torch import Tensor

from modules.core.errors import ModelFileError
from modules.families.clip_prompts import PLAIN, TextOptions
from modules.families.language_models import Architecture, LanguageModel
from modules.families.packing import pack_rows
from modules.families.source import Source
from modules.prompting.tokenizer_files import read_tokenizer


@dataclass(frozen=True, kw_only=True)
class Template:
    """How a model was trained to be asked.

    `text` has {} where the prompt goes, and something besides; `negative` is that of negative prompts if it is another. Of all
    tokens the first `longest` are kept, and the states of the first `drop` of those are left out. `padding`: the token that fills
    up, before the text or behind it, to `least` tokens or a multiple of `multiple`; the network sees it as text, the language model
    itself only if it is `attended`.
    """

    text: str
    negative: str | None = None
    longest: int = 512
    drop: int = 0
    padding: str | None = None
    before: bool = False
    least: int = 0
    multiple: int = 1
    attended: bool = False


class LanguagePrompts:
    """As Prompts: packed states of each text, without the template's start. What a text gives does not depend on the others."""

    def __init__(self, tokenizer: Tokenizer, model: LanguageModel, template: Template) -> None:
        self._tokenizer = tokenizer
        self._model = model
        self._template = template
        self._padding = tokenizer.token_to_id(template.padding) if template.padding else None
        if template.padding and self._padding is None:
            raise ModelFileError(
                f'The tokenizer has no "{template.padding}": it is of another text encoder. Replace it by the right one.'
            )

    def encode(self, texts: Sequence[str], options: TextOptions = PLAIN) -> Tensor:
        """(len(texts), T, D + 1) float32, of which the last position counts in none."""
        known = {text: self._states(text, negative=options.negative) for text in dict.fromkeys(texts)}
        return pack_rows([known[text] for text in texts])

    def encode_together(self, texts: Sequence[str], counts: Sequence[int], options: TextOptions = PLAIN) -> Tensor:
        """As `encode`."""
        return self.encode(texts, options)

    def _states(self, text: str, *, negative: bool) -> Tensor:
        """(T, D) of one text."""
        template = self._template
        form = template.negative if negative and template.negative is not None else template.text
        encoded = self._tokenizer.encode(form.replace("{}", text), add_special_tokens=False)
        ids = self._checked(encoded.ids[: template.longest])
        if self._padding is None:
            return self._model(torch.tensor(ids))[template.drop :]
        length = max(template.least, len(ids) + -len(ids) % template.multiple)
        rest = [self._padding] * (length - len(ids))
        counts = [0] * len(rest) + [1] * len(ids) if template.before else [1] * len(ids) + [0] * len(rest)
        whole = [*rest, *ids] if template.before else [*ids, *rest]
        mask = None if template.attended else torch.tensor(counts)
        return self._model(torch.tensor(whole), mask)[template.drop :]

    def _checked(self, ids: list[int]) -> list[int]:
        if max(ids) >= self._model.vocabulary:
            raise ModelFileError(
                f"The tokenizer knows the token {max(ids)}, the text encoder {self._model.vocabulary} ones: "
                "they are not of one model. Replace one of them."
            )
        return ids


def language_prompts(
    source: Source,
    kind: str,
    architecture: Architecture,
    template: Template,
    layers: tuple[int, ...] | None = None,
    *,
    width: int,
) -> LanguagePrompts:
    """Prompts read by the source's text encoder of that kind, of which `layers` as LanguageModel's; raises ModelFileError.

    `width`: of the states that the network wants.
    """
    tokenizer = read_tokenizer(source.tokenizers.get(kind), kind)
    model = LanguageModel(architecture, source.text(kind), source.compute, layers)
    if model.width != width:
        raise ModelFileError(
            f"The text encoder {kind} gives states {model.width} wide, {width} are needed: it is of another size than "
            "the network was trained with. Choose another."
        )
    return LanguagePrompts(tokenizer, model, template)
