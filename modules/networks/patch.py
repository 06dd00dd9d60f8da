"""Changed weights, put into a model's layers and taken out again.

A layer's parameter is given another tensor; the one it had is kept as it is, so that taking out is putting back. Nothing is
computed on the way back, and what was there is there again to the last bit.
"""

import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from modules.families.packed import PackedTensor
from modules.networks.adapted import AdaptedCodec
from modules.networks.kinds.change import Change, on
from modules.networks.kinds.ia3 import PeftIa3
from modules.networks.kinds.lora import Lora
from modules.networks.targets import Target

Key = tuple["weakref.ref[nn.Module]", str]
"""A parameter: its module, which nothing here keeps in memory, and its name there."""


Held = TypeVar("Held")

PIECE = 2**20
"""Numbers of a weight that are worked on at a time."""


@dataclass(frozen=True, kw_only=True)
class Use:
    """One change of one layer, times `amount`; `rank`: as Change.difference has it."""

    target: Target
    change: Change
    amount: float
    rank: int | None = None


def changed(weight: Tensor, use: Use, out: Tensor | None = None) -> Tensor:
    """W (out, in, ...), float32 -> W + amount D(W). `out`: a tensor of its shape to write into, if that is possible."""
    if isinstance(use.change, Lora):
        up, down = use.change.factors(weight, use.rank)
        matrix = weight.flatten(1)
        into = out.view(matrix.shape) if out is not None and out.is_contiguous() else None
        found = torch.addmm(matrix, up, down, alpha=use.amount * use.change.scale, out=into)  # pyright: ignore[reportCallIssue, reportArgumentType]
        return found.reshape(weight.shape)
    return weight + use.amount * use.change.difference(weight, use.rank).reshape(weight.shape)


def changed_in_pieces(weight: Tensor, use: Use, *, rough: bool) -> Tensor:
    """The same of a LoRA and a weight of 16 bits, for the CPU: a few rows in float32 at a time, so that none of it leaves the cache.

    `rough`: the products are computed in bfloat16, whose rounding is small beside that of the weight.
    """
    assert isinstance(use.change, Lora)
    up, down = use.change.factors(torch.empty(0), use.rank)
    up = up * (use.amount * use.change.scale)
    if rough:
        up, down = up.bfloat16(), down.bfloat16()
    new = torch.empty_like(weight)
    rows = max(PIECE // down.shape[1], 1)
    piece = torch.empty(rows, down.shape[1])
    for old, out, part in zip(
        weight.flatten(1).split(rows), new.view(len(new), -1).split(rows), up.split(rows), strict=True
    ):
        now = piece[: len(old)].copy_(old)
        out.copy_(now.add_(part @ down) if rough else now.addmm_(part, down))
    return new


def _in_pieces(weight: Any, use: Use) -> bool:
    """Is it a LoRA and a weight of 16 bits on the CPU?"""
    plain = weight.device.type == "cpu" and weight.is_contiguous() and weight.dtype in (torch.float16, torch.bfloat16)
    return plain and isinstance(use.change, Lora)


class Patched:
    """The layers that some changes touch, with their changed tensors, in or out. Not for several threads at once.

    `device`: where is computed. `spare`: tensors of an earlier patch, which are overwritten. `lean`: the tensors that were there
    wait in the CPU's memory, and the changed ones are computed one after the other as they are put in, each time anew. `rough`: what
    is added to weights of 16 bits may be computed in bfloat16.
    """

    def __init__(
        self,
        uses: Iterable[Use],
        device: torch.device,
        spare: Mapping[Key, Tensor] | None = None,
        *,
        lean: bool = False,
        rough: bool = False,
    ) -> None:
        self._device = device
        self._rough = rough
        self._spare = spare or {}
        self._lean = lean
        self._new: dict[Key, Tensor] = {}
        self._old: dict[Key, Tensor | None] = {}
        self._codecs: weakref.WeakKeyDictionary[nn.Module, tuple[Any, Any]] = weakref.WeakKeyDictionary()
        self._is_in = False
        self._groups = _groups(uses) if lean else []
        for group in () if lean else _groups(uses):
            self._prepare(group)

    @property
    def tensors(self) -> Mapping[Key, Tensor]:
        """The changed ones, for a later patch to overwrite once this one is out for good."""
        return self._new

    @property
    def unpacked(self) -> Iterator[tuple[nn.Module, Tensor]]:
        """Layers whose weights stay packed, and those weights as they are unpacked with what is added."""
        for module, (codec, _) in self._codecs.items():
            weight: Any = module.weight
            yield module, codec.unpack(weight.packed, weight.shape[1])

    @property
    def size(self) -> int:
        """Bytes of the changed tensors."""
        return sum(tensor.nbytes for tensor in self._new.values())

    def put_in(self) -> None:
        """From now on the changed tensors count."""
        if self._is_in:
            return
        self._is_in = True
        self._exchange()
        for group in self._groups:
            self._prepare(group)
            self._exchange()
            self._new = {}
        for module, (codec, _) in self._codecs.items():
            module.weight.codec = codec  # pyright: ignore[reportAttributeAccessIssue]

    def _exchange(self) -> None:
        for key, module, tensor in _alive(self._new):
            parameter = module._parameters.get(key[1])
            if parameter is None:
                module._parameters[key[1]] = nn.Parameter(tensor, requires_grad=False)
                self._old[key] = None
            else:
                old = parameter.data
                self._old[key] = old.cpu() if self._lean else old
                parameter.data = tensor.to(old.device)

    def take_out(self) -> None:
        """From now on those that were there count again."""
        if not self._is_in:
            return
        self._is_in = False
        for key, module, old in _alive(self._old):
            parameter = module._parameters[key[1]]
            if old is None:
                module._parameters[key[1]] = None
            elif parameter is not None:
                parameter.data = old.to(parameter.device)
        for module, (_, codec) in self._codecs.items():
            module.weight.codec = codec  # pyright: ignore[reportAttributeAccessIssue]
        self._old = {}
        if self._lean:
            self._codecs.clear()

    def _prepare(self, group: Sequence[Use]) -> None:
        """Compute the new tensors of layers that are changed together, one change after the other."""
        modules = list(dict.fromkeys(module for use in group for module in use.target.modules))
        if any(isinstance(module.weight, PackedTensor) for module in modules):
            self._prepare_packed(group)
        elif len(group) == len(modules) == 1 and self._device.type == "cpu" and _in_pieces(modules[0].weight, group[0]):
            self._keep(modules[0], "weight", changed_in_pieces(modules[0].weight.detach(), group[0], rough=self._rough))  # pyright: ignore[reportArgumentType, reportCallIssue]
        elif len(group) == 1 and len(modules) == 1:
            weight = _weight_of(modules[0], self._device)
            self._keep(modules[0], "weight", changed(weight, group[0], self._room(modules[0], weight)))
        else:
            current = {module: _weight_of(module, self._device) for module in modules}
            for use in group:
                held = use.target.modules
                joint = current[held[0]] if len(held) == 1 else torch.cat([current[m] for m in held])
                parts = changed(joint, use).split([len(current[m]) for m in held])
                current.update(zip(held, parts, strict=True))
            for module, weight in current.items():
                self._keep(module, "weight", weight)
        self._prepare_biases(group)

    def _prepare_packed(self, group: Sequence[Use]) -> None:
        """Weights that stay packed: what is added is added whenever they are unpacked."""
        for use in group:
            first = 0
            for module in use.target.modules:
                count = len(module.weight)  # pyright: ignore[reportArgumentType]
                before = self._codecs.get(module, (module.weight.codec, module.weight.codec))  # pyright: ignore[reportAttributeAccessIssue]
                rows = (first, count, tuple(w.detach() for w in use.target.weights))
                adapted = AdaptedCodec(before[0], use.change, use.amount, use.rank, None if len(rows[2]) == 1 else rows)
                self._codecs[module] = adapted, before[1]
                first += count

    def _prepare_biases(self, group: Sequence[Use]) -> None:
        for use in group:
            if isinstance(use.change, PeftIa3):
                self._scale_biases(use, use.change)
            if use.change.bias is None:
                continue
            sizes = [len(module.weight) for module in use.target.modules]  # pyright: ignore[reportArgumentType]
            for module, part in zip(use.target.modules, use.change.bias.flatten().split(sizes), strict=True):
                old = self._new.get((weakref.ref(module), "bias"), module._parameters.get("bias"))
                added = use.amount * on(module.weight if old is None else old, part)  # pyright: ignore[reportArgumentType]
                self._keep(module, "bias", added if old is None else old.float() + added)

    def _scale_biases(self, use: Use, change: PeftIa3) -> None:
        held = {module: module._parameters.get("bias") for module in use.target.modules}
        old = {m: self._new.get((weakref.ref(m), "bias"), bias) for m, bias in held.items() if bias is not None}
        if not old or len(old) < len(held):
            return
        biases = [bias.detach().float() for bias in old.values()]
        added = use.amount * change.bias_difference(torch.cat(biases))
        for module, bias, more in zip(old, biases, added.split([len(bias) for bias in biases]), strict=True):
            self._keep(module, "bias", bias + more)

    def _keep(self, module: nn.Module, name: str, tensor: Tensor) -> None:
        """Hold the new tensor as the parameter's are: of its type, laid out as it is."""
        like = module._parameters.get(name)
        like = module.weight if like is None else like
        assert isinstance(like, Tensor)
        new = tensor.to(like.device, like.dtype)
        if like.ndim == 4 and new.shape == like.shape and not like.is_contiguous():
            new = new.contiguous(memory_format=torch.channels_last)
        self._new[weakref.ref(module), name] = new

    def _room(self, module: nn.Module, weight: Tensor) -> Tensor | None:
        """A tensor of an earlier patch that the new one can be written into."""
        spare = self._spare.get((weakref.ref(module), "weight"))
        fits = spare is not None and spare.shape == weight.shape
        return spare if fits and (spare.dtype, spare.device) == (torch.float32, weight.device) else None


def _alive(table: Mapping[Key, Held]) -> Iterator[tuple[Key, nn.Module, Held]]:
    """What the table holds of modules that are still there."""
    for key, held in table.items():
        module = key[0]()
        if module is not None:
            yield key, module, held


def _weight_of(module: nn.Module, device: torch.device) -> Tensor:
    """Its weight in float32 on that device."""
    weight = module.weight
    assert isinstance(weight, Tensor)
    return weight.detach().to(device, torch.float32)


def touched(uses: Iterable[Use], device: torch.device) -> int:
    """Bytes of the weights on that device that they change; packed ones take no more."""
    weights = {id(w): w for use in uses for w in use.target.weights if not isinstance(w, PackedTensor)}
    return sum(weight.nbytes for weight in weights.values() if weight.device == device)


def _groups(uses: Iterable[Use]) -> list[list[Use]]:
    """The changes, those of layers that share a module together, in their order."""
    groups: dict[nn.Module, list[Use]] = {}
    for use in uses:
        found: list[Use] = []
        for other in {id(groups[m]): groups[m] for m in use.target.modules if m in groups}.values():
            found += other
        found.append(use)
        for module in {m: None for one in found for m in one.target.modules}:
            groups[module] = found
    return list({id(group): group for group in groups.values()}.values())
