"""What a user selects in a picture, between two jobs."""

import base64
import io

import numpy as np
from PIL import Image

from modules.control.selecting import select
from modules.engine.context import Context
from modules.engine.toolbox import Toolbox
from modules.images.reading import open_picture
from modules.images.resizing import flattened
from modules.requests.events import Done, Order


def select_in_picture(order: Order, tools: Toolbox, context: Context) -> Done:
    """`mask`: a PNG in base64 as large as the picture, white where something is selected; `share`: how much of it that is."""
    request = order.request
    pixels = np.array(flattened(open_picture(request.picture, "picture"), "white"))
    keeper = tools.preprocessors.tools
    assert keeper is not None
    mask = select(pixels, request, tools.segmenters, keeper)
    file = io.BytesIO()
    Image.fromarray(np.where(mask, 255, 0).astype(np.uint8)).save(file, "PNG")
    return Done(info={"mask": base64.b64encode(file.getvalue()).decode(), "share": float(mask.mean())})
