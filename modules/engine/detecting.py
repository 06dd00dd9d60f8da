"""The recipe that shows pictures to a preprocessor and draws nothing."""

from typing import Any

import numpy as np
from PIL import Image

from modules.engine.context import Context
from modules.engine.control_pictures import pixels_of
from modules.engine.toolbox import Toolbox
from modules.images.encode import encode_png
from modules.images.reading import open_picture
from modules.requests.control import DetectRequest
from modules.requests.events import Done, Order


def detect(order: Order, tools: Toolbox, context: Context) -> Done:
    """`images`: PNG files; `tensors`: what a preprocessor that makes none gives instead, as nested lists; `texts`. Raises InputError, ModelFileError."""
    request: DetectRequest = order.request
    entry = tools.catalogue.preprocessor(request.module, "controlnet_module")
    preprocessor = tools.preprocessors.get(entry.name)
    found: dict[str, list[Any]] = {"images": [], "tensors": [], "texts": []}
    masks = (*request.masks, *(None,) * len(request.images))
    for picture, mask in zip(request.images, masks, strict=False):
        image = open_picture(picture, "controlnet_input_images")
        alpha = open_picture(mask, "controlnet_masks").convert("L") if mask else None
        made = preprocessor.run(
            pixels_of(image, alpha), request.processor_res, request.threshold_a, request.threshold_b
        )
        if isinstance(made, np.ndarray):
            found["images"].append(encode_png(Image.fromarray(made), None))
        elif isinstance(made, str):
            found["texts"].append(made)
        else:
            found["tensors"].append({name: tensor.float().cpu().tolist() for name, tensor in made.items()})
    return Done(info=found)
