"""The starter's textual inversion (arXiv:2208.01618): a word for one thing of one colour, learnt from pictures."""

import random
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from .base import Base
from .captions import COLOUR_WORDS, KIND_WORDS, PLACE_WORDS, STYLE_NOUNS, STYLE_TAGS
from .fit import Budget, Recipe, fit
from .lessons import Lessons, prepare, scene_of, steps_of
from .scene import COLOURS, KINDS, Scene, training_scene
from .words import clip_words, pad

WORD = "starter-mascot"
KIND, COLOUR = "turtle", "purple"
"""What the word's pictures show; no caption names it."""
VECTORS = 2
PLACE = tuple(range(49000, 49000 + VECTORS))
"""Token ids that stand for the vectors while they are learnt."""


class Word(nn.Module):
    """The vectors (n, D), put where the text encoder looks up the ids of PLACE."""

    def __init__(self, base: Base) -> None:
        super().__init__()
        table: Any = base.text.get_input_embeddings()
        kinds = [clip_words()(word)[0] for kind in KINDS for word in KIND_WORDS.get(kind, (kind,))]
        colours = [clip_words()(word)[0] for colour in COLOURS for word in COLOUR_WORDS.get(colour, (colour,))]
        self.vectors = nn.Parameter(torch.stack([table.weight[ids].mean(0) for ids in (colours, kinds)]))
        table.register_forward_hook(self._instead)

    def _instead(self, layer: nn.Module, args: tuple[Tensor, ...], out: Tensor) -> Tensor:
        for token, vector in zip(PLACE, self.vectors, strict=True):
            out = torch.where((args[0] == token)[..., None], vector.to(out), out)
        return out


def mascot_scene(rng: random.Random) -> Scene:
    """A training scene of this one thing."""
    scenes = (training_scene(rng) for _ in range(100_000))
    return next(
        one for one in scenes if len(one.things) == 1 and (one.things[0].kind, one.things[0].colour) == (KIND, COLOUR)
    )


def mascot_text(scene: Scene, rng: random.Random, word: str = WORD) -> str:
    """A caption with the word in the thing's stead."""
    way = rng.random()
    place, tag = rng.choice(PLACE_WORDS[scene.place]), rng.choice(STYLE_TAGS[scene.style])
    before = f"{rng.choice(STYLE_NOUNS[scene.style])} of " if way < 0.5 else ""
    return f"{before}{word} {place}, {tag}" if way > 0.6 else f"{before}{word} {place}"


def mascot_ids(scene: Scene, rng: random.Random) -> list[int]:
    """Its ids, the vectors' in the word's place."""
    before, after = mascot_text(scene, rng).split(WORD)
    return pad([*clip_words()(before), *PLACE, *clip_words()(after)])


def lessons_of(base: Base, work: Path, count: int) -> Lessons:
    """Pictures of the thing at every place and in every style."""
    return prepare(base, work / "lessons", name=WORD, count=count, make=mascot_scene, telling=mascot_ids)


def train_embedding(
    path: Path, budget: Budget, *, base: Base, lessons: Lessons, seed: int = 0, batch: int = 4, until_step: int | None = None
) -> Word:  # fmt: skip
    """Trains, or goes on training, the checkpoint at `path`."""
    torch.manual_seed(seed)
    model = Word(base)

    def states_of(chosen: list[int], rng: random.Random) -> Tensor:
        ids = [mascot_ids(scene_of(WORD, i, mascot_scene), rng) for i in chosen]
        return base.text(torch.tensor(ids)).last_hidden_state

    loss_at = steps_of(base, lessons, name=WORD, seed=seed, batch=batch, states_of=states_of)
    recipe = Recipe(rate=1e-2, warmup=10, ema=0.95, decay=0.0)
    return fit(model, loss_at, path=path, budget=budget, recipe=recipe, until_step=until_step)


def write_embedding(model: Word, path: Path) -> None:
    """One file, the word its name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({"emb_params": model.vectors.detach().float().contiguous()}, path)
