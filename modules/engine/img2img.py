"""The recipe of image to image and inpainting."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from PIL import Image
from torch import Tensor

from modules.core.errors import InputError
from modules.engine.beside import Beside, init_hash, laid, save_begun
from modules.engine.context import Context
from modules.engine.control_pictures import Begun
from modules.engine.denoise import Interrupted, Start
from modules.engine.drawing import Sitting, draw, prepare
from modules.engine.plan import Batch
from modules.engine.starts import Starts, goes_by_pictures, image_scale
from modules.engine.toolbox import Toolbox
from modules.families.model import LoadedModel
from modules.images.canvas import Canvas, Sheet, lay_out
from modules.images.colours import match_colours
from modules.images.reading import open_picture
from modules.images.resizing import Resize
from modules.images.seams import matched
from modules.images.soft_masks import soft_cover
from modules.requests.events import Done, Order, Warned
from modules.requests.img2img import Img2ImgRequest

EULER = "Euler"


def img2img(order: Order, tools: Toolbox, context: Context) -> Done:
    """Draw on from the order's pictures, telling of each result when it is ready. Raises InputError and its kin."""
    if tools.models.is_whole(order.options["sd_model_checkpoint"]):
        raise InputError(
            "init_images",
            "init_images are of no use to this checkpoint, which runs as a whole pipeline and draws from text alone. "
            "Choose another checkpoint.",
        )
    order = replace(order, request=_by_euler(_one_each(order.request), context))
    canvas = lay_out(order.request, order.options["img2img_background_color"], _resize(order, tools, context))
    for sentence in canvas.warnings:
        context.emit(Warned(message=sentence))
    begun = [Begun(picture=s.shown, mask=s.mask, whole=s.whole, cover=s.cover) for s in canvas.sheets]
    sitting = prepare(order, tools, context, begun=begun)
    check_count(order.request, sitting.model)
    save_begun(sitting)
    drawing = Drawing(sitting, canvas)
    sitting = replace(sitting, plan=replace(sitting.plan, fields=drawing.fields))
    return draw(sitting, drawing.latents, compose=drawing.compose)


def _one_each(request: Img2ImgRequest) -> Img2ImgRequest:
    """As in A1111 a batch of no more pictures than there are to begin with, unless there is one for all."""
    count = len(request.init_images)
    return request if count == 1 or count > request.batch_size else request.model_copy(update={"batch_size": count})


def _by_euler(request: Img2ImgRequest, context: Context) -> Img2ImgRequest:
    """Noise that tiled diffusion finds by Euler's steps is drawn from by Euler's steps, as in the extension."""
    tiled = request.tiled_diffusion
    if tiled is None or not tiled.noise_inverse or request.sampler_name == EULER:
        return request
    context.emit(Warned(message=f"Noise inversion draws with Euler instead of {request.sampler_name}."))
    return request.model_copy(update={"sampler_name": EULER})


def check_count(request: Img2ImgRequest, model: LoadedModel) -> None:
    """Raise InputError for more pictures than a batch begins with; a model that goes by pictures is shown them all."""
    count = len(request.init_images)
    if count > request.batch_size and not goes_by_pictures(model):
        raise InputError(
            "init_images",
            f"init_images are {count} and batch_size is {request.batch_size}: a batch begins with one picture each, or one for all. "
            f"Set batch_size to {count}, or send one.",
        )


def _resize(order: Order, tools: Toolbox, context: Context) -> Resize:
    """How pictures are brought to size: by the upscaler that the settings name, where they become larger. Raises UnknownName."""
    field = "upscaler_for_img2img"
    return partial(tools.upscalers.get(order.options[field], order.options, field).to, check=context.check_interrupted)


class Drawing:
    """One request's pictures on their way: begun once, drawn batch by batch, laid into what they came from."""

    def __init__(self, sitting: Sitting, canvas: Canvas) -> None:
        self._sitting = sitting
        self._canvas = canvas
        self._request: Img2ImgRequest = sitting.order.request
        self._start: Start | None = None
        self._covers: list[Image.Image] = []

    @property
    def fields(self) -> Mapping[str, Any]:
        """What the infotext says of all this."""
        request, options = self._request, self._sitting.plan.options
        given = request.initial_noise_multiplier
        multiplier = options["initial_noise_multiplier"] if given is None else given
        return {
            "Denoising strength": request.denoising_strength,
            "Image CFG scale": image_scale(self._sitting.model, request),
            **self._canvas.fields,
            "Noise multiplier": multiplier if multiplier != 1 else None,
            "Extra noise": options["img2img_extra_noise"] or None,
            "Init image hash": init_hash(request.init_images[-1]) if options["save_init_img"] else None,
        }

    def latents(self, batch: Batch) -> Tensor:
        """The latents (B, C, h, w) of a batch; raises Interrupted."""
        if self._start is None:
            self._start = Starts(self._sitting, self._canvas, self._request).make()
        try:
            return self._ended(self._sitting.denoise(batch, self._start))
        except Interrupted as stop:
            raise Interrupted(stop.denoised if stop.denoised is None else self._ended(stop.denoised)) from stop

    def _ended(self, latents: Tensor) -> Tensor:
        """What a run ended with, with the original where it stays; a soft mask is made for the pictures."""
        masking = self._start.masking if self._start else None
        if masking is None:
            return latents
        if masking.soft:
            size = (self._request.width, self._request.height)
            distances = (latents - masking.original).float().norm(dim=1).cpu().double().numpy()
            changing = masking.changing[:, 0].cpu().double().numpy()
            self._covers = [
                soft_cover(masking.soft, mask, distance, size)
                for mask, distance in zip(changing, distances, strict=True)
            ]
        return masking.finish(latents)

    def compose(self, images: list[Image.Image], batch: Batch, infotexts: Sequence[str]) -> list[Image.Image]:
        """The decoded pictures in the colours of the first ones, if that is asked for, and under what stays of these; what is to be saved
        or shown beside them is handed over."""
        options = self._sitting.plan.options
        sheets = [self._canvas.sheets[i % len(self._canvas.sheets)] for i in range(len(images))]
        covered = sheets
        if self._covers:
            covered = [sheet.covered(cover) for sheet, cover in zip(sheets, self._covers, strict=True)]
        beside = Beside(self._sitting, batch, infotexts)
        if options["img2img_color_correction"]:
            beside.uncorrected(images, covered)
            images = [match_colours(image, self._colours(sheet)) for image, sheet in zip(images, sheets, strict=True)]
        if self._request.match_seams:
            images = [_joined(image, sheet) for image, sheet in zip(images, sheets, strict=True)]
        beside.masks(images, covered)
        return laid(images, covered) if options["overlay_inpaint"] else images

    def _colours(self, sheet: Sheet) -> Image.Image:
        """What colour correction goes by."""
        asked = self._request.colours_of
        return open_picture(asked, "colours_of").convert("RGB") if asked else sheet.picture


def _joined(image: Image.Image, sheet: Sheet) -> Image.Image:
    """The picture in the colours of what stays, at its border; as it is where nothing stays."""
    if sheet.mask is None:
        return image
    original = sheet.whole.crop(sheet.region) if sheet.region else sheet.whole
    return matched(image, original.resize(image.size), sheet.mask.resize(image.size))
