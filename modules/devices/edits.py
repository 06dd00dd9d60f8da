"""What may be changed in a converted model before it is compiled: weights, what layers are given, and what is added to a U-Net's skips.

The model's layers keep the names that PyTorch gave them: a weight is a constant `self.PATH.weight`, and what is computed with it is
called `__module.PATH/...`. Weights in int8 have lost theirs, and are found by what computes with them.
"""

import re
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from modules.devices.conversion import Traced, convert
from modules.devices.slots import Additions, Slots

_CONSTANT = re.compile(r"self\.(.+?)(?:\.|\._openvino_orig_)(weight|bias)(?:_compressed)?")
_SKIP = re.compile(r"__module\.(?:\w+\.)*up_blocks\.\d+/aten::cat/Concat(?:_\d+)?")
_SMOOTHED = "nncf_smooth_quant"
_LARGEST = 127  # of int8, both ways


@dataclass(frozen=True, kw_only=True)
class Edits:
    """`weights` in place of those of that name, such as "unet.conv_in.weight"; a layer that had no bias gets one.

    They are asked for when they are needed. `before`: what a linear layer's input (B, T, D) goes through first, by the layer's path. `key` is another one for others.
    `additions` are none of what is compiled: they may change without that.
    """

    key: Hashable = ()
    weights: Callable[[], Mapping[str, Tensor]] = dict
    before: Mapping[str, nn.Module] = field(default_factory=dict)
    additions: Additions | None = None

    def make(self, model: Any) -> Slots | None:
        """Change an OpenVINO model so; raises LookupError for a layer that it does not have. What is returned has room for `additions`,
        if there are any."""
        weights = self.weights()
        if not weights and not self.before and not self.additions:
            return None
        layers = _Layers(model)
        for name, tensor in weights.items():
            path, _, part = name.rpartition(".")
            layers.give(path, part, tensor)
        for path, module in self.before.items():
            layers.put_before(path, module)
        model.validate_nodes_and_infer_types()
        return Slots(model, layers.sources) if self.additions else None


class _Layers:
    """The layers of a model, by their paths."""

    def __init__(self, model: Any) -> None:
        self._constants: dict[tuple[str, str], Any] = {}
        self._computed: dict[str, Any] = {}
        for node in model.get_ops():
            name, kind = node.get_friendly_name(), node.get_type_name()
            if kind == "Constant" and (match := _CONSTANT.fullmatch(name)):
                self._constants[match[1], match[2]] = node
            elif kind in ("MatMul", "Convolution") and name.startswith("__module."):
                self._computed[name.split("/")[0].removeprefix("__module.")] = node

    @property
    def sources(self) -> dict[str, tuple[Any, Any]]:
        """Each layer, and what it reads before that is rounded, by the layer's path."""
        return {path: (node, _first(node).input_value(0)) for path, node in self._computed.items()}

    def give(self, path: str, part: str, tensor: Tensor) -> None:
        """Exchange a weight or a bias."""
        constant = self._constants.get((path, part))
        if constant is not None:
            whole = constant.get_element_type().size == 4  # nothing converts it behind this
            constant.output(0).replace(_constant(tensor.float() if whole else tensor).output(0))
        elif part == "bias":
            self._add(self._of(path), tensor)
        else:
            self._give_quantised(self._of(path), tensor)

    def _of(self, path: str) -> Any:
        if path not in self._computed:
            raise LookupError(f"the converted model has no layer {path}")
        return self._computed[path]

    def _add(self, node: Any, bias: Tensor) -> None:
        """A bias behind a layer that has none."""
        from openvino import opset13

        shape = (1, -1, 1, 1) if node.get_type_name() == "Convolution" else (-1,)
        readers = list(node.output(0).get_target_inputs())
        added = opset13.add(node.output(0), _constant(bias.float().reshape(shape)))
        for reader in readers:
            reader.replace_source_output(added.output(0))

    def _give_quantised(self, node: Any, weight: Tensor) -> None:
        """Exchange a weight that is kept as int8 times the scales of its outputs."""
        times = node.input_value(1).get_node()
        convert = times.input_value(0).get_node()
        held = convert.input_value(0).get_node()
        if [one.get_type_name() for one in (times, convert, held)] != ["Multiply", "Convert", "Constant"]:
            raise LookupError(f"the weight of {node.get_friendly_name()} is not kept as it is known here")
        _, smooth = _quantiser(node)
        matrix = weight.float().flatten(1)
        if smooth is not None:
            matrix = matrix / torch.tensor(smooth.input_value(1).get_node().data).reshape(1, -1)
        scales = matrix.abs().amax(dim=1, keepdim=True).clamp_(min=1e-20) / _LARGEST
        rounded = (matrix / scales).round_().to(torch.int8).reshape(weight.shape)
        held.output(0).replace(_constant(rounded).output(0))
        shape = tuple(times.input_value(1).get_node().shape)
        times.input_value(1).replace(_constant(scales.reshape(shape)).output(0))

    def put_before(self, path: str, module: nn.Module) -> None:
        """Let a linear layer's input go through a module first. What that says is not rounded: it may be beyond the range that was
        measured without it."""
        from openvino import opset13

        node = self._of(path)
        _, smooth = _quantiser(node)
        source = _first(node).input_value(0)
        width = int(source.get_partial_shape()[-1].get_length())
        example = torch.zeros(2, 3, width)
        inner = convert(Traced(module=module, examples=(example,), shapes=((None, None, width),)))
        for reader in inner.inputs[0].get_target_inputs():
            reader.replace_source_output(source)
        found = inner.get_results()[0].input_value(0)
        if smooth is not None:
            smoothed = opset13.multiply(found, smooth.input_value(1))
            smoothed.set_friendly_name(f"{path}/{_SMOOTHED}")
            found = smoothed.output(0)
        node.input(0).replace_source_output(found)


def _quantiser(node: Any) -> tuple[Any, Any]:
    """What rounds a layer's input, and what multiplies it before that; None for what is not there."""
    rounding = smooth = None
    above = node.input_value(0).get_node()
    if above.get_type_name() == "FakeQuantize":
        rounding, above = above, above.input_value(0).get_node()
    if above.get_type_name() == "Multiply" and _SMOOTHED in above.get_friendly_name():
        smooth = above
    return rounding, smooth


def _first(node: Any) -> Any:
    """What a layer's input goes into first: the layer, or what multiplies and rounds it before."""
    rounding, smooth = _quantiser(node)
    return smooth or rounding or node


def _constant(tensor: Tensor) -> Any:
    """The tensor as a constant, over the same memory but for bfloat16, which numpy does not know: its memory would not be kept."""
    import openvino
    from openvino import op

    tensor = tensor.detach().contiguous()
    if tensor.dtype is torch.bfloat16:
        held = openvino.Tensor(tensor.view(torch.int16).numpy(), list(tensor.shape), openvino.Type.bf16)
        return op.Constant(held, shared_memory=False)
    return op.Constant(tensor.numpy(), shared_memory=True)


def add_to_skips(model: Any, count: int) -> None:
    """Let a U-Net's skips and its middle be added to: `count` more inputs (1, C, h, w), the skips' in the order that a U-Net makes them
    in, the middle's last. Raises LookupError for a model with another number of skips.
    """
    import numpy as np
    from openvino import opset13

    joins = [node for node in model.get_ordered_ops() if _SKIP.fullmatch(node.get_friendly_name())]
    if len(joins) != count - 1:
        raise LookupError(f"the converted U-Net has {len(joins)} skips, not {count - 1}")
    places = [node.input(1) for node in reversed(joins)] + [joins[0].input(0)]
    added = []
    for place in places:
        source = place.get_source_output()
        found = opset13.parameter(source.get_partial_shape(), np.float32)
        place.replace_source_output(opset13.add(source, found).output(0))
        added.append(found)
    model.add_parameters(added)
    model.validate_nodes_and_infer_types()
