"""What img2img hands over beside its pictures, where settings ask for it: masks, composites, copies, and what it began with."""

import hashlib
from collections.abc import Iterator, Sequence

from PIL import Image

from modules.engine.drawing import Sitting
from modules.engine.plan import Batch
from modules.images.canvas import Sheet
from modules.images.encode import encode_image, encode_png
from modules.images.masks import cut_out, overlaid, pasted
from modules.images.reading import open_picture
from modules.requests.control import NO_MODULE
from modules.requests.events import CopyReady, MapReady
from modules.requests.pictures import Picture

UNCORRECTED = "-before-color-correction"
MASK = "-mask"
COMPOSITE = "-mask-composite"


def laid(images: Sequence[Image.Image], sheets: Sequence[Sheet]) -> list[Image.Image]:
    """The pictures under what stays of the first ones."""
    overlays = [sheet.overlay for sheet in sheets]
    return [
        overlaid(image, overlay, sheet.region) if overlay else image
        for image, overlay, sheet in zip(images, overlays, sheets, strict=True)
    ]


def init_hash(picture: Picture) -> str:
    """A1111's name of a picture to begin with: MD5 of its pixels."""
    return hashlib.md5(open_picture(picture, "init_images").tobytes(), usedforsecurity=False).hexdigest()


def save_begun(sitting: Sitting) -> None:
    """Hand over the pictures that the order begins with, as they were sent, if they are to be saved."""
    if sitting.plan.options["save_init_img"]:
        for picture in sitting.order.request.init_images:
            sitting.context.emit(CopyReady(data=picture.data, init=init_hash(picture)))


class Beside:
    """What goes with the pictures of one batch, but for those that an earlier try has delivered."""

    def __init__(self, sitting: Sitting, batch: Batch, infotexts: Sequence[str]) -> None:
        self._sitting = sitting
        self._batch = batch
        self._infotexts = infotexts
        self._options = sitting.plan.options

    def uncorrected(self, images: Sequence[Image.Image], sheets: Sequence[Sheet]) -> None:
        """The pictures with the colours that they were drawn in."""
        if self._options["save_images_before_color_correction"]:
            whole = laid(images, sheets) if self._options["overlay_inpaint"] else images
            for at in self._new():
                self._copy(whole[at], at, UNCORRECTED)

    def masks(self, images: Sequence[Image.Image], sheets: Sequence[Sheet]) -> None:
        """The masks (L), and what was drawn under them (RGBA), of the size of the pictures they are laid into."""
        options = self._options
        for at in self._new():
            sheet, image = sheets[at], images[at]
            if sheet.cover is None:
                continue
            if options["save_mask"]:
                self._copy(sheet.cover, at, MASK)
            if options["return_mask"]:
                self._show(sheet.cover)
            if options["save_mask_composite"] or options["return_mask_composite"]:
                whole = pasted(image, sheet.region, sheet.whole.size) if sheet.region else image
                composite = cut_out(whole, sheet.cover)
                if options["save_mask_composite"]:
                    self._copy(composite, at, COMPOSITE)
                if options["return_mask_composite"]:
                    self._show(composite)

    def _new(self) -> Iterator[int]:
        return (n for n, position in enumerate(self._batch.positions) if position not in self._sitting.order.done)

    def _copy(self, image: Image.Image, at: int, suffix: str) -> None:
        infotext, plan = self._infotexts[at], self._sitting.plan
        data = encode_image(image, infotext if self._options["enable_pnginfo"] else None, self._options)
        fields = plan.pattern_fields(self._batch.positions[at], self._batch.seeds[at])
        self._sitting.context.emit(CopyReady(suffix=suffix, data=data, infotext=infotext, fields=fields))

    def _show(self, image: Image.Image) -> None:
        self._sitting.context.emit(MapReady(module=NO_MODULE, data=encode_png(image, None)))
