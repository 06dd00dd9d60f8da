"""What pictures or words mean, for the gallery's search."""

import base64

import torch

from modules.engine.context import Context
from modules.engine.toolbox import Toolbox
from modules.requests.events import Done, Order


def meaning(order: Order, tools: Toolbox, context: Context) -> Done:
    """As MeaningRequest says."""
    request = order.request
    if request.text:
        name, vector = tools.meanings.text(request.text)
        vectors = [vector]
    else:
        name, vectors = tools.meanings.pictures(request.paths)
    return Done(info={"encoder": name, "vectors": [None if one is None else _told(one) for one in vectors]})


def _told(vector: torch.Tensor) -> str:
    return base64.b64encode(vector.half().numpy().tobytes()).decode()
