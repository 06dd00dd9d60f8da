"""Weights that stay packed in memory: tensors of the shape they unpack to, unpacked whenever they are computed with.

Splitting into rows, joining rows and moving keep them packed, so that renaming and converting a checkpoint does; any other function
of torch is given ordinary tensors. ggml's blocks lie along rows, and are unpacked by diffusers' functions. A convolution's kernels are
rows too, each of the numbers of one output.
"""

import math
from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

_COMPUTED = ("T", "mT", "H", "mH")  # the attributes that are other tensors
_ROWS = ("chunk", "split", "split_with_sizes", "tensor_split", "narrow")


class Codec(Protocol):
    """How rows are packed. Equal codecs pack alike. `kept`: linear layers hold their weights so."""

    kept: bool

    def unpack(self, packed: Tensor, columns: int) -> Tensor:
        """Packed rows -> (rows, columns), in a type that holds their values."""
        ...


class PackedTensor(Tensor):
    """(rows, columns) or (rows, *row) of the dtype that it is computed in. Inference only."""

    packed: Tensor
    codec: Codec

    @staticmethod
    def __new__(
        cls, packed: Tensor, codec: Codec, columns: int | tuple[int, ...], dtype: torch.dtype
    ) -> "PackedTensor":
        """`packed` holds one packed row a row. `columns`: how many numbers that is, or the shape of a row."""
        shape = (len(packed), *((columns,) if isinstance(columns, int) else columns))
        return torch.Tensor._make_wrapper_subclass(cls, shape, dtype=dtype, device=packed.device)  # type: ignore[attr-defined]

    def __init__(self, packed: Tensor, codec: Codec, columns: int | tuple[int, ...], dtype: torch.dtype) -> None:
        self.packed = packed
        self.codec = codec

    def __repr__(self, *, tensor_contents: Any = None) -> str:
        return f"PackedTensor({tuple(self.shape)}, {self.dtype}, {self.codec})"

    def __tensor_flatten__(self) -> tuple[list[str], Any]:
        return ["packed"], (self.codec, tuple(self.shape[1:]), self.dtype)

    @staticmethod
    def __tensor_unflatten__(inner: dict[str, Tensor], meta: Any, size: Any, stride: Any) -> "PackedTensor":
        return PackedTensor(inner["packed"], *meta)

    def unpacked(self) -> Tensor:
        """The ordinary tensor it stands for."""
        rows = self.codec.unpack(self.packed, math.prod(self.shape[1:]))
        return rows.to(self.dtype).reshape(self.shape)

    def over(self, packed: Tensor, dtype: torch.dtype | None = None) -> "PackedTensor":
        """Other rows packed alike."""
        return PackedTensor(packed, self.codec, tuple(self.shape[1:]), dtype or self.dtype)

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        kept = _kept_packed(func, args, kwargs)
        if kept is not None:
            return kept
        if _tells(func):
            with torch._C.DisableTorchFunctionSubclass():
                return func(*args, **kwargs)
        return func(*_unpacked(args), **{name: _unpacked(value) for name, value in kwargs.items()})

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return func(*_unpacked(args), **{name: _unpacked(value) for name, value in (kwargs or {}).items()})


def settled(tensor: Tensor, device: torch.device, dtype: torch.dtype, *, linear: bool) -> Tensor:
    """A weight where and as it is computed with: packed ones stay so in linear layers, if their codec says so."""
    if isinstance(tensor, PackedTensor) and not (linear and tensor.codec.kept):
        return tensor.unpacked().to(device, dtype)
    return tensor.to(device, dtype)


def _tells(func: Any) -> bool:
    """Does it tell something of a tensor, rather than compute with it?"""
    name, owner = func.__name__, getattr(getattr(func, "__self__", None), "__name__", "")
    if name == "__get__":
        return owner not in _COMPUTED
    return name in (
        "__set__",
        "dim",
        "size",
        "numel",
        "stride",
        "is_floating_point",
        "is_complex",
        "requires_grad_",
        "__len__",
    )


def _kept_packed(func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """What the operation gives without unpacking; None for those that need the values."""
    name, first = func.__name__, args[0] if args else None
    if name in ("cat", "concat"):
        return _joined(*args, **kwargs)
    if not isinstance(first, PackedTensor):
        return None
    if name in ("detach", "clone", "contiguous") or (name == "__get__" and func.__self__.__name__ == "data"):
        return first.over(first.packed)
    if name == "to":
        device, dtype, *_ = torch._C._nn._parse_to(*args[1:], **kwargs)  # type: ignore[attr-defined]
        if dtype is None or dtype.is_floating_point:
            return first.over(first.packed.to(device or first.device), dtype)
    if name == "__getitem__" and isinstance(args[1], slice):
        return first.over(first.packed[args[1]])
    if name in _ROWS and (args[2] if len(args) > 2 and name != "narrow" else kwargs.get("dim", 0)) in (0, -first.ndim):
        return _rows(name, first, args, kwargs)
    return None


def _rows(name: str, tensor: PackedTensor, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """Some of the rows; None if `narrow` is asked for columns."""
    if name == "narrow" and (args[1] if len(args) > 1 else kwargs["dim"]) not in (0, -tensor.ndim):
        return None
    found = getattr(tensor.packed, name)(*args[1:], **kwargs)
    return tuple(tensor.over(part) for part in found) if isinstance(found, list | tuple) else tensor.over(found)


def _joined(tensors: Sequence[Any], dim: int = 0) -> Any:
    first = tensors[0]
    alike = dim in (0, -first.ndim) and all(
        isinstance(t, PackedTensor) and (t.codec, t.shape[1:]) == (first.codec, first.shape[1:]) for t in tensors
    )
    return first.over(torch.cat([t.packed for t in tensors])) if alike else None


def _unpacked(value: Any) -> Any:
    if isinstance(value, PackedTensor):
        return value.unpacked()
    if isinstance(value, list | tuple):
        return type(value)(_unpacked(part) for part in value)
    return value
