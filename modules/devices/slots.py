"""Places in a compiled model where LoRAs are put without compiling it again: y = W x + B A x, with A and B as more of its inputs.

Each linear layer and each convolution of one place (1 x 1) has one. Of how many ranks A and B are is open, so that several LoRAs stand
behind one another in them; what no LoRA changes has one rank of zeros.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

Factors = tuple[Tensor, Tensor]
"""B (out, r) and A (r, in), float32."""

_BETWEEN = ("Convert", "Multiply")
"""What may stand between a constant weight and its layer: it is kept in 16 bits, or in int8 times scales."""


@dataclass(frozen=True, kw_only=True)
class Additions:
    """`factors`: what is added to layers, by their paths; asked for when they are needed. `key` is another one for others."""

    key: Hashable
    factors: Callable[[], Mapping[str, Factors]]


def joined(additions: Sequence[Additions], within: str) -> Additions:
    """All of them, their layers within one of that path."""

    def factors() -> Mapping[str, Factors]:
        found: dict[str, list[Factors]] = {}
        for one in additions:
            for path, pair in one.factors().items():
                found.setdefault(within + path, []).append(pair)
        return {path: stacked(pairs) for path, pairs in found.items()}

    return Additions(key=tuple(one.key for one in additions), factors=factors)


def stacked(pairs: Sequence[Factors]) -> Factors:
    """The sum of some products as one."""
    if len(pairs) == 1:
        return pairs[0]
    return torch.cat([up for up, _ in pairs], dim=1), torch.cat([down for _, down in pairs])


@dataclass(frozen=True, kw_only=True)
class _Slot:
    """Of a layer: the sizes of its weight, and which inputs of the model B and A are."""

    out: int
    into: int
    up: int
    down: int


class Slots:
    """Those that are made in an OpenVINO model, before it is compiled, behind the inputs that it has."""

    def __init__(self, model: Any, sources: Mapping[str, tuple[Any, Any]]) -> None:
        """`sources`: by its path, a layer and the output that it reads, before anything rounds that."""
        self._slots: dict[str, _Slot] = {}
        first, added = len(model.inputs), []
        for path, (node, source) in sources.items():
            if (sizes := _sizes(node)) is not None:
                place = first + len(added)
                added += _add(node, source, *sizes)
                self._slots[path] = _Slot(out=sizes[0], into=sizes[1], up=place, down=place + 1)
        model.add_parameters(added)
        model.validate_nodes_and_infer_types()

    def fill(self, request: Any, additions: Additions) -> list[Any]:
        """Let a request for the compiled model compute with these; raises LookupError for a layer that the model does not have.

        What is returned must live as long as it does.
        """
        import openvino

        factors, held = additions.factors(), []
        if unknown := sorted(factors.keys() - self._slots.keys()):
            raise LookupError(f"the converted model has no layer {unknown[0]}")
        for path, slot in self._slots.items():
            up, down = factors.get(path) or (torch.zeros(slot.out, 1), torch.zeros(1, slot.into))
            for place, tensor in ((slot.up, up), (slot.down, down)):
                array = np.ascontiguousarray(tensor.float().numpy())
                request.set_input_tensor(place, openvino.Tensor(array, shared_memory=True))
                held.append(array)
        return held


def _sizes(node: Any) -> tuple[int, int] | None:
    """Outputs and inputs of a layer; None if it is no linear one, or a larger convolution."""
    weight = node.input_value(1).get_node()
    while weight.get_type_name() in _BETWEEN:
        weight = weight.input_value(0).get_node()
    if weight.get_type_name() != "Constant":
        return None
    shape, told = list(node.input_value(1).get_shape()), node.get_attributes()
    if node.get_type_name() == "MatMul":
        return (shape[0], shape[1]) if len(shape) == 2 and told["transpose_b"] else None
    moves = any(n != 1 for n in told["strides"]) or any(told["pads_begin"])
    return None if moves or shape[2:] != [1, 1] else (shape[0], shape[1])


def _add(node: Any, source: Any, out: int, into: int) -> list[Any]:
    """Two more parameters, B and A, and what they come to behind a layer."""
    from openvino import opset13

    up, down = opset13.parameter([out, -1], np.float32), opset13.parameter([-1, into], np.float32)
    readers = list(node.output(0).get_target_inputs())
    if node.get_type_name() == "MatMul":
        found = opset13.matmul(opset13.matmul(source, down, False, True), up, False, True)
    else:  # (N, in, h, w), whose places are columns
        columns = opset13.reshape(source, np.array([0, into, -1]), special_zero=True)
        product = opset13.matmul(up, opset13.matmul(down, columns, False, False), False, False)
        found = opset13.reshape(product, opset13.shape_of(node.output(0)), special_zero=False)
    whole = opset13.add(node.output(0), found)
    for reader in readers:
        reader.replace_source_output(whole.output(0))
    return [up, down]
