"""Textual inversions put to work: their names in prompts become vectors in a model's text encoders."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from hashlib import sha256
from typing import Any

import torch
from torch import Tensor, nn

from modules.families.clip_prompts import PromptEncoder
from modules.families.compiled import CompiledText
from modules.families.model import LoadedModel, inside
from modules.networks.embeddings import CLIP_G, CLIP_L, PLAIN, Embedding
from modules.patches.hooks import Around, hooks
from modules.prompting.words import VECTORS, Words

_ROLES: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "sdxl": ((CLIP_L,), (CLIP_G,)),
    "sd3": ((CLIP_L,), (CLIP_G,)),
    "sdxl-refiner": ((CLIP_G,),),
    "flux": ((PLAIN, CLIP_L),),
}
"""Which vectors each of a family's text encoders takes; of the others there is one, which takes plain ones."""


class Encoders:
    """The text encoders of a model that textual inversions are for: CLIPs."""

    def __init__(self, model: LoadedModel) -> None:
        self.prompts = inside(model.prompts, PromptEncoder)
        found: list[Any] = [text for prompts in self.prompts for text in inside(prompts, (nn.Module, CompiledText))]
        texts = [text for text in dict.fromkeys(found) if _width(text)]
        roles = _ROLES.get(model.family, ((PLAIN,),) * len(texts))
        self._texts = list(zip(texts, roles, strict=False))

    def table(self, embedding: Embedding) -> list[Tensor] | None:
        """The vectors for each encoder; None for an embedding that lacks some, or has them of another width."""
        found: list[Tensor] = []
        for text, roles in self._texts:
            vectors = next((v for role in roles if (v := embedding.of(role, _width(text))) is not None), None)
            if vectors is None:
                return None
            found.append(vectors)
        return found or None

    def words(self, embeddings: Sequence[Embedding]) -> Words:
        """Their names, as these encoders' tokenizer reads them."""
        if not self.prompts:
            return Words(())
        return Words((e.name, tuple(self.prompts[0].tokens(e.name)), e.count) for e in embeddings)

    @contextmanager
    def knowing(self, embeddings: Sequence[Embedding]) -> Iterator[None]:
        """Meanwhile prompts may name them; each has a table here."""
        words = self.words(embeddings)
        tables = [table for embedding in embeddings if (table := self.table(embedding))]
        with ExitStack() as stack:
            hook = stack.enter_context(hooks())
            for number, (text, _) in enumerate(self._texts):
                rows = torch.cat([table[number] for table in tables])
                if isinstance(text, CompiledText):
                    stack.enter_context(text.knowing(sha256(rows.numpy().tobytes()).digest(), rows))
                else:
                    hook.around(text.get_input_embeddings(), _with_vectors(rows))
            for prompts in self.prompts:
                stack.enter_context(prompts.knowing(words))
            yield


def _width(text: Any) -> int:
    """Of a text encoder's tokens' vectors; 0 of what is none."""
    if isinstance(text, CompiledText):
        return text.width
    return text.get_input_embeddings().embedding_dim if hasattr(text, "get_input_embeddings") else 0


def _with_vectors(rows: Tensor) -> Around:
    """Token embeddings where ids from VECTORS on mean these rows (n, D)."""

    def embed(forward: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
        ids, *rest = args
        own = ids >= VECTORS
        states = forward(ids.masked_fill(own, 0), *rest, **kwargs)
        if not bool(own.any()):
            return states
        states = states.clone()
        states[own] = rows.to(states)[ids[own] - VECTORS]
        return states

    return embed
