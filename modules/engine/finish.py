"""From decoded pixels to the pictures handed over."""

from collections.abc import Callable, Mapping
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
    compose: Callable[[list[Image.Image], Batch], list[Image.Image]] | None = None,
    faces: Restorer | None = None,
) -> None:
    """Hand over the pictures of a batch, but for those that an earlier try has delivered; `fields` go into their infotexts.

    `faces` has the first hand in them, `compose` the last.
    """
    images = to_images(pixels)
    if faces and not incomplete:
        told = zip(images, batch.positions, batch.seeds, batch.subseeds, strict=True)
        images = [
            image if at in done else faces.restore(image, at, plan.infotext(seed, subseed, fields), seed)
            for image, at, seed, subseed in told
        ]
    if compose:
        images = compose(images, batch)
    for image, position, seed, subseed in zip(images, batch.positions, batch.seeds, batch.subseeds, strict=True):
        if position in done:
            continue
        infotext = plan.infotext(seed, subseed, fields)
        image = context.moments.postprocess(image)
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
