"""Small networks that come as a file of their own, such as detectors and taggers, for OpenVINO on the CPU."""

from pathlib import Path
from typing import Any


def read_network(path: Path) -> Any:
    """An ONNX file, or one of OpenVINO's own, as a model that may be reshaped; raises RuntimeError for another."""
    import openvino

    return openvino.Core().read_model(path)


def compiled(model: Any) -> Any:
    """In float32, as those who made it measured it: OpenVINO's own choice is bfloat16 where the CPU has it."""
    import openvino

    return openvino.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
