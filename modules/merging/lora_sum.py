"""LoRAs added up: to one LoRA, or onto a checkpoint."""

import json
import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from modules.core.errors import InputError, ModelFileError
from modules.merging.casting import FLOATS, computable
from modules.merging.lora import ALPHA, DOWN, UP, Lora
from modules.merging.lora_keys import Place, Places
from modules.merging.low_rank import shrunk
from modules.merging.sources import Source, legacy_hash, said
from modules.merging.writer import Form

Weighted = Sequence[tuple[Lora, float]]
BASE = "ss_base_model_version"


def check_one_kind(loras: Weighted) -> None:
    """Raise InputError for LoRAs that are for different kinds of model, as far as they tell."""
    first = loras[0][0]
    for other, _ in loras[1:]:
        bases = [lora.metadata.get(BASE, "") for lora in (first, other)]
        if first.for_xl != other.for_xl or (all(bases) and bases[0] != bases[1]):
            kinds = [
                base or ("Stable Diffusion XL" if lora.for_xl else "Stable Diffusion 1.x or 2.x")
                for base, lora in zip(bases, (first, other), strict=True)
            ]
            raise InputError(
                "loras",
                f'"{first.name}" is for {kinds[0]} and "{other.name}" for {kinds[1]}: choose LoRAs for one kind of model.',
            )


class LoraSum:
    """The LoRA that does what these do together. `rank` 0 keeps every one's: exact, and as wide as all of them side by side.

    Raises InputError or ModelFileError for LoRAs that do not fit together.
    """

    def __init__(self, loras: Weighted, rank: int, precision: str) -> None:
        check_one_kind(loras)
        self._loras = tuple(loras)
        self._rank = rank
        self._dtype = FLOATS[precision]
        self._names = list(dict.fromkeys(name for lora, _ in loras for name in lora.modules))
        self._forms = {key: form for name in self._names for key, form in self._forms_of(name)}
        self._last: tuple[str, Tensor, Tensor] | None = None

    def forms(self) -> dict[str, Form]:
        """What every tensor will be."""
        return self._forms

    def tensor(self, name: str) -> Tensor:
        """That tensor."""
        module, _, part = name.partition(".")
        dtype, shape = self._forms[name]
        if part == ALPHA:
            return torch.tensor(float(self._forms[f"{module}.{DOWN}"][1][0]))
        if self._last is None or self._last[0] != module:
            self._last = (module, *self._factors(module))
        _, up, down = self._last
        return (up if part == UP else down).reshape(shape).to(dtype)

    def metadata(self, name: str) -> dict[str, str]:
        """What the file says of itself: kohya's fields, and what it was merged from."""
        dim = max(form[1][0] for key, form in self._forms.items() if key.endswith(DOWN))
        base = next((lora.metadata[BASE] for lora, _ in self._loras if lora.metadata.get(BASE)), "")
        return {
            "format": "pt",
            "ss_network_module": "networks.lora",
            "ss_network_dim": str(dim),
            "ss_network_alpha": str(float(dim)),
            "ss_output_name": name,
            **({BASE: base} if base else {}),
            "sd_merge_recipe": json.dumps(recipe_of(self._loras, self._rank)),
        }

    def _forms_of(self, name: str) -> Iterator[tuple[str, Form]]:
        found = [lora.modules[name] for lora, _ in self._loras if name in lora.modules]
        shapes = {module.shape for module in found}
        if len(shapes) > 1:
            raise ModelFileError(
                f"The LoRAs do not fit together: {name} has different sizes in them. Choose LoRAs for one kind of model."
            )
        out, *into = shapes.pop()
        whole = sum(module.rank for module in found)
        rank = min(self._rank or whole, whole)
        rank = min(rank, out, torch.Size(into).numel()) if rank < whole else whole
        yield f"{name}.{DOWN}", (self._dtype, (rank, *into))
        yield f"{name}.{UP}", (self._dtype, (out, rank, *(1,) * (len(into) - 1)))
        yield f"{name}.{ALPHA}", (torch.float32, ())

    def _factors(self, name: str) -> tuple[Tensor, Tensor]:
        """B (out, r) and A (r, in x kernel): those of all side by side, or the nearest of the wanted rank."""
        ups, downs = [], []
        for lora, weight in self._loras:
            if module := lora.modules.get(name):
                up, down = module.factors()
                # half of the scale to each, so that neither leaves float16's range
                part = weight * module.scale
                ups.append(up * math.copysign(abs(part) ** 0.5, part))
                downs.append(down.flatten(1) * abs(part) ** 0.5)
        up, down = torch.cat(ups, dim=1), torch.cat(downs)
        rank = self._forms[f"{name}.{DOWN}"][1][0]
        return shrunk(up, down, rank) if rank < up.shape[1] else (up, down)


class Baked:
    """A checkpoint with LoRAs added to its weights, tensor by tensor. `left_out`: modules that it has no place for.

    Raises InputError for LoRAs of which nothing fits.
    """

    def __init__(self, source: Source, loras: Weighted) -> None:
        check_one_kind(loras)
        self._source = source
        self._loras = tuple(loras)
        places = Places(source.tensors, source.checkpoint.name).by_name
        self._added: dict[str, list[tuple[Place, str, Lora, float]]] = {}
        self.left_out: list[str] = []
        for lora, weight in loras:
            known = [name for name in lora.modules if name in places]
            if not known:
                raise InputError(
                    "loras",
                    f'"{lora.name}" has no layer that "{source.checkpoint.name}" has: it is for another kind of model.',
                )
            self.left_out += [name for name in lora.modules if name not in places]
            for name in known:
                self._added.setdefault(places[name].key, []).append((places[name], name, lora, weight))
        self._check_shapes()

    def forms(self) -> dict[str, Form]:
        """What every tensor will be: what the checkpoint's are."""
        return {name: (tensor.dtype, tuple(tensor.shape)) for name, tensor in self._source.tensors.items()}

    def tensor(self, name: str) -> Tensor:
        """That tensor: W + sum of w * (alpha / r) * B A, added up in float32."""
        weight = self._source.tensors[name]
        if name not in self._added:
            return weight
        result = computable(weight).float().clone()
        for place, module, lora, amount in self._added[name]:
            up, down = lora.modules[module].factors()
            rows = place.of(result)
            rows += (amount * lora.modules[module].scale * (up @ down.flatten(1))).reshape(rows.shape)
        return result.to(weight.dtype)

    def metadata(self) -> dict[str, str]:
        """The checkpoint's, with what was merged."""
        checkpoint = self._source.checkpoint
        models = {
            checkpoint.sha256 or "": {
                "name": checkpoint.name,
                "legacy_hash": legacy_hash(checkpoint.file),
                "sd_merge_recipe": said(self._source.metadata, "sd_merge_recipe"),
            },
            **(said(self._source.metadata, "sd_merge_models") or {}),
        }
        recipe = {**recipe_of(self._loras, 0), "primary_model_hash": checkpoint.sha256}
        return {
            **self._source.metadata,
            "format": "pt",
            "sd_merge_recipe": json.dumps(recipe),
            "sd_merge_models": json.dumps(models),
        }

    def _check_shapes(self) -> None:
        for key, entries in self._added.items():
            for place, name, lora, _ in entries:
                rows = tuple(place.of(self._source.tensors[key]).shape)
                shape = lora.modules[name].shape
                if shape[0] != rows[0] or torch.Size(shape).numel() != torch.Size(rows).numel():
                    raise InputError(
                        "loras",
                        f'"{lora.name}" does not fit "{self._source.checkpoint.name}": {name} is for {shape}, the weight is {rows}. Choose one for this kind of model.',
                    )


def recipe_of(loras: Weighted, rank: int) -> dict[str, Any]:
    """Which LoRAs were merged, with which weights."""
    parts = [{"name": lora.name, "weight": weight, "modules": len(lora.modules)} for lora, weight in loras]
    return {"type": "atelier-lora", "loras": parts, "rank": rank}
