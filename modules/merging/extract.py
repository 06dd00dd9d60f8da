"""A LoRA from the difference of two checkpoints."""

import json

import torch
from torch import Tensor

from modules.core.errors import InputError
from modules.merging.casting import FLOATS, computable
from modules.merging.lora import ALPHA, DOWN, UP
from modules.merging.lora_keys import Place, Places
from modules.merging.low_rank import factored
from modules.merging.sources import Source, check_alike
from modules.merging.writer import Form
from modules.requests.merge import ExtractLoraRequest

FIELDS = ("tuned_model_name", "base_model_name")


class Extraction:
    """The LoRA's tensors by name; a layer is computed when its first one is asked for. Layers that do not differ are left out.

    `others`: how many weights differ that no LoRA of this request can hold (biases, norms, layers that were not asked for).
    Raises InputError for checkpoints that do not fit together or do not differ.
    """

    def __init__(self, request: ExtractLoraRequest, tuned: Source, base: Source, device: torch.device) -> None:
        check_alike((tuned, base), FIELDS, ("tuned", "base"))
        self._request = request
        self._tuned, self._base, self._device = tuned, base, device
        places = Places(tuned.tensors, tuned.checkpoint.name)
        self.version = places.base
        common = [name for name in tuned.tensors if name in base.tensors]
        differing = {name for name in common if not _equal(tuned.tensors[name], base.tensors[name])}
        self._places = {
            name: place
            for name, place in places.written.items()
            if place.key in differing and self._rank(place) and not self._same(place)
        }
        self.others = len(differing - {place.key for place in self._places.values()})
        if not self._places:
            raise InputError(
                FIELDS[1],
                f'"{tuned.checkpoint.name}" and "{base.checkpoint.name}" do not differ in what a LoRA of these choices holds. Choose another base, or conv_rank above 0.',
            )
        self._forms = self.forms()
        self._last: tuple[str, Tensor, Tensor] | None = None

    def forms(self) -> dict[str, Form]:
        """What every tensor will be."""
        dtype, found = FLOATS[self._request.precision], {}
        for name, place in self._places.items():
            out, *into = place.of(self._base.tensors[place.key]).shape
            rank = self._rank(place)
            ones = (1,) * (len(into) - 1)
            found[f"{name}.{DOWN}"] = (dtype, (rank, *into))
            found[f"{name}.{UP}"] = (dtype, (out, rank, *ones))
            found[f"{name}.{ALPHA}"] = (torch.float32, ())
        return found

    def tensor(self, name: str) -> Tensor:
        """That tensor."""
        module, _, part = name.partition(".")
        place = self._places[module]
        if part == ALPHA:
            return torch.tensor(float(self._rank(place)))
        if self._last is None or self._last[0] != module:
            self._last = (module, *factored(self._difference(place).flatten(1).to(self._device), self._rank(place)))
        dtype, shape = self._forms[name]
        _, up, down = self._last
        return (up if part == UP else down).reshape(shape).to(dtype).cpu()

    def metadata(self, name: str) -> dict[str, str]:
        """What kohya's trainer says of a LoRA of that name."""
        rank, conv = self._request.rank, self._request.conv_rank
        return {
            "format": "pt",
            "ss_network_module": "networks.lora",
            "ss_network_dim": str(rank),
            "ss_network_alpha": str(float(rank)),
            "ss_base_model_version": self.version,
            "ss_v2": str(self.version == "sd_v2"),
            "ss_output_name": name,
            "ss_sd_model_name": self._base.checkpoint.name,
            **(
                {"ss_network_args": json.dumps({"conv_dim": str(conv), "conv_alpha": str(float(conv))})} if conv else {}
            ),
        }

    def _rank(self, place: Place) -> int:
        """The rank of a layer; 0 for what was not asked for."""
        request = self._request
        wanted = request.conv_rank if place.group == "other" else request.rank
        if place.group == "text" and not request.text_encoder:
            return 0
        out, *into = place.of(self._base.tensors[place.key]).shape
        return min(wanted, out, torch.Size(into).numel())

    def _same(self, place: Place) -> bool:
        return _equal(place.of(self._tuned.tensors[place.key]), place.of(self._base.tensors[place.key]))

    def _difference(self, place: Place) -> Tensor:
        tuned, base = (computable(place.of(s.tensors[place.key])).float() for s in (self._tuned, self._base))
        return tuned - base


def _equal(a: Tensor, b: Tensor) -> bool:
    a, b = computable(a), computable(b)
    if a.dtype != b.dtype:
        a, b = a.float(), b.float()
    return a.shape == b.shape and torch.equal(a, b)
