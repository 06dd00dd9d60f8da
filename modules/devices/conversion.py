"""PyTorch's modules as OpenVINO's models."""

import warnings
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

PATCHED = "_openvino_module_extension_patch_orig_forward"
"""Under what name OpenVINO keeps what it replaces while it traces weights of 16 bits."""

Axis = int | None
Shape = tuple[Axis, ...]
"""Of an input: -1 is fixed when it is compiled for the inputs at hand, None may differ from call to call."""


@dataclass(frozen=True, kw_only=True)
class Traced:
    """How a part is traced: the module that is called, examples of its inputs, and their shapes."""

    module: nn.Module
    examples: tuple[Tensor, ...]
    shapes: tuple[Shape, ...]


def convert(traced: Traced) -> Any:
    """OpenVINO's model of a module; weights in 16 bits stay so, and stay where they are.

    By the frontend itself: `openvino.convert_model` would tell its makers of each conversion over the internet.
    """
    import openvino
    from openvino.frontend.frontend import FrontEndManager
    from openvino.frontend.pytorch.patch_model import __make_16bit_traceable as keep_16_bits
    from openvino.frontend.pytorch.patch_model import unpatch_model
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    frontend = FrontEndManager().load_by_framework("pytorch")
    half = any(p.dtype in (torch.float16, torch.bfloat16) for p in traced.module.parameters())
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tracing warns of each shape it looks at
        try:
            if half:
                keep_16_bits(traced.module)  # it replaces torch.bmm as well, for everybody
            decoder = TorchScriptPythonDecoder(traced.module, example_input=traced.examples)
            model = frontend.convert(frontend.load(decoder))
        finally:
            if half:
                unpatch_model(traced.module, PATCHED)
    for found, shape, example in zip(model.inputs, traced.shapes, traced.examples, strict=True):
        found.get_node().set_partial_shape(openvino.PartialShape([-1 if n in (-1, None) else n for n in shape]))
        found.get_node().set_element_type(openvino.Type(example.numpy().dtype))
    model.validate_nodes_and_infer_types()
    return model
