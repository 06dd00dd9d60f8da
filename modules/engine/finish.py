"""From decoded pixels to the pictures handed over."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from PIL import Image
from torch import Tensor

from modules.engine.context import Context
from modules.engine.plan import Batch, Plan
from modules.engine.preview import to_images
from modules.engine.restoring import Restorer
from modules.images.encode import encode_image
from modules.requests.events import ImageReady


def finish(
    pixels: Tensor,
    batch: Batch,
    plan: Plan,
    fields: Mapping[str, Any],
    context: Context,
    *,
    incomplete: bool,
    done: frozenset[int],
    compose: Callable[[list[Image.Image], Batch, Sequence[str]], list[Image.Image]] | None = None,
    faces: Restorer | None = None,
) -> None:
    """Hand over the pictures of a batch, but for those that an earlier try has delivered; `fields` go into their infotexts.

    `faces` has the first hand in them, `compose` the last.
    """
    images = to_images(pixels)
    infotexts = [plan.infotext(*seeds, fields) for seeds in zip(batch.seeds, batch.subseeds, strict=True)]
    if faces and not incomplete:
        told = zip(images, batch.positions, infotexts, batch.seeds, strict=True)
        images = [
            image if at in done else faces.restore(image, at, infotext, seed) for image, at, infotext, seed in told
        ]
    if compose:
        images = compose(images, batch, infotexts)
    for image, position, infotext, seed in zip(images, batch.positions, infotexts, batch.seeds, strict=True):
        if position in done:
            continue
        image = context.hooks.picture(context.moments.postprocess(image), infotext, context.emit)
        data = encode_image(image, infotext if plan.options["enable_pnginfo"] else None, plan.options)
        context.emit(
            ImageReady(
                index=position,
                data=data,
                infotext=infotext,
                seed=seed,
                fields=plan.pattern_fields(position, seed),
                incomplete=incomplete,
            )
        )
