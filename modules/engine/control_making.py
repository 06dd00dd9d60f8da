"""What a request's ControlNet units come to: each made ready to work, of its pictures and its model, for one batch."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from modules.control.face_adapter import FACE_ID, FACE_ID_PLUS, INSTANT_ID, FaceAdapter, FacePrompt
from modules.control.hints import as_hint
from modules.control.ip_adapter import ImagePrompt, IPAdapter, Words
from modules.control.lllite import LiteUnit, LLLite
from modules.control.models import LoadedControl
from modules.control.networks import ControlNetwork
from modules.control.preprocessors import faces
from modules.control.reference import Reference
from modules.control.revision import Revision, augmented, pooled_width
from modules.control.t2i_style import StyleAdapter, StyleWords
from modules.control.transformers.network import TokenNetwork
from modules.control.union import UNKNOWN, Union
from modules.control.units import WorkingUnit
from modules.control.vision import look
from modules.core.errors import InputError
from modules.engine.control_pictures import ControlPictures, Pixels, mask_of
from modules.engine.plan import Batch
from modules.engine.toolbox import Toolbox
from modules.families.model import LoadedModel
from modules.requests.control import ControlUnit

READERS = {FACE_ID: faces.FACE_ID, FACE_ID_PLUS: faces.FACE_ID, INSTANT_ID: faces.INSTANT_ID}
"""Kind of adapter -> the preprocessor that tells whose face it is, whichever the unit names."""


class UnitMaker:
    """Makes the units of one pass ready; what does not depend on the batch is made once. `bare`: Face ID without the LoRA of its file."""

    def __init__(
        self, model: LoadedModel, tools: Toolbox, pictures: ControlPictures, *, hires: bool, bare: bool
    ) -> None:
        self.pictures = pictures
        self._model = model
        self._tools = tools
        self._hires = hires
        self._bare = bare
        self._words: dict[int, Words] = {}
        self._styles: dict[int, Tensor] = {}
        self._vectors: dict[int, Tensor] = {}
        self._latents: dict[tuple[Any, ...], list[Tensor]] = {}

    def working(
        self,
        number: int,
        unit: ControlUnit,
        loaded: LoadedControl,
        network: ControlNetwork | TokenNetwork,
        batch: Batch,
        size: tuple[int, int],
        words: Words | None = None,
    ) -> Iterator[WorkingUnit]:
        """The unit ready to work, once for each of several pictures that count together. `words`: what it reads instead of the prompt."""
        if isinstance(network, Union | TokenNetwork):
            network = network.told(self._union_type(unit, network.by_type), f"control.{number}.union_control_type")
        if isinstance(network, TokenNetwork):
            network = network.beside(self._model)
        unit, groups = self._grouped(unit, self._hints(number, unit, batch, size))
        for group in groups:
            yield WorkingUnit(
                unit=unit,
                network=network,
                hints=network.prepared(group, self._model) if isinstance(network, TokenNetwork) else group,
                cell=network.cell if isinstance(network, TokenNetwork) else None,
                words=words,
                mask=mask_of(unit, number, size),
                hires=self._hires,
                settle=loaded.settle,
            )

    def lites(
        self, number: int, unit: ControlUnit, name: str, network: LLLite, batch: Batch, size: tuple[int, int]
    ) -> Iterator[LiteUnit]:
        """The same of a network that works inside the U-Net's layers."""
        layers, mask = network.places(self._model, name, f"control.{number}.model"), mask_of(unit, number, size)
        unit, groups = self._grouped(unit, self._hints(number, unit, batch, size))
        for group in groups:
            hints = group.to(self._model.compute.device)
            yield LiteUnit(unit=unit, hires=self._hires, layers=layers, hints=hints, mask=mask)

    def _hints(self, number: int, unit: ControlUnit, batch: Batch, size: tuple[int, int]) -> list[Tensor]:
        sources = self.pictures.of_batch(number, unit, batch)
        return [as_hint(self.pictures.map(number, unit, source, size)) for source in sources]

    @staticmethod
    def _grouped(unit: ControlUnit, hints: list[Tensor]) -> tuple[ControlUnit, list[Tensor]]:
        """Hints one a picture or one for all (P, 3, H, W); or where several count together each by itself, and the unit with its part of the weight."""
        if unit.input_mode == "merge" and len(hints) > 1:
            return unit.model_copy(update={"weight": unit.weight / len(hints)}), hints
        return unit, [torch.cat(hints)]

    def references(self, number: int, unit: ControlUnit, batch: Batch, size: tuple[int, int]) -> Iterator[Reference]:
        """The unit's pictures as latents; of those that count together each is a reference of its own."""
        key = (number, size, batch.positions if unit.input_mode == "batch" else None)
        if key not in self._latents:
            sources = self.pictures.of_batch(number, unit, batch)
            maps = [self.pictures.map(number, unit, source, size)[:, :, :3] for source in sources]
            self._latents[key] = [self._encoded(as_hint(one)) for one in maps]
        latents = self._latents[key]
        for group in latents if unit.input_mode == "merge" else [torch.cat(latents)]:
            mask = mask_of(unit, number, size)
            yield Reference(unit=unit, hires=self._hires, latents=group, seeds=batch.seeds, mask=mask)

    def style(self, number: int, unit: ControlUnit, name: str, adapter: StyleAdapter, batch: Batch) -> StyleWords:
        """The unit's pictures as words behind the prompt; those that count together are all said."""
        if number not in self._styles:
            vision = self._tools.controls.vision(adapter.embedded, name, whole=True)
            seen = [look(vision, one[:, :, :3], whole=True, last=True) for one in self.pictures.of(number, unit)]
            self._styles[number] = adapter.words(torch.cat(seen))
        words = _in_turn(unit, self._styles[number], batch)
        return StyleWords(
            unit=unit, hires=self._hires, words=words.flatten(0, 1)[None] if unit.input_mode == "merge" else words
        )

    def revision(self, number: int, unit: ControlUnit, batch: Batch) -> Revision:
        """The unit's pictures as vectors; of those that count together the mean."""
        if number not in self._vectors:
            width = pooled_width(f"control.{number}.module", unit.module, self._model)
            vision = self._tools.controls.vision(width, unit.module, whole=False)
            seen = [look(vision, one[:, :, :3], whole=False) for one in self.pictures.of(number, unit)]
            self._vectors[number] = torch.cat(seen)
        vectors = augmented(_in_turn(unit, self._vectors[number], batch), unit.threshold_a, batch.seeds[0])
        if unit.input_mode == "merge":
            vectors = vectors.mean(dim=0, keepdim=True)
        return Revision(unit=unit, hires=self._hires, vectors=vectors)

    def _encoded(self, pixels: Tensor) -> Tensor:
        """Their most likely latents (1, C, h, w), on the CPU."""
        model = self._model
        size = (side // model.downscale for side in pixels.shape[-2:])
        return model.encode(pixels, torch.zeros(1, model.latent_channels, *size)).float().cpu()

    def image_prompt(
        self, number: int, unit: ControlUnit, name: str, adapter: IPAdapter, batch: Batch, size: tuple[int, int]
    ) -> ImagePrompt:
        """The unit's pictures as words that the U-Net reads beside the prompt."""
        words, mask = self.words(number, unit, name, adapter, batch), mask_of(unit, number, size)
        if isinstance(adapter, FaceAdapter):
            return FacePrompt(unit=unit, hires=self._hires, adapter=adapter, words=words, mask=mask, bare=self._bare)
        return ImagePrompt(unit=unit, hires=self._hires, adapter=adapter, words=words, mask=mask)

    def words(self, number: int, unit: ControlUnit, name: str, adapter: IPAdapter, batch: Batch) -> Words:
        """The unit's pictures as words; those that count together are all said. Raises InputError for one without a face that is needed."""
        if number not in self._words:
            pictures = [one[:, :, :3] for one in self.pictures.of(number, unit)]
            seen = None
            if not isinstance(adapter, FaceAdapter) or adapter.kind == FACE_ID_PLUS:
                vision = self._tools.controls.vision(adapter.embedded, name, whole=adapter.whole)
                views = torch.cat([look(vision, one, whole=adapter.whole) for one in pictures])
                seen = views, look(vision, None, whole=adapter.whole)
            if isinstance(adapter, FaceAdapter):
                self._words[number] = adapter.of_faces(self._faces(number, adapter, pictures), seen)
            elif seen:
                self._words[number] = adapter.words(*seen)
        words = self._words[number]
        if unit.input_mode == "merge":
            count = len(words.shown)
            shown, nothing = words.shown.flatten(0, 1)[None], words.nothing.repeat(1, count, 1)
            words = Words(shown=shown, nothing=nothing)
        elif unit.input_mode == "batch":
            words = replace(words, shown=_in_turn(unit, words.shown, batch))
        return words

    def _faces(self, number: int, adapter: FaceAdapter, pictures: Sequence[Pixels]) -> Tensor:
        """Whose faces are in the pictures (P, 512)."""
        reader = self._tools.preprocessors.get(READERS[adapter.kind])
        try:
            return torch.cat([reader.run(one)["face"] for one in pictures])
        except InputError as error:
            raise InputError(f"control.{number}.image", error.message) from error

    def _union_type(self, unit: ControlUnit, by_type: Mapping[str, str]) -> str:
        """The kind of control that a network for several is told: the user's word, or what the preprocessor makes."""
        if unit.union_control_type != UNKNOWN:
            return unit.union_control_type
        entry = self._tools.catalogue.preprocessor(unit.module)
        return next((by_type[kind] for kind in (entry.name, *entry.types) if kind in by_type), UNKNOWN)


def _in_turn(unit: ControlUnit, each: Tensor, batch: Batch) -> Tensor:
    """What was made of the unit's pictures (P, ...), of several in turn that of each picture of the batch."""
    if unit.input_mode != "batch":
        return each
    return each[[position % len(each) for position in batch.positions]]
