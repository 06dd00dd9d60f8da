"""The recipe of text to image."""

from modules.engine.context import Context
from modules.engine.drawing import draw, prepare
from modules.engine.hires import in_two_passes
from modules.engine.toolbox import Toolbox
from modules.engine.whole import draw_whole
from modules.requests.events import Done, Loading, Order


def txt2img(order: Order, tools: Toolbox, context: Context) -> Done:
    """Draw the pictures of the order that are not done yet, telling of each when it is ready."""
    request = order.request
    if tools.models.is_whole(order.options["sd_model_checkpoint"]):
        return draw_whole(order, tools, context, lambda name: context.emit(Loading(name=name)))
    refined = not request.enable_hr or order.options["hires_fix_refiner_pass"] != "second pass"
    sitting = prepare(order, tools, context, refined=refined)
    if not request.enable_hr:
        return draw(sitting, sitting.denoise)
    passes = in_two_passes(sitting, request)
    return draw(sitting, passes.draw, passes=passes)
