"""How a part of a model comes to run compiled: by the inputs that it is traced with."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from modules.devices.compiled import CompiledPart, CompiledRuntime
from modules.devices.conversion import Shape, Traced
from modules.families.alterable import Build, kept_type
from modules.families.source import Tell

Input = tuple[Tensor, Shape]
"""An example of it, and the shape that it is compiled for; its first axis is 1 where rows are worked off one by one."""


def traced_part(
    runtime: CompiledRuntime,
    role: str,
    weights: Mapping[str, Tensor],
    wrap: Callable[[Any], nn.Module],
    build: Build,
    inputs: Sequence[Input],
    tell: Tell,
) -> CompiledPart:
    """What `wrap` makes of the built module, compiled; traced for any number of rows. Raises what OpenVINO or the disk raise."""

    def trace() -> Traced:
        return Traced(
            module=wrap(build(kept_type(weights))).eval(),
            examples=tuple(example for example, _ in inputs),
            shapes=tuple((None, *shape[1:]) for _, shape in inputs),
        )

    shapes = tuple(shape for _, shape in inputs)
    return runtime.part(role, weights, trace, shapes, tell, by_row=shapes[0][0] == 1)


def unet_inputs(config: Mapping[str, Any], *more: Input) -> list[Input]:
    """Of a U-Net, or of a ControlNet as one: x (N, C, h, w), t (N,), states (N, T, D), more, and labels (N, V) if it has any."""
    channels, width = config["in_channels"], config["cross_attention_dim"]
    vector = config.get("projection_class_embeddings_input_dim")
    return [
        # sizes that are halved unevenly, so that the way such sizes go is the one that is kept
        (torch.zeros(2, channels, 19, 13), (1, channels, -1, -1)),
        (torch.ones(2), (1,)),
        (torch.zeros(2, 77, width), (1, None, width)),
        *more,
        *([(torch.zeros(2, vector), (1, vector))] if vector else []),
    ]
